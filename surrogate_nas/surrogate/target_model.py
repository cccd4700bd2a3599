"""TargetModel: a surrogate conditioned on the target task's own results.

Notation: n results, p pending architectures, m candidates, K past tasks. Own units are the units
of the target's metric. Working units are standardized, and larger is better in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, final

import numpy as np

from surrogate_nas.arrays import BoolArray, FloatArray, IndexArray
from surrogate_nas.past.past_task import Direction, signed
from surrogate_nas.surrogate.curves import UnfinishedTrials
from surrogate_nas.surrogate.features import FeatureCache, Features
from surrogate_nas.surrogate.model.basis import PastBasis
from surrogate_nas.surrogate.model.chance import (
    DOUBTED,
    held_at_chance,
    probability_of_learning,
)
from surrogate_nas.surrogate.model.posterior import Posterior
from surrogate_nas.surrogate.model.scaling import TargetScale
from surrogate_nas.surrogate.model.threads import one_thread

Params = Mapping[str, Any]

MOST_OBSERVED = 512
"""Number of results that a posterior is conditioned on, because its cost grows with the cube of
it. Of more, :func:`best_latest_random` chooses."""
MOST_PENDING = 256
"""Number of architectures in training that count, the latest ones. Earlier ones are most likely
of workers that died."""
_AT_ONCE = 2048
"""Number of architectures whose distances to all results are held at a time."""


class Surrogate(Protocol):
    """The part of a surrogate that a target model needs."""

    tasks: tuple[dict[str, Any], ...]
    basis: PastBasis
    features: FeatureCache

    @property
    def typical_scale(self) -> float:
        """Spread of past tasks' values, in their own units."""


@final
class TargetModel:
    """A surrogate conditioned on one target's results.

    Args:
        surrogate: The knowledge of past tasks.
        params: Parameters of the n architectures evaluated so far.
        y: Their values, larger is better, in own units, (n,).
        direction: Which way is better in the target's own units.
        pending: Parameters of architectures in training.
        task_weights: Weight of each past task by its meta-features, (K,). None where these are
            unknown.
        unfinished: Trials that were pruned or have reported something. Each counts with the value
            that its learning curve leads to, and with the variance of that.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        params: Sequence[Params],
        y: FloatArray,
        direction: Direction,
        pending: Sequence[Params] = (),
        task_weights: FloatArray | None = None,
        unfinished: Sequence[UnfinishedTrials] = (),
    ) -> None:
        self._surrogate = surrogate
        self._task_weights = task_weights
        self._direction = direction
        # Too few results have no scale of their own: then learning curves or past tasks give one.
        typical = unfinished[-1].spread if unfinished else surrogate.typical_scale
        self._scale = TargetScale.fit(y, typical)
        z = self._scale.forward(y)
        self.incumbent = float(z.max()) if len(z) else None
        """Best value so far, in working units (larger is better). None without results."""
        results = _Results(params, z, None, (len(z),))
        for group in unfinished:
            results = results.joined(group, self._scale)
        results = results.bounded(MOST_OBSERVED)
        # NOTE: before the first result pending ones do not count. Predictions are the past tasks'
        # alone, and the best of them are worth training side by side.
        counted = pending[-MOST_PENDING:] if len(results.z) else ()
        self._posterior, self._features = self._fit(
            [*results.params, *counted], results.z, results.extra_variance
        )

    @one_thread()
    def _fit(
        self, params: Sequence[Params], z: FloatArray, extra_variance: FloatArray | None
    ) -> tuple[Posterior, Features]:
        """Return the posterior, and the features of the architectures that it knows.

        Args:
            params: Parameters of n observed, then of p pending architectures.
            z: Values of the observed ones in working units, (n,).
            extra_variance: Variance of each value beside the noise, (n,), or None.
        """
        basis = self._surrogate.basis
        features = self._surrogate.features(params)
        is_at = self._at_chance(features)[: len(z)]
        self._log_learning = np.log(probability_of_learning(is_at, z))
        posterior = Posterior(
            basis.hypotheses,
            basis.at(features.values, z, self._task_weights),
            self._surrogate.features.distances(features, features),
            z,
            basis.log_prior,
            extra_variance,
        )
        return posterior, features

    def latent(self, params: Sequence[Params]) -> tuple[FloatArray, FloatArray]:
        """Predict the noise-free value of m architectures.

        Returns:
            Mean and standard deviation in working units, larger is better, (m,) each.
        """
        return self.latent_of(self._surrogate.features(params))

    @one_thread()
    def latent_of(self, features: Features) -> tuple[FloatArray, FloatArray]:
        """Predict as :meth:`latent` does, from the features of m architectures, (m,) each."""
        distances = self._surrogate.features.distances(features, self._features)
        return self._posterior.predict(self._surrogate.basis.at(features.values), distances)

    @one_thread()
    def preview(self, features: Features) -> tuple[FloatArray, FloatArray]:
        """Return the mean of :meth:`latent_of` and nearly its standard deviation, (m,) each.

        It is for many architectures at once: see
        :meth:`surrogate_nas.surrogate.model.posterior.Posterior.preview`.
        """
        starts = range(0, len(features), _AT_ONCE)
        parts = [features.take(np.arange(i, min(i + _AT_ONCE, len(features)))) for i in starts]
        found = [
            self._posterior.preview(
                self._surrogate.basis.at(part.values),
                self._surrogate.features.distances(part, self._features),
            )
            for part in parts
        ]
        return np.concatenate([m for m, _ in found]), np.concatenate([s for _, s in found])

    def log_learning(self, features: Features) -> FloatArray:
        """Return the logarithm of the probability that each of m architectures learns, (m,).

        It differs from 0 while transfer is doubted, for architectures that past tasks hold to be
        at chance: see :mod:`surrogate_nas.surrogate.model.chance`.
        """
        if self.transfer >= DOUBTED:
            return np.zeros(len(features))
        return np.where(self._at_chance(features), self._log_learning, 0.0)

    def log_learning_of(self, params: Sequence[Params]) -> FloatArray:
        """Return the same from the parameters of m architectures, (m,)."""
        return self.log_learning(self._surrogate.features(params))

    def _at_chance(self, features: Features) -> BoolArray:
        """Return which of m architectures past tasks hold to be at chance, (m,)."""
        thresholds = [task.get("at_chance") for task in self._surrogate.tasks]
        if all(threshold is None for threshold in thresholds):
            return np.zeros(len(features), dtype=bool)
        return held_at_chance(features.values @ self._surrogate.basis.loadings.T, thresholds)

    def measured(self, params: Sequence[Params]) -> tuple[FloatArray, FloatArray]:
        """Predict a measurement of m architectures, with its noise.

        Returns:
            Mean and standard deviation in working units, (m,) each.
        """
        mean, std = self.latent(params)
        return mean, np.hypot(std, self._posterior.noise)

    @property
    def has_own_scale(self) -> bool:
        """Whether the target's own results give the scale of its values.

        With fewer results, or equal ones, predictions in own units would be guesses.
        """
        return self._scale.is_own

    def working_units(self, y: FloatArray) -> FloatArray:
        """Return values in own units, larger is better, in the units of :meth:`latent`, (m,)."""
        return self._scale.forward(y)

    def own_units(self, mean: FloatArray, std: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Turn predictions of :meth:`latent` into measurements in the target's own units.

        Args:
            mean: Means in working units, (m,).
            std: Standard deviations in working units, (m,).

        Returns:
            The center and half the width of the interval that holds 68 %, (m,) each.
        """
        std = np.hypot(std, self._posterior.noise)
        low, high = self._scale.backward(mean - std), self._scale.backward(mean + std)
        center = self._scale.backward(mean)
        return signed(center, self._direction), (high - low) / 2

    def predict(self, params: Sequence[Params]) -> tuple[FloatArray, FloatArray]:
        """Predict measured values of m architectures in the target's own units, (m,) each."""
        return self.own_units(*self.latent(params))

    @property
    def transfer(self) -> float:
        """Probability that past tasks say anything about this one, 0 to 1."""
        return self._posterior.transfer if self._surrogate.tasks else 0.0

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each past task in the predictions, by its name."""
        loadings = self._surrogate.basis.loadings
        if not len(loadings):
            return {}
        # Spread each basis function's weight over the tasks that it stands for.
        by_function = self._posterior.weights / np.maximum((loadings**2).sum(axis=0), 1e-12)
        names = [str(task["name"]) for task in self._surrogate.tasks]
        return dict(zip(names, (loadings @ by_function).tolist(), strict=True))


@final
@dataclass(frozen=True)
class _Results:
    """The target's results in working units, measured ones before predicted ones.

    Args:
        params: Parameters of n architectures.
        z: Their values in working units, (n,).
        extra_variance: Variance of each value beside the noise, (n,). None where all are measured.
        sizes: Number of measured results, then of each group of predicted ones. Each part begins
            with its oldest.
    """

    params: Sequence[Params]
    z: FloatArray
    extra_variance: FloatArray | None
    sizes: tuple[int, ...]

    def joined(self, group: UnfinishedTrials, scale: TargetScale) -> _Results:
        """Return these results and the ones that a group of learning curves leads to."""
        mean, variance = group.predict(scale)
        before = np.zeros(len(self.z)) if self.extra_variance is None else self.extra_variance
        return _Results(
            [*self.params, *group.params],
            np.append(self.z, mean),
            np.append(before, variance),
            (*self.sizes, len(group.params)),
        )

    def bounded(self, most: int) -> _Results:
        """Return these results, or a choice of them where there are more than a number."""
        if len(self.z) <= most:
            return self
        age = np.concatenate([np.linspace(1.0, 0.0, size) for size in self.sizes])
        rows = best_latest_random(self.z, age, most)
        extra = None if self.extra_variance is None else self.extra_variance[rows]
        return _Results([self.params[i] for i in rows], self.z[rows], extra, (len(rows),))


def best_latest_random(y: FloatArray, age: FloatArray, most: int) -> IndexArray:
    """Return rows that represent all n results: the best, the latest and random others.

    Each of the three is a third. The best results show where to search next, the latest prevent
    repeating recent failures, and a fixed random subset represents the rest of the space.
    ``studies/scale`` compares this with other choices.

    Args:
        y: Values, larger is better, (n,).
        age: Age of each result; smaller is later, (n,).
        most: Number of rows, fewer than n.
    """
    third = most // 3
    best = np.argsort(-y, kind="stable")[:third]
    order = np.argsort(age, kind="stable")
    latest = order[~np.isin(order, best)][:third]
    kept = np.concatenate([best, latest])
    # NOTE: a longer row of random numbers begins with the same ones. So a random result stays
    # chosen while the study grows.
    chance = np.random.default_rng(0).random(len(y))
    chance[kept] = np.inf
    others = np.argsort(chance, kind="stable")[: most - len(kept)]
    return np.sort(np.concatenate([kept, others]))
