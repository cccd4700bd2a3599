"""Surrogates of random past tasks, for tests."""

from __future__ import annotations

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from studies.fuzz_surrogate.study import draw
from surrogate_nas import MetaSurrogate, PastTask
from surrogate_nas.space import SpaceLike

PLAIN: dict[str, BaseDistribution] = {
    "width": IntDistribution(8, 64, step=8),
    "op": CategoricalDistribution(["conv", "pool", 'a "quoted" name\n']),
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
}


def fit(space: SpaceLike, n_past: int, n: int = 40) -> MetaSurrogate:
    rng = np.random.default_rng(0)
    past = [
        PastTask(
            f"past {k}",
            draw(space, n, np.random.default_rng(k)),
            rng.normal(50.0, 10.0, n).tolist(),
            direction="minimize" if k % 2 else "maximize",
        )
        for k in range(n_past)
    ]
    return MetaSurrogate.fit(space, past)
