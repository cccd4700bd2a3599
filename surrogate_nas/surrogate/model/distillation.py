"""The model of one past task: LightGBM, taught by a stronger teacher where results are few.

Arrays only. On fewer than a few hundred results, boosted trees alone are weak. There the mean of a
Gaussian process (:mod:`surrogate_nas.surrogate.model.posterior`) and of four LightGBM fits ranks
architectures better than either. One LightGBM then learns its predictions all over the space
("model compression": Buciluă, Caruana & Niculescu-Mizil 2006; "distillation": Hinton, Vinyals &
Dean 2015). Next to nothing is lost by it, and the cost and the file are the ones of trees alone.

Notation: n results, m other architectures, d columns, c coordinates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from surrogate_nas.surrogate.model.boosting import fit_trees, predict_trees
from surrogate_nas.surrogate.model.hypotheses import Hypotheses
from surrogate_nas.surrogate.model.kernel import KernelDistances
from surrogate_nas.surrogate.model.linear import Basis
from surrogate_nas.surrogate.model.posterior import Posterior

if TYPE_CHECKING:
    import lightgbm

FloatArray = npt.NDArray[np.float64]
DistanceFunction = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""Coordinates (n, c), (m, c) -> distances of parameters and of traits, (n, m) each."""

MOST_TAUGHT = 200
"""Number of results beyond which trees alone are as good."""
_FITS = 4
_WITHOUT_TASKS = Hypotheses.grid(with_basis=False)


@final
@dataclass(frozen=True)
class Points:
    """Architectures as rows for trees and as coordinates for distances.

    Args:
        rows: Encoded architectures, (n, d).
        points: Their coordinates, (n, c).
    """

    rows: FloatArray
    points: FloatArray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: npt.NDArray[np.intp]) -> Points:
        """Return some of the architectures."""
        return Points(self.rows[which], self.points[which])


def concatenated(parts: Sequence[Points]) -> Points:
    """Return all architectures of some parts, in order."""
    return Points(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.points for part in parts]),
    )


def fit_taught(
    known: Points, y: FloatArray, space: Points, distance_between: DistanceFunction, seed: int
) -> lightgbm.Booster:
    """Fit trees to n results, taught by the teacher where these are few.

    Args:
        known: The n architectures.
        y: Their normal scores, (n,).
        space: Architectures from all over the space, m of them, where the teacher predicts.
        distance_between: Distances between coordinates.
        seed: Seed of the subsampling.
    """
    if len(y) > MOST_TAUGHT:
        return fit_trees(known.rows, y, seed)
    lesson = concatenated([known, space])
    trees = [fit_trees(known.rows, y, seed + fit) for fit in range(_FITS)]
    by_trees = np.mean([predict_trees(one, lesson.rows) for one in trees], axis=0)
    by_kernel = _kernel_mean(known.points, y, lesson.points, distance_between)
    # NOTE: the Gaussian process shrinks its predictions more than trees do. Standardized, both
    # count the same.
    taught = _standardized(by_trees) + _standardized(by_kernel)
    return fit_trees(lesson.rows, _standardized(taught), seed)


def _kernel_mean(
    known: FloatArray, y: FloatArray, lesson: FloatArray, distance_between: DistanceFunction
) -> FloatArray:
    """Return the mean that a Gaussian process without past tasks predicts, (n + m,).

    Args:
        known: Coordinates of the results, (n, c).
        y: Their normal scores, (n,).
        lesson: Coordinates where it predicts, (n + m, c).
        distance_between: Distances between coordinates.
    """

    def distances(a: FloatArray, b: FloatArray) -> KernelDistances:
        """Return kernel distances without leaves: there are no trees yet."""
        return KernelDistances(*distance_between(a, b), np.zeros((len(a), len(b))))

    flat = np.zeros(len(_WITHOUT_TASKS))
    posterior = Posterior(_WITHOUT_TASKS, Basis.empty(len(y)), distances(known, known), y, flat)
    return posterior.predict(Basis.empty(len(lesson)), distances(lesson, known))[0]


def _standardized(values: FloatArray) -> FloatArray:
    """Return values with mean 0 and standard deviation 1; a constant becomes 0."""
    spread = values.std()
    return np.asarray((values - values.mean()) / (spread if spread > 1e-9 else 1.0))
