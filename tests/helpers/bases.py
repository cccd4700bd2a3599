"""Past tasks made of a few functions, arrays only, and the bases fitted to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from surrogate_nas.surrogate.model.basis import PastBasis, assemble
from surrogate_nas.surrogate.model.distillation import Points
from surrogate_nas.surrogate.model.hypotheses import Hypotheses
from surrogate_nas.surrogate.model.past_models import MAX_BASIS, PastModels, fit_models

FloatArray = npt.NDArray[np.float64]

GRID = Hypotheses.grid()


def distance_between(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean absolute difference of coordinates, and again in place of traits."""
    apart = np.asarray(np.abs(a[:, None] - b[None]).mean(axis=2))
    return apart, apart


def shapes(x: FloatArray) -> list[FloatArray]:
    """Three functions of rows (n, 4) in [0, 1] that have little to do with each other."""
    return [
        2 * x[:, 0] + x[:, 1] ** 2,
        np.sin(6 * x[:, 2]) + 0.5 * x[:, 3],
        (x[:, 0] - 0.5) * (x[:, 3] - 0.5) * 4 - x[:, 1],
    ]


@dataclass(frozen=True)
class Tasks:
    """Past tasks: rows, which are their own coordinates, and values."""

    rows: list[FloatArray]
    y: list[FloatArray]
    space_rows: FloatArray

    def fit(self, seed: int = 0) -> PastBasis:
        return assemble(self.models(seed))[0]

    def models(self, seed: int = 0, hypotheses: Hypotheses = GRID) -> PastModels:
        return fit_models(
            [Points(x, x) for x in self.rows],
            self.y,
            meta_features=[None] * len(self.rows),
            space=Points(self.space_rows, self.space_rows),
            distance_between=distance_between,
            hypotheses=hypotheses,
            seed=seed,
        )


def tasks(mixes: FloatArray, n: int = 50) -> Tasks:
    """One task for each row of mixes (K, 3), which weigh the three functions."""
    rng = np.random.default_rng(0)
    rows = [rng.random((n, 4)) for _ in mixes]
    y = [
        # The units of tasks differ; nothing may depend on them.
        10.0 ** rng.integers(-3, 4)
        * (np.stack(shapes(x), axis=1) @ mix + rng.normal(0.0, 0.02, n))
        for x, mix in zip(rows, mixes, strict=True)
    ]
    return Tasks(rows, y, rng.random((200, 4)))


def mixes(n_tasks: int, seed: int = 1) -> FloatArray:
    """Random positive shares of the three functions, so that tasks are related."""
    return np.random.default_rng(seed).dirichlet(np.ones(3), n_tasks)


N_MANY = MAX_BASIS + 8
