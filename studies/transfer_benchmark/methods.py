"""What is compared: the package's defaults, and the same with one argument changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import surrogate_nas as sn
from studies.transfer_benchmark.tables import Table, TableSpace
from surrogate_nas.surrogate.model.hypotheses import KERNELS, MEAN, NOTHING, Hypotheses


@dataclass(frozen=True)
class Case:
    """What every method is given.

    Args:
        table: The table.
        past: Past tasks.
        seed: Of all that the method draws.
    """

    table: Table
    past: list[sn.PastTask]
    seed: int

    @cached_property
    def surrogate(self) -> sn.MetaSurrogate:
        """What past tasks teach by default; methods that leave this alone share it."""
        return self.fitted(TableSpace(self.table))

    def fitted(self, space: TableSpace, hypotheses: Hypotheses | None = None) -> sn.MetaSurrogate:
        """Fit a surrogate to the past tasks."""
        return sn.MetaSurrogate.fit(space, self.past, seed=self.seed, hypotheses=hypotheses)


_WHOLE = 60_000
"""More than any table has: the pool is the whole space."""

Method = Callable[[Case], sn.SurrogateSampler]


def ours(
    case: Case, surrogate: sn.MetaSurrogate | None = None, **changes: Any
) -> sn.SurrogateSampler:
    """Make the sampler with its defaults, but for what is changed; rows alone are feasible."""
    surrogate = case.surrogate if surrogate is None else surrogate
    space = surrogate.encoding.space
    limits = {"missing": 0.0} if not TableSpace(case.table).is_complete else None
    return sn.SurrogateSampler(
        space, surrogate=surrogate, limits=limits, seed=case.seed, **changes
    )


def _with(**changes: Any) -> Method:
    return lambda case: ours(case, **changes)


def _believing(**grid: Any) -> Method:
    hypotheses = Hypotheses.grid(**grid)
    return lambda case: ours(case, case.fitted(TableSpace(case.table), hypotheses))


def _cell(case: Case) -> sn.SurrogateSampler:
    return ours(case, case.fitted(TableSpace(case.table, is_cell=True)))


def _without_past(case: Case) -> Case:
    return Case(case.table, [], case.seed)


METHODS: dict[str, Method] = {
    "ours": ours,
    "cell": _cell,
    "no_past": lambda case: ours(_without_past(case)),
    "cell_no_past": lambda case: _cell(_without_past(case)),
    "no_residual": _believing(residuals=(0.01,)),
    "no_adaptation": _believing(transfers=((MEAN, 0.0),), residuals=(0.01,)),
    "no_one_of": _believing(transfers=((NOTHING, 0.0), (MEAN, 0.15), (MEAN, 0.5), (MEAN, 1.5))),
    "no_leaves": _believing(kernels=[kernel for kernel in KERNELS if not kernel[2]]),
    "no_traits": _believing(kernels=[kernel for kernel in KERNELS if not kernel[1]]),
    "no_control": _with(n_control_trials=0),
    "no_base": _with(mix=sn.PoolMix(n_base=0)),
    "no_neighbours": _with(mix=sn.PoolMix(near_observed=0.0)),
    "no_climb": _with(mix=sn.PoolMix(near_predicted=0.0)),
    "pool_64": _with(n_candidates=64),
    "pool_1024": _with(n_candidates=1024),
    "pool_whole": _with(n_candidates=_WHOLE),
    "pool_whole_no_past": lambda case: ours(_without_past(case), n_candidates=_WHOLE),
    "acquisition_mean": _with(acquisition="mean"),
    "acquisition_ucb": _with(acquisition="ucb"),
}
