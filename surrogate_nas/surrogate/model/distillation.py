"""A past task's model: LightGBM, taught by a stronger teacher where results are few; arrays only.

On fewer results than a few hundred, boosted trees alone are weak. There the mean of a Gaussian
process (see :mod:`surrogate_nas.surrogate.model.posterior`) and of four LightGBM fits ranks
architectures better than either; its predictions all over the space are what one LightGBM then
learns ("model compression": Buciluă, Caruana & Niculescu-Mizil 2006; "distillation": Hinton,
Vinyals & Dean 2015). The trees lose next to nothing by it, and cost and file are those of trees
alone.

Notation: n results, m other architectures, d columns, c coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from surrogate_nas.arrays import FloatArray, IndexArray
from surrogate_nas.surrogate.model.boosting import fit_trees, predict_trees
from surrogate_nas.surrogate.model.hypotheses import Hypotheses
from surrogate_nas.surrogate.model.posterior import Basis, KernelDistances, Posterior

if TYPE_CHECKING:
    import lightgbm

DistanceFunction = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""Coordinates (n, c), (m, c) -> distances of parameters and of traits, (n, m) each."""

MOST_TAUGHT = 200
"""Results beyond which trees alone are as good."""
_FITS = 4
_COLD = Hypotheses.grid(with_basis=False)


@final
@dataclass(frozen=True)
class Points:
    """Architectures as rows for trees and as coordinates for distances.

    Args:
        rows: Encoded, (n, d).
        points: Coordinates, (n, c).
    """

    rows: FloatArray
    points: FloatArray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: IndexArray) -> Points:
        """Return some of them."""
        return Points(self.rows[which], self.points[which])


def together(parts: Sequence[Points]) -> Points:
    """Return all architectures of some parts, in order."""
    return Points(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.points for part in parts]),
    )


def fit_taught(
    known: Points, y: FloatArray, space: Points, distance_between: DistanceFunction, seed: int
) -> lightgbm.Booster:
    """Fit trees to n results, by way of the teacher where these are few.

    Args:
        known: The n architectures.
        y: Their normal scores, (n,).
        space: Architectures from all over the space, m of them, on which the teacher is heard.
        distance_between: Distances between coordinates.
        seed: Fixes subsampling.
    """
    if len(y) > MOST_TAUGHT:
        return fit_trees(known.rows, y, seed)
    heard = together([known, space])
    trees = [fit_trees(known.rows, y, seed + fit) for fit in range(_FITS)]
    by_trees = np.mean([predict_trees(one, heard.rows) for one in trees], axis=0)
    by_kernel = _kernel_mean(known.points, y, heard.points, distance_between)
    taught = _standard(by_trees) + _standard(by_kernel)
    return fit_trees(heard.rows, _standard(taught), seed)


def _kernel_mean(
    known: FloatArray, y: FloatArray, heard: FloatArray, distance_between: DistanceFunction
) -> FloatArray:
    """What the Gaussian process predicts at coordinates (n + m, c)."""

    def distances(a: FloatArray, b: FloatArray) -> KernelDistances:
        return KernelDistances(*distance_between(a, b), np.zeros((len(a), len(b))))

    none = np.zeros(0)
    observed, wanted = (
        Basis(np.zeros((size, 0)), none, none, np.zeros((0, 0))) for size in (len(y), len(heard))
    )
    posterior = Posterior(_COLD, observed, distances(known, known), y, np.zeros(len(_COLD)))
    return posterior.predict(wanted, distances(heard, known))[0]


def _standard(values: FloatArray) -> FloatArray:
    """Shift and scale to mean 0 and standard deviation 1; a constant to 0."""
    spread = values.std()
    return np.asarray((values - values.mean()) / (spread if spread > 1e-9 else 1.0))
