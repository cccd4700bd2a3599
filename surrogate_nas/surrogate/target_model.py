"""TargetModel: a surrogate conditioned on the target task's own results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, final

import numpy as np

from surrogate_nas.arrays import FloatArray, IndexArray
from surrogate_nas.past.past_task import Direction, signed
from surrogate_nas.surrogate.curves import UnfinishedTrials
from surrogate_nas.surrogate.features import FeatureCache, Features
from surrogate_nas.surrogate.model.basis import PastBasis
from surrogate_nas.surrogate.model.posterior import Posterior
from surrogate_nas.surrogate.model.scaling import TargetScale
from surrogate_nas.surrogate.model.threads import one_thread

MOST_OBSERVED = 512
"""Results that a posterior is conditioned on: it costs the cube of their number. Which ones stand
for more than that: see :func:`standing_for_all`."""
MOST_PENDING = 256
"""Architectures in training that count; of more, the last. The oldest of so many are most likely
those of workers that died."""
_AT_ONCE = 2048
"""Architectures whose distances to all results are held at a time."""


class Surrogate(Protocol):
    """What a target model takes from the surrogate that it conditions."""

    tasks: tuple[dict[str, Any], ...]
    basis: PastBasis
    features: FeatureCache

    @property
    def typical_scale(self) -> float:
        """Spread of past tasks' values."""


@final
class TargetModel:
    """A surrogate conditioned on one target's results.

    Args:
        surrogate: What past tasks say.
        params: Parameters of the n architectures evaluated so far.
        y: Their values, larger is better, (n,).
        direction: Which way is better in the target's own units.
        pending: Parameters of architectures in training.
        task_weights: Weight of each past task by its meta-features, (K,); None where these are
            unknown.
        unfinished: Architectures whose training was pruned or has reported something. Each counts
            with what its learning curve leads to, as far as that is known.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        params: Sequence[Mapping[str, Any]],
        y: FloatArray,
        direction: Direction,
        pending: Sequence[Mapping[str, Any]] = (),
        task_weights: FloatArray | None = None,
        unfinished: Sequence[UnfinishedTrials] = (),
    ) -> None:
        self._surrogate = surrogate
        self._task_weights = task_weights
        self._direction = direction
        typical = unfinished[-1].spread if unfinished else surrogate.typical_scale
        self._scale = TargetScale.fit(y, typical)
        z = self._scale.forward(y)
        self.incumbent = float(z.max()) if len(z) else None
        """Best value so far, in working units (larger is better); None without results."""
        extra: FloatArray | None = None
        for group in unfinished:
            mean, variance = group.predict(self._scale)
            extra = np.append(np.zeros(len(z)) if extra is None else extra, variance)
            params, z = [*params, *group.params], np.append(z, mean)
        if len(z) > MOST_OBSERVED:
            sizes = [len(y), *(len(group.params) for group in unfinished)]
            age = np.concatenate([np.linspace(1.0, 0.0, size) for size in sizes])
            rows = standing_for_all(z, age, MOST_OBSERVED)
            params, z = [params[i] for i in rows], z[rows]
            extra = None if extra is None else extra[rows]
        # Before the first result, predictions are the past tasks' alone, and the best of them are
        # worth training side by side.
        expected = pending[-MOST_PENDING:] if len(z) else ()
        self._posterior, self._features = self._fit([*params, *expected], z, extra)

    @one_thread()
    def _fit(
        self, params: Sequence[Mapping[str, Any]], z: FloatArray, extra: FloatArray | None
    ) -> tuple[Posterior, Features]:
        """The posterior, and the features of its n observed, then its pending architectures."""
        basis = self._surrogate.basis
        features = self._surrogate.features(params)
        distances = self._surrogate.features.distances(features, features)
        prior = basis.at(features.values, z, self._task_weights)
        return Posterior(basis.hypotheses, prior, distances, z, basis.log_prior, extra), features

    def latent(self, params: Sequence[Mapping[str, Any]]) -> tuple[FloatArray, FloatArray]:
        """Predict the noise-free value in working units, larger is better, (m,) each."""
        return self.latent_of(self._surrogate.features(params))

    @one_thread()
    def latent_of(self, features: Features) -> tuple[FloatArray, FloatArray]:
        """Predict as :meth:`latent` does, from the m architectures' features."""
        distances = self._surrogate.features.distances(features, self._features)
        return self._posterior.predict(self._surrogate.basis.at(features.values), distances)

    @one_thread()
    def preview(self, features: Features) -> tuple[FloatArray, FloatArray]:
        """Predict many: the mean of :meth:`latent_of`, nearly its standard deviation, (m,) each.

        See :meth:`surrogate_nas.surrogate.model.posterior.Posterior.preview`.
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

    def measured(self, params: Sequence[Mapping[str, Any]]) -> tuple[FloatArray, FloatArray]:
        """Predict a measurement, noise included, in working units, (m,) each."""
        mean, std = self.latent(params)
        return mean, np.hypot(std, self._posterior.noise)

    def working_units(self, y: FloatArray) -> FloatArray:
        """Return values, larger is better, in the units of :meth:`latent`, (m,)."""
        return self._scale.forward(y)

    def own_units(self, mean: FloatArray, std: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Turn latent predictions into measured values: center and half of the 68% interval."""
        std = np.hypot(std, self._posterior.noise)
        low, high = self._scale.backward(mean - std), self._scale.backward(mean + std)
        center = self._scale.backward(mean)
        return signed(center, self._direction), (high - low) / 2

    def predict(self, params: Sequence[Mapping[str, Any]]) -> tuple[FloatArray, FloatArray]:
        """Predict measured values in the target's own units, (m,) each."""
        return self.own_units(*self.latent(params))

    @property
    def transfer(self) -> float:
        """Probability that past tasks say anything about this one, 0 to 1."""
        return self._posterior.transfer if self._surrogate.tasks else 0.0

    @property
    def weights(self) -> dict[str, float]:
        """How much each past task counts in the predictions."""
        loadings = self._surrogate.basis.loadings
        if not len(loadings):
            return {}
        # Spread each basis function's weight over the tasks that it stands for.
        share = loadings @ (self._posterior.weights / np.maximum((loadings**2).sum(axis=0), 1e-12))
        names = [str(task["name"]) for task in self._surrogate.tasks]
        return dict(zip(names, share.tolist(), strict=True))


def standing_for_all(y: FloatArray, age: FloatArray, most: int) -> IndexArray:
    """Return rows of results that stand for all n: the best, the latest, and others at random.

    Each of the three is a third. The best say where to go on; the latest that it was in vain, else
    the same would be tried again; the others, always the same, what the rest of the space is like.
    ``studies/scale`` compares this with other choices.

    Args:
        y: Values, larger is better, (n,).
        age: Smaller is later, (n,).
        most: How many rows, fewer than n.
    """
    third = most // 3
    best = np.argsort(-y, kind="stable")[:third]
    order = np.argsort(age, kind="stable")
    latest = order[~np.isin(order, best)][:third]
    kept = np.concatenate([best, latest])
    # The first numbers of a longer row of random ones are the same: who has stood for all stays.
    chance = np.random.default_rng(0).random(len(y))
    chance[kept] = np.inf
    others = np.argsort(chance, kind="stable")[: most - len(kept)]
    return np.sort(np.concatenate([kept, others]))
