"""What is compared: the package's defaults, and the same with one argument changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import surrogate_nas as sn
from studies.transfer_benchmark.tables import TableSpace
from surrogate_nas.posterior import KERNELS, MEAN, NOTHING, Hypotheses

Past = Sequence[sn.PastTask]
Method = Callable[[TableSpace, Past, int], sn.SurrogateSampler]


def ours(
    space: TableSpace,
    past: Past,
    seed: int,
    hypotheses: Hypotheses | None = None,
    **changes: Any,
) -> sn.SurrogateSampler:
    """Make the sampler with its defaults, but for what is changed; rows alone are feasible."""
    surrogate = sn.MetaSurrogate.fit(space, past, seed=seed, hypotheses=hypotheses)
    limits = {"missing": 0.0} if not space.is_complete else None
    return sn.SurrogateSampler(space, surrogate=surrogate, limits=limits, seed=seed, **changes)


def _with(**changes: Any) -> Method:
    return lambda space, past, seed: ours(space, past, seed, **changes)


METHODS: dict[str, Method] = {
    "ours": ours,
    "cell": lambda space, past, seed: ours(TableSpace(space.table, is_cell=True), past, seed),
    "no_past": lambda space, past, seed: ours(space, (), seed),
    "cell_no_past": lambda space, past, seed: ours(
        TableSpace(space.table, is_cell=True), (), seed
    ),
    "no_residual": _with(hypotheses=Hypotheses.grid(residuals=(0.01,))),
    "no_adaptation": _with(
        hypotheses=Hypotheses.grid(transfers=((MEAN, 0.0),), residuals=(0.01,))
    ),
    "no_one_of": _with(
        hypotheses=Hypotheses.grid(
            transfers=((NOTHING, 0.0), (MEAN, 0.15), (MEAN, 0.5), (MEAN, 1.5))
        )
    ),
    "no_leaves": _with(
        hypotheses=Hypotheses.grid(kernels=[kernel for kernel in KERNELS if not kernel[2]])
    ),
    "no_traits": _with(
        hypotheses=Hypotheses.grid(kernels=[kernel for kernel in KERNELS if not kernel[1]])
    ),
    "no_control": _with(n_control_trials=0),
    "no_base": _with(mix=sn.PoolMix(n_base=0)),
    "no_neighbours": _with(mix=sn.PoolMix(near_observed=0.0)),
    "no_climb": _with(mix=sn.PoolMix(near_predicted=0.0)),
    "pool_64": _with(n_candidates=64),
    "pool_1024": _with(n_candidates=1024),
    "acquisition_mean": _with(acquisition="mean"),
    "acquisition_ucb": _with(acquisition="ucb"),
}
