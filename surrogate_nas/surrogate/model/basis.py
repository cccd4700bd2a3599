"""Past tasks as basis functions: one LightGBM each and one of all, or components of many.

Arrays only. Notation: K past tasks, r basis functions, X (n, d) encoded rows, NaN where inactive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import numpy as np

from surrogate_nas.arrays import FloatArray, LeafArray
from surrogate_nas.surrogate.model.boosting import (
    fit_trees,
    leaf_numbers,
    normal_scores,
    predict_trees,
    rank_correlation,
    same_leaf,
)
from surrogate_nas.surrogate.model.distillation import (
    DistanceFunction,
    Points,
    fit_taught,
    together,
)
from surrogate_nas.surrogate.model.hypotheses import NOTHING, Hypotheses
from surrogate_nas.surrogate.model.posterior import Basis, KernelDistances, log_evidence
from surrogate_nas.surrogate.model.transfer_guard import guard_before_results, rank_each_other
from surrogate_nas.surrogate.similarity import MetaFeatures, similarity

if TYPE_CHECKING:
    import lightgbm


MAX_BASIS = 16
"""Beyond this many past tasks they are compressed: a suggestion's cost must not grow with them."""
POOLED = 0.5
"""How much the model of all past tasks' pairs counts beside a task's own. It has seen more
architectures, and fits tasks that agree; its weight is free to move like any other's."""
_LEAVES = 192
"""Trees whose leaves say what is alike, an equal number a model: their count bounds the time."""
_ONE_OF = 16
"""Past tasks of which the target may be like one; of more, those that rank its results best."""
_POOLED_ROWS = 20_000
_LANDMARKS = 2000
_JUDGED = 24
"""Past tasks that are left out in turn to learn the prior, and to say how well it predicts."""
_JUDGED_ROWS = 32
_RANKED_ROWS = 256
_FEWEST_RANKED = 5
"""Values below which a rank correlation says nothing."""


@final
@dataclass(frozen=True)
class PastBasis:
    """Fitted basis functions.

    Args:
        boosters: One model a basis function, r of them.
        shift: Mean of each one's predictions over the space, (r,).
        spread: Their standard deviation, (r,).
        loadings: Each past task as a sum of basis functions, (K, r).
        hypotheses: The posterior's grid, g hypotheses.
        log_prior: Log prior of each, (g,).
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
            values: The basis functions at n architectures.
            y: What the first k of these have reached, (k,), to tell which past tasks the target
                may be like.
            task_weights: Weight of each past task by its meta-features, (K,), summing to 1.
        """
        tasks = self.loadings
        if len(tasks) > _ONE_OF:
            match = np.zeros(len(tasks)) if y is None else _match(values[: len(y)] @ tasks.T, y)
            tasks = tasks[np.sort(np.argsort(-match, kind="stable")[:_ONE_OF])]
        similar = None if task_weights is None else task_weights @ self.loadings
        return Basis(values, self.mean, self.variance, tasks, similar)

    def raw(self, x: FloatArray) -> FloatArray:
        """Return standardized basis functions at rows (n, d), shape (n, r)."""
        return (_predict_all(self.boosters, x) - self.shift) / self.spread

    def leaves(self, x: FloatArray) -> LeafArray:
        """Return the numbers of the leaves that rows (n, d) fall into, (n, at most _LEAVES)."""
        return leaf_numbers(self.boosters, x, _LEAVES)

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
    hypotheses = Hypotheses.grid(with_basis=False)
    none = np.zeros(0)
    return PastBasis((), none, none, np.zeros((0, 0)), hypotheses, np.zeros(len(hypotheses)))


@final
@dataclass(frozen=True)
class PastModels:
    """One fitted model a past task, from which a basis of all, or of all but one, is assembled.

    Args:
        boosters: The models of K past tasks.
        known: Architectures of each, n_k of them.
        y: Their values, larger is better, (n_k,).
        meta_features: Their meta-features, or None.
        landmarks: Architectures that models are compared on, m of them.
        predictions: Of each model there, (m, K).
        distance_between: Distances between coordinates.
        hypotheses: The posterior's grid.
        seed: Fixes subsampling.
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

    def basis(self, without: int | None = None) -> tuple[PastBasis, list[float | None]]:
        """Assemble the basis functions of all past tasks, or of all but one.

        What is left out plays no part but for its architectures, which are among the landmarks.

        Returns:
            The basis, and the quality of each past task in it: Spearman's rank correlation of its
            values with what the others predict before any result of it, as their prior has it: the
            mean of their standardized predictions (of at most MAX_BASIS of them, on at most
            _RANKED_ROWS rows). None where the task was not judged: there is no other, it has fewer
            than _FEWEST_RANKED values, or it is beyond the _JUDGED that are drawn of many.
        """
        kept = [k for k in range(len(self.boosters)) if k != without]
        shift = self.predictions.mean(axis=0)
        spread = _safe(self.predictions.std(axis=0))
        rng = np.random.default_rng([self.seed, 1])  # apart from the stream of the landmarks
        log_prior, quality = _learn_prior(self, kept, shift, spread, rng)
        if len(kept) > MAX_BASIS:
            standardized = ((self.predictions - shift) / spread)[:, kept]
            basis = _compress(
                standardized, self.landmarks.rows, self.hypotheses, log_prior, self.seed
            )
            return basis, quality
        boosters = [self.boosters[k] for k in kept]
        shift, spread = shift[kept], spread[kept]
        loadings = np.eye(len(kept))
        if len(kept) > 1:
            pooled = self._pooled(kept)
            at_landmarks = predict_trees(pooled, self.landmarks.rows)
            boosters.append(pooled)
            shift = np.append(shift, at_landmarks.mean())
            spread = np.append(spread, _safe(at_landmarks.std()))
            common = np.full((len(kept), 1), POOLED)
            loadings = np.hstack([loadings, common]) / np.hypot(1.0, POOLED)
        return PastBasis(
            tuple(boosters), shift, spread, loadings, self.hypotheses, log_prior
        ), quality

    def _pooled(self, kept: Sequence[int]) -> lightgbm.Booster:
        """One model of all pairs of some past tasks, each on its own ranks."""
        known = together([self.known[k] for k in kept])
        y = np.concatenate([normal_scores(self.y[k]) for k in kept])
        rows = np.random.default_rng([self.seed, 3]).permutation(len(y))[:_POOLED_ROWS]
        return fit_taught(
            known.take(rows), y[rows], self.landmarks, self.distance_between, self.seed
        )

    def agreement(self, task: int) -> FloatArray:
        """Return how each other past task's model ranks one's architectures, Spearman's rho.

        Args:
            task: The one.

        Returns:
            Rank correlations with its values, one for each of at most _JUDGED others.
        """
        rng = np.random.default_rng([self.seed, 2, task])
        rows = rng.permutation(len(self.y[task]))[:_RANKED_ROWS]
        others = rng.permutation([k for k in range(len(self.boosters)) if k != task])[:_JUDGED]
        values = _predict_all([self.boosters[k] for k in others], self.known[task].rows[rows])
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
        y: Their values, larger is better, (n_k,).
        meta_features: Their meta-features, or None.
        space: Random architectures of the space.
        distance_between: Distances between coordinates.
        hypotheses: The posterior's grid.
        seed: Fixes subsampling.
    """
    landmarks = _landmarks(known, space, np.random.default_rng(seed))
    # Components of many tasks average over them, which does what a teacher does for a few.
    is_taught = len(known) <= MAX_BASIS
    models = []
    for k, (one, reached) in enumerate(zip(known, y, strict=True)):
        scores = normal_scores(reached)
        models.append(
            fit_taught(one, scores, landmarks, distance_between, seed + k)
            if is_taught
            else fit_trees(one.rows, scores, seed + k)
        )
    predictions = _predict_all(models, landmarks.rows)
    return PastModels(
        tuple(models),
        known,
        y,
        meta_features,
        landmarks,
        predictions,
        distance_between,
        hypotheses,
        seed,
    )


def _compress(
    predictions: FloatArray,
    landmarks: FloatArray,
    hypotheses: Hypotheses,
    log_prior: FloatArray,
    seed: int,
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
    return PastBasis(tuple(models), shift, spread, loadings, hypotheses, log_prior)


def _learn_prior(
    past: PastModels,
    kept: Sequence[int],
    shift: FloatArray,
    spread: FloatArray,
    rng: np.random.Generator,
) -> tuple[FloatArray, list[float | None]]:
    """Learn the prior of the hypotheses by leaving each past task out in turn, (g,).

    Each left-out task plays the target: its evidence, under the other tasks as basis, says which
    hypotheses hold in this world of tasks. The prior is the share of tasks that speak for each
    (empirical Bayes by expectation maximization), never zero; all kernels keep an equal share, for
    past tasks of mere noise would teach that neighbours have nothing in common. Past tasks that do
    not even predict each other are doubted from the start.

    Returns:
        The log prior, and the quality of each of the kept tasks (see :meth:`PastModels.basis`).
    """
    size = len(past.hypotheses)
    quality: list[float | None] = [None] * len(kept)
    if len(kept) < 2:
        return np.zeros(size), quality
    judged = rng.permutation(len(kept))[:_JUDGED]
    evidence = np.empty((len(judged), size))
    agreement: list[tuple[int, float, FloatArray]] = []
    for index, place in enumerate(judged):
        task = kept[place]
        ranked = rng.permutation(len(past.y[task]))[:_RANKED_ROWS]
        others = rng.permutation([k for k in kept if k != task])[:MAX_BASIS]
        models = [past.boosters[k] for k in others]
        x = past.known[task].rows[ranked]
        values = (_predict_all(models, x) - shift[others]) / spread[others]
        reached = past.y[task][ranked]
        if len(reached) >= _FEWEST_RANKED:
            by_mean = rank_correlation(values.mean(axis=1), reached)
            each = np.array([rank_correlation(one, reached) for one in values.T])
            quality[place] = by_mean
            agreement.append((len(reached), by_mean, each))
        chosen = ranked[:_JUDGED_ROWS]
        share = np.full(len(others), 1.0 / len(others))
        leaves = leaf_numbers(models, x[:_JUDGED_ROWS], _LEAVES)
        points = past.known[task].points[chosen]
        distances = KernelDistances(
            *past.distance_between(points, points), same_leaf(leaves, leaves)
        )
        task_weights = similarity(
            past.meta_features[task], [past.meta_features[k] for k in others]
        )
        seen = Basis(values[:_JUDGED_ROWS], share, share, np.eye(len(others)), task_weights)
        y = normal_scores(reached[:_JUDGED_ROWS])
        evidence[index] = _of_grid(past.hypotheses, seen, distances, y)
    likelihood = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    prior = np.full(size, 1.0 / size)
    for _ in range(10):
        posterior = likelihood * prior
        posterior /= posterior.sum(axis=1, keepdims=True)
        prior = (posterior.sum(axis=0) + 1.0 / size) / (len(judged) + 1.0)
    prior = past.hypotheses.even_over_kernels(prior)
    if not rank_each_other(agreement):
        prior = guard_before_results(prior, past.hypotheses.transfer == NOTHING)
    return np.log(prior), quality


def _of_grid(
    hypotheses: Hypotheses, basis: Basis, distances: KernelDistances, y: FloatArray
) -> FloatArray:
    """Log evidence of each hypothesis, (g,); "like one of them" is the mean over past tasks."""
    _, origin, _ = hypotheses.spread_out(len(basis.tasks))
    evidence, _ = log_evidence(hypotheses, basis, distances, y)
    total = np.full(len(hypotheses), -np.inf)
    np.logaddexp.at(total, origin, evidence)
    return np.asarray(total - np.log(np.bincount(origin)))


def _match(predictions: FloatArray, y: FloatArray) -> FloatArray:
    """Correlation of each past task's predictions (n, K) with what was reached, (K,)."""
    if len(y) < 2:
        return np.zeros(predictions.shape[1])
    left = predictions - predictions.mean(axis=0)
    right = y - y.mean()
    size = np.sqrt((left**2).sum(axis=0) * (right @ right))
    return np.asarray(right @ left / np.maximum(size, 1e-12))


def _predict_all(models: Sequence[lightgbm.Booster], x: FloatArray) -> FloatArray:
    """Predictions of each model, (n, number of models)."""
    if not models:
        return np.zeros((len(x), 0))
    return np.stack([predict_trees(model, x) for model in models], axis=1)


def _landmarks(known: Sequence[Points], space: Points, rng: np.random.Generator) -> Points:
    """Random architectures of the space and an even share of those that were trained."""
    ends = np.cumsum([len(one) for one in known])
    share = max(_LANDMARKS - len(space), 0)
    # One by one: all of them together may be a million.
    chosen = rng.permutation(int(ends[-1]))[:share]
    task = np.searchsorted(ends, chosen, side="right")
    row = chosen - (ends - [len(one) for one in known])[task]
    parts = [known[k].take(np.array([i])) for k, i in zip(task, row, strict=True)]
    return together([space, *parts])


def _safe(spread: FloatArray) -> FloatArray:
    """A constant prediction has no spread to divide by."""
    return np.asarray(np.where(spread > 1e-9, spread, 1.0))
