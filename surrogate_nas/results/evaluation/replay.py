"""Replay of a search on recorded results: trainings until it finds a good architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from surrogate_nas.arrays import BoolArray, FloatArray, IndexArray
from surrogate_nas.screening.ranking import median_place, score_candidates
from surrogate_nas.screening.rules import ScreeningRules
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate

_RULES = ScreeningRules()
N_STARTUP = _RULES.n_startup
"""Random trainings at the start of a search without past tasks, as in SurrogateSampler."""
_MOST_STEPS = 50
"""Trainings that are replayed one by one. After these the search is assumed to be random."""


@final
@dataclass(frozen=True)
class RecordedPool:
    """Recorded architectures of a task. A replayed search may train each of them once.

    Args:
        params: Parameters of n architectures.
        y: Recorded values, larger is better, (n,).
        share: Share of the architectures that counts as good. At least one does, and so do all
            with an equal value.
        meta_features: Numbers that describe the task; None if they are unknown.
    """

    params: Sequence[Mapping[str, Any]]
    y: FloatArray
    share: float
    meta_features: Mapping[str, float] | None = None

    @property
    def good(self) -> BoolArray:
        """Whether each architecture counts as good, (n,)."""
        n_good = max(int(self.share * len(self.y)), 1)
        return np.asarray(self.y >= np.sort(self.y)[-n_good])

    def expected_random(self) -> float:
        """Return the expected number of random trainings until a good architecture.

        Draws are without replacement, so it is the mean of the negative hypergeometric
        distribution: (n + 1) / (n_good + 1).
        """
        return _expected(len(self.y), int(self.good.sum()))

    def trainings(self, surrogate: MetaSurrogate, rng: np.random.Generator) -> float:
        """Return the number of trainings until a good architecture, chosen by the surrogate.

        With past tasks the first training is the best prediction, and the second is the control.
        Without past tasks the search starts with N_STARTUP random trainings. After _MOST_STEPS
        trainings the expected number of further random ones is added.
        """
        good = self.good
        order = rng.permutation(len(self.y))
        n_random = 0 if surrogate.tasks else N_STARTUP
        left = np.ones(len(self.y), dtype=bool)
        chosen: list[int] = []
        while len(chosen) < min(_MOST_STEPS, len(self.y)):
            if len(chosen) < n_random:
                pick = int(order[len(chosen)])
            else:
                pick = self._next(surrogate, chosen, np.flatnonzero(left))
            chosen.append(pick)
            left[pick] = False
            if good[pick]:
                return float(len(chosen))
        # None of the good ones was found, so all of them are left.
        return len(chosen) + _expected(int(left.sum()), int(good.sum()))

    def _next(self, surrogate: MetaSurrogate, chosen: Sequence[int], left: IndexArray) -> int:
        """Return the best unseen architecture, as screening would rank a pool of them."""
        seen = [self.params[i] for i in chosen], self.y[list(chosen)].tolist()
        target = surrogate.condition(seen, meta_features=self.meta_features)
        params = [self.params[i] for i in left]
        mean, std = target.latent(params)
        learns = target.log_learning_of(params)
        is_control = _RULES.is_control(surrogate, len(chosen))
        best = (
            median_place(mean)
            if is_control
            else np.argmax(score_candidates(target, mean, std, log_feasible=learns))
        )
        return int(left[best])


def _expected(n: int, n_good: int) -> float:
    """Return the expected number of draws until the first good one of n."""
    return (n + 1) / (n_good + 1)
