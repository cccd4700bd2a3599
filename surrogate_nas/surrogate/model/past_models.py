"""One fitted model for each past task, and where the models are compared; arrays only.

Notation: K past tasks, n_k architectures of task k, m landmarks, d columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from surrogate_nas.surrogate.model.boosting import (
    fit_trees,
    normal_scores,
    predict_trees,
    rank_correlation,
)
from surrogate_nas.surrogate.model.distillation import (
    DistanceFunction,
    Points,
    concatenated,
    fit_taught,
)
from surrogate_nas.surrogate.model.hypotheses import Hypotheses
from surrogate_nas.surrogate.similarity import MetaFeatures

if TYPE_CHECKING:
    import lightgbm

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]

MAX_BASIS = 16
"""Number of past tasks up to which each is a basis function. More are compressed to as many
components, because the cost of a suggestion must not grow with them."""
MOST_JUDGED = 24
"""Number of past tasks that are left out in turn to judge the others, or that judge one."""
MOST_RANKED = 256
"""Number of a past task's values that a rank correlation is taken of."""
_LANDMARKS = 2000


@final
@dataclass(frozen=True)
class PastModels:
    """One fitted model a past task.

    Args:
        boosters: The models of K past tasks.
        known: Architectures of each, n_k of them.
        y: Their values, larger is better, (n_k,) each.
        meta_features: Meta-features of each past task, or None.
        landmarks: Architectures that models are compared on, m of them.
        predictions: Predictions of each model there, (m, K).
        distance_between: Distances between coordinates.
        hypotheses: The posterior's grid.
        seed: Seed of all draws and fits.
    """

    boosters: tuple[lightgbm.Booster, ...]
    known: Sequence[Points]
    y: Sequence[FloatArray]
    meta_features: Sequence[MetaFeatures | None]
    landmarks: Points
    predictions: FloatArray
    distance_between: DistanceFunction
    hypotheses: Hypotheses
    seed: int

    @cached_property
    def shift(self) -> FloatArray:
        """Mean of each model's predictions at the landmarks, (K,)."""
        return np.asarray(self.predictions.mean(axis=0))

    @cached_property
    def spread(self) -> FloatArray:
        """Standard deviation of each model's predictions at the landmarks, (K,)."""
        return nonzero(self.predictions.std(axis=0))

    def standardized(self, tasks: npt.ArrayLike, x: FloatArray) -> FloatArray:
        """Return standardized predictions of some tasks' models at rows (n, d), (n, len(tasks)).

        Args:
            tasks: Places of the past tasks.
            x: Encoded architectures, (n, d).
        """
        at = np.asarray(tasks)
        values = predict_all([self.boosters[k] for k in at], x)
        return np.asarray((values - self.shift[at]) / self.spread[at])

    def agreement(self, task: int) -> FloatArray:
        """Return how the other past tasks' models rank the architectures of one past task.

        Args:
            task: Place of the past task.

        Returns:
            Spearman's rank correlation with its values, for each of at most MOST_JUDGED others.
        """
        rng = np.random.default_rng([self.seed, 2, task])
        rows = rng.permutation(len(self.y[task]))[:MOST_RANKED]
        others = rng.permutation([k for k in range(len(self.boosters)) if k != task])
        # NOTE: not standardized, as a rank correlation does not depend on scales.
        models = [self.boosters[k] for k in others[:MOST_JUDGED]]
        values = predict_all(models, self.known[task].rows[rows])
        return np.array([rank_correlation(one, self.y[task][rows]) for one in values.T])


def fit_models(
    known: Sequence[Points],
    y: Sequence[FloatArray],
    *,
    meta_features: Sequence[MetaFeatures | None],
    space: Points,
    distance_between: DistanceFunction,
    hypotheses: Hypotheses,
    seed: int,
) -> PastModels:
    """Fit one model to each of K >= 1 past tasks.

    Args:
        known: Architectures of each past task, n_k of them.
        y: Their values, larger is better, (n_k,) each.
        meta_features: Meta-features of each past task, or None.
        space: Random architectures of the space.
        distance_between: Distances between coordinates.
        hypotheses: The posterior's grid.
        seed: Seed of all draws and fits.
    """
    landmarks = _landmarks(known, space, np.random.default_rng(seed))
    # NOTE: many tasks are compressed to components, which average over tasks. That does for them
    # what a teacher does for a few.
    is_taught = len(known) <= MAX_BASIS
    models = []
    for k, (one, reached) in enumerate(zip(known, y, strict=True)):
        scores = normal_scores(reached)
        models.append(
            fit_taught(one, scores, landmarks, distance_between, seed + k)
            if is_taught
            else fit_trees(one.rows, scores, seed + k)
        )
    return PastModels(
        tuple(models),
        known,
        y,
        meta_features,
        landmarks,
        predict_all(models, landmarks.rows),
        distance_between,
        hypotheses,
        seed,
    )


def _landmarks(known: Sequence[Points], space: Points, rng: np.random.Generator) -> Points:
    """Return random architectures of the space and an even share of the trained ones.

    Models of past tasks are compared on all of them. A comparison on random architectures alone
    would miss the good ones, which past searches have found.
    """
    sizes = [len(one) for one in known]
    ends = np.cumsum(sizes)
    chosen = rng.permutation(int(ends[-1]))[: max(_LANDMARKS - len(space), 0)]
    # Numbers of all architectures, task after task -> the task and the row in it.
    task = np.searchsorted(ends, chosen, side="right")
    row = chosen - (ends - sizes)[task]
    # NOTE: one by one, because all architectures of all past tasks together may be a million.
    parts = [known[k].take(np.array([i])) for k, i in zip(task, row, strict=True)]
    return concatenated([space, *parts])


def predict_all(models: Sequence[lightgbm.Booster], x: FloatArray) -> FloatArray:
    """Return the predictions of each model at rows (n, d), (n, number of models)."""
    if not models:
        return np.zeros((len(x), 0))
    return np.stack([predict_trees(model, x) for model in models], axis=1)


def nonzero(spread: FloatArray) -> FloatArray:
    """Return standard deviations that can be divided by, with 1 for constant predictions."""
    return np.asarray(np.where(spread > 1e-9, spread, 1.0))
