"""Past tasks as basis functions: one LightGBM each, or principal components of many; arrays only.

Notation: K past tasks, r basis functions, X (n, d) encoded rows, NaN where inactive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

import lightgbm
import numpy as np
import numpy.typing as npt

from surrogate_nas.boosting import fit_trees, normal_scores, predict_trees
from surrogate_nas.posterior import Basis, Hypotheses, log_evidence

FloatArray = npt.NDArray[np.float64]
Distance = Callable[[FloatArray, FloatArray], FloatArray]

MAX_BASIS = 16
"""Beyond this many past tasks they are compressed: a suggestion's cost must not grow with them."""
_LANDMARKS = 2000
_JUDGED = 24
"""Past tasks that are left out in turn to learn the prior."""
_JUDGED_ROWS = 32


@final
@dataclass(frozen=True)
class PastBasis:
    """Fitted basis functions.

    Args:
        boosters: One model a basis function, r of them.
        shift: Mean of each one's predictions over the space, (r,).
        spread: Their standard deviation, (r,).
        loadings: Each past task as a sum of basis functions, (K, r).
        log_prior: Log prior of each hypothesis of the posterior's grid, (g,).
    """

    boosters: tuple[lightgbm.Booster, ...]
    shift: FloatArray
    spread: FloatArray
    loadings: FloatArray
    log_prior: FloatArray

    def __call__(self, x: FloatArray) -> Basis:
        """Evaluate at rows (n, d)."""
        return Basis(self.raw(x), self.mean, self.variance)

    def raw(self, x: FloatArray) -> FloatArray:
        """Return standardized basis functions at rows (n, d), shape (n, r)."""
        return (_predict_all(self.boosters, x) - self.shift) / self.spread

    @property
    def mean(self) -> FloatArray:
        """Prior mean of the weights, (r,): all past tasks count the same."""
        return np.asarray(self.loadings.sum(axis=0) / max(len(self.loadings), 1))

    @property
    def variance(self) -> FloatArray:
        """Prior variance of the weights, (r,)."""
        return np.asarray((self.loadings**2).sum(axis=0) / max(len(self.loadings), 1))


def empty_basis() -> PastBasis:
    """No past tasks."""
    hypotheses = len(Hypotheses.grid(with_basis=False).noise)
    none = np.zeros(0)
    return PastBasis((), none, none, np.zeros((0, 0)), np.zeros(hypotheses))


def fit_basis(
    rows: Sequence[FloatArray],
    points: Sequence[FloatArray],
    gains: Sequence[FloatArray],
    *,
    space_rows: FloatArray,
    distance: Distance,
    seed: int,
) -> PastBasis:
    """Fit the basis functions of K >= 1 past tasks.

    Args:
        rows: Encoded architectures of each past task, (n_k, d).
        points: Their kernel coordinates, (n_k, p).
        gains: Their values, larger is better, (n_k,).
        space_rows: Encoded random architectures of the space, (m, d).
        distance: Distance between kernel coordinates, (n, p), (m, p) -> (n, m).
        seed: Fixes subsampling.
    """
    rng = np.random.default_rng(seed)
    targets = [normal_scores(y) for y in gains]
    models = [
        fit_trees(x, y, seed + k) for k, (x, y) in enumerate(zip(rows, targets, strict=True))
    ]
    landmarks = _landmarks(rows, space_rows, rng)
    predictions = _predict_all(models, landmarks)
    shift, spread = predictions.mean(axis=0), _safe(predictions.std(axis=0))
    log_prior = _learn_prior(models, shift, spread, rows, points, gains, distance, rng)
    if len(models) <= MAX_BASIS:
        return PastBasis(tuple(models), shift, spread, np.eye(len(models)), log_prior)
    return _compress((predictions - shift) / spread, landmarks, log_prior, seed)


def _compress(
    predictions: FloatArray, landmarks: FloatArray, log_prior: FloatArray, seed: int
) -> PastBasis:
    """Replace K tasks by the principal components of their predictions (n, K) on landmarks."""
    n = len(predictions)
    left, singular, right = np.linalg.svd(predictions / np.sqrt(n), full_matrices=False)
    # A component's sign is arbitrary; fix it, or two machines may differ.
    sign = np.where(right.sum(axis=1) < 0, -1.0, 1.0)[:MAX_BASIS]
    components = left[:, :MAX_BASIS] * np.sqrt(n) * sign
    loadings = (right[:MAX_BASIS] * singular[:MAX_BASIS, None] * sign[:, None]).T
    models = [fit_trees(landmarks, c, seed + r) for r, c in enumerate(components.T)]
    again = _predict_all(models, landmarks)
    shift, spread = again.mean(axis=0), _safe(again.std(axis=0))
    return PastBasis(tuple(models), shift, spread, loadings, log_prior)


def _learn_prior(
    models: Sequence[lightgbm.Booster],
    shift: FloatArray,
    spread: FloatArray,
    rows: Sequence[FloatArray],
    points: Sequence[FloatArray],
    gains: Sequence[FloatArray],
    distance: Distance,
    rng: np.random.Generator,
) -> FloatArray:
    """Learn the prior of the hypotheses by leaving each past task out in turn, (g,).

    Each left-out task plays the target: its evidence, under the other tasks as basis, says which
    hypotheses hold in this world of tasks. The prior is the share of tasks that speak for each
    (empirical Bayes by expectation maximization), never zero.
    """
    hypotheses = Hypotheses.grid(with_basis=True)
    size = len(hypotheses.noise)
    if len(models) < 2:
        return np.zeros(size)
    judged = rng.permutation(len(models))[:_JUDGED]
    evidence = np.empty((len(judged), size))
    for index, task in enumerate(judged):
        chosen = rng.permutation(len(gains[task]))[:_JUDGED_ROWS]
        others = rng.permutation([k for k in range(len(models)) if k != task])[:MAX_BASIS]
        values = _predict_all([models[k] for k in others], rows[task][chosen])
        values = (values - shift[others]) / spread[others]
        share = np.full(len(others), 1.0 / len(others))
        near = distance(points[task][chosen], points[task][chosen])
        y = normal_scores(gains[task][chosen])
        evidence[index], _ = log_evidence(hypotheses, Basis(values, share, share), near, y)
    likelihood = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    prior = np.full(size, 1.0 / size)
    for _ in range(10):
        posterior = likelihood * prior
        posterior /= posterior.sum(axis=1, keepdims=True)
        prior = (posterior.sum(axis=0) + 1.0 / size) / (len(judged) + 1.0)
    return np.asarray(np.log(prior))


def _predict_all(models: Sequence[lightgbm.Booster], x: FloatArray) -> FloatArray:
    """Predictions of each model, (n, number of models)."""
    if not models:
        return np.zeros((len(x), 0))
    return np.stack([predict_trees(model, x) for model in models], axis=1)


def _landmarks(
    rows: Sequence[FloatArray], space_rows: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Random architectures of the space and an even share of those that were trained."""
    pooled = np.concatenate(rows)
    share = max(_LANDMARKS - len(space_rows), 0)
    return np.concatenate([space_rows, pooled[rng.permutation(len(pooled))[:share]]])


def _safe(spread: FloatArray) -> FloatArray:
    """A constant prediction has no spread to divide by."""
    return np.asarray(np.where(spread > 1e-9, spread, 1.0))
