"""Past tasks as basis functions: one LightGBM each and one of all, or components of many.

Arrays only. Notation: K past tasks, r basis functions, n architectures, d columns of their
encoding X (n, d), NaN where inactive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np
import numpy.typing as npt

from surrogate_nas.surrogate.model.boosting import (
    LeafArray,
    fit_trees,
    leaf_numbers,
    normal_scores,
    predict_trees,
)
from surrogate_nas.surrogate.model.distillation import concatenated, fit_taught
from surrogate_nas.surrogate.model.hypotheses import Hypotheses
from surrogate_nas.surrogate.model.linear import Basis
from surrogate_nas.surrogate.model.past_models import MAX_BASIS, PastModels, nonzero, predict_all
from surrogate_nas.surrogate.model.prior import MOST_TREES, learn_prior

if TYPE_CHECKING:
    import lightgbm

FloatArray = npt.NDArray[np.float64]

POOLED = 0.5
"""Weight of the model of all past tasks' pairs beside a task's own model. It has seen more
architectures, and fits tasks that agree. The posterior moves it like any other weight."""
_ONE_OF = 16
"""Number of past tasks that the target may be like. Of more, the ones count that rank its results
best."""
_POOLED_ROWS = 20_000


@final
@dataclass(frozen=True)
class PastBasis:
    """Fitted basis functions.

    Args:
        boosters: One model a basis function, r of them.
        shift: Mean of each one's predictions over the space, (r,).
        spread: Standard deviation of these predictions, (r,).
        loadings: Each past task as a sum of basis functions, (K, r).
        hypotheses: The posterior's grid, g hypotheses.
        log_prior: Log prior of each hypothesis, (g,).
    """

    boosters: tuple[lightgbm.Booster, ...]
    shift: FloatArray
    spread: FloatArray
    loadings: FloatArray
    hypotheses: Hypotheses
    log_prior: FloatArray

    def at(
        self,
        values: FloatArray,
        y: FloatArray | None = None,
        task_weights: FloatArray | None = None,
    ) -> Basis:
        """Attach the prior of the weights to basis functions (n, r) from :meth:`raw`.

        Args:
            values: Basis functions at n architectures.
            y: Values of the first k of these, (k,). They tell which past tasks the target may be
                like, where there are many.
            task_weights: Weight of each past task by its meta-features, (K,), summing to 1.
        """
        tasks = self.loadings
        if len(tasks) > _ONE_OF:
            match = np.zeros(len(tasks)) if y is None else _match(values[: len(y)] @ tasks.T, y)
            tasks = tasks[np.sort(np.argsort(-match, kind="stable")[:_ONE_OF])]
        similar = None if task_weights is None else task_weights @ self.loadings
        return Basis(values, self.mean, self.variance, tasks, similar)

    def raw(self, x: FloatArray) -> FloatArray:
        """Return standardized basis functions at rows (n, d), (n, r)."""
        return np.asarray((predict_all(self.boosters, x) - self.shift) / self.spread)

    def leaves(self, x: FloatArray) -> LeafArray:
        """Return the numbers of the leaves that rows (n, d) fall into, (n, at most MOST_TREES)."""
        return leaf_numbers(self.boosters, x, MOST_TREES)

    @property
    def mean(self) -> FloatArray:
        """Prior mean of the weights, (r,): all past tasks count the same."""
        return np.asarray(self.loadings.sum(axis=0) / max(len(self.loadings), 1))

    @property
    def variance(self) -> FloatArray:
        """Prior variance of the weights, (r,)."""
        return np.asarray((self.loadings**2).sum(axis=0) / max(len(self.loadings), 1))


def empty_basis() -> PastBasis:
    """Return the basis without past tasks."""
    hypotheses = Hypotheses.grid(with_basis=False)
    none = np.zeros(0)
    return PastBasis((), none, none, np.zeros((0, 0)), hypotheses, np.zeros(len(hypotheses)))


def assemble(past: PastModels, without: int | None = None) -> tuple[PastBasis, list[float | None]]:
    """Assemble the basis functions of all past tasks, or of all but one.

    Nothing of the past task that is left out counts, except its architectures, which are among
    the landmarks.

    Args:
        past: The models of all past tasks.
        without: Place of the past task to leave out.

    Returns:
        The basis, and the quality of each past task in it. The quality is Spearman's rank
        correlation of a task's values with the mean of the others' standardized predictions: what
        they predict before any of its results. At most MAX_BASIS others and MOST_RANKED values
        count. It is None for a task without others, with fewer than five values, or beyond the
        MOST_JUDGED that are drawn of many.
    """
    kept = [k for k in range(len(past.boosters)) if k != without]
    # NOTE: a stream of its own, apart from the one that drew the landmarks.
    rng = np.random.default_rng([past.seed, 1])
    log_prior, quality = learn_prior(past, kept, rng)
    if len(kept) > MAX_BASIS:
        return _compressed(past, kept, log_prior), quality
    return _one_by_one(past, kept, log_prior), quality


def _one_by_one(past: PastModels, kept: Sequence[int], log_prior: FloatArray) -> PastBasis:
    """Return the basis with one function a past task, and one of all where there are several."""
    boosters = [past.boosters[k] for k in kept]
    shift, spread = past.shift[kept], past.spread[kept]
    loadings = np.eye(len(kept))
    if len(kept) > 1:
        pooled = _pooled(past, kept)
        at_landmarks = predict_trees(pooled, past.landmarks.rows)
        boosters.append(pooled)
        shift = np.append(shift, at_landmarks.mean())
        spread = np.append(spread, nonzero(at_landmarks.std()))
        common = np.full((len(kept), 1), POOLED)
        # NOTE: scaled to length 1, so that a past task has a prior variance of 1 as without it.
        loadings = np.hstack([loadings, common]) / np.hypot(1.0, POOLED)
    return PastBasis(tuple(boosters), shift, spread, loadings, past.hypotheses, log_prior)


def _pooled(past: PastModels, kept: Sequence[int]) -> lightgbm.Booster:
    """Fit one model to all pairs of some past tasks, each task with its own ranks."""
    known = concatenated([past.known[k] for k in kept])
    y = np.concatenate([normal_scores(past.y[k]) for k in kept])
    rows = np.random.default_rng([past.seed, 3]).permutation(len(y))[:_POOLED_ROWS]
    return fit_taught(known.take(rows), y[rows], past.landmarks, past.distance_between, past.seed)


def _compressed(past: PastModels, kept: Sequence[int], log_prior: FloatArray) -> PastBasis:
    """Return the basis with the principal components of the past tasks' predictions.

    They are the components at the landmarks, each learned by trees that predict it elsewhere.
    """
    predictions = ((past.predictions - past.shift) / past.spread)[:, kept]  # (m, K)
    n = len(predictions)
    left, singular, right = np.linalg.svd(predictions / np.sqrt(n), full_matrices=False)
    # NOTE: a component's sign is arbitrary. It is fixed, or two machines may differ.
    sign = np.where(right.sum(axis=1) < 0, -1.0, 1.0)[:MAX_BASIS]
    components = left[:, :MAX_BASIS] * np.sqrt(n) * sign
    loadings = (right[:MAX_BASIS] * singular[:MAX_BASIS, None] * sign[:, None]).T
    x = past.landmarks.rows
    models = [fit_trees(x, one, past.seed + r) for r, one in enumerate(components.T)]
    learned = predict_all(models, x)
    shift, spread = learned.mean(axis=0), nonzero(learned.std(axis=0))
    return PastBasis(tuple(models), shift, spread, loadings, past.hypotheses, log_prior)


def _match(predictions: FloatArray, y: FloatArray) -> FloatArray:
    """Return the correlation of each past task's predictions (k, K) with values (k,), (K,)."""
    if len(y) < 2:
        return np.zeros(predictions.shape[1])
    left = predictions - predictions.mean(axis=0)
    right = y - y.mean()
    size = np.sqrt((left**2).sum(axis=0) * (right @ right))
    return np.asarray(right @ left / np.maximum(size, 1e-12))
