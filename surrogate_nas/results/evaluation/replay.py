"""A search replayed on recorded results: how many trainings until a good architecture is found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from surrogate_nas.screening.ranking import median_place, score_candidates
from surrogate_nas.screening.rules import ScreeningRules
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate

FloatArray = npt.NDArray[np.float64]

_RULES = ScreeningRules()
N_STARTUP = _RULES.n_startup
"""Random trainings of a search without past tasks, as SurrogateSampler has them."""
_MOST_STEPS = 50
"""Trainings that are replayed one by one; beyond, the search is taken to go on at random."""


@final
@dataclass(frozen=True)
class RecordedPool:
    """Recorded architectures of a task, of which a search may train each once.

    Args:
        params: Their parameters, n of them.
        y: What they reached, larger is better, (n,).
        share: The share of them that counts as good, by value; at least one does, and ties do.
        meta_features: Numbers that describe the task; None where they are unknown.
    """

    params: Sequence[Mapping[str, Any]]
    y: FloatArray
    share: float
    meta_features: Mapping[str, float] | None = None

    @property
    def good(self) -> npt.NDArray[np.bool_]:
        """Which architectures count as found, (n,)."""
        n_good = max(int(self.share * len(self.y)), 1)
        return np.asarray(self.y >= np.sort(self.y)[-n_good])

    def expected_random(self) -> float:
        """Return the expected trainings until a good one, drawn at random without replacement.

        The mean of the negative hypergeometric distribution: (n + 1) / (n_good + 1).
        """
        return _expected(len(self.y), int(self.good.sum()))

    def trainings(self, surrogate: MetaSurrogate, rng: np.random.Generator) -> float:
        """Return the trainings until a good one, each chosen by expected improvement.

        With past tasks the first one is chosen by what they predict, and the next is the control;
        without, it starts with N_STARTUP random ones. What is not found within _MOST_STEPS counts
        as if the rest were drawn at random, in expectation.
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
        return len(chosen) + _expected(int(left.sum()), int(good.sum()))

    def _next(
        self, surrogate: MetaSurrogate, chosen: Sequence[int], left: npt.NDArray[np.intp]
    ) -> int:
        """The best of the architectures that are left, as screening ranks a pool."""
        seen = [self.params[i] for i in chosen], self.y[list(chosen)].tolist()
        target = surrogate.condition(seen, meta_features=self.meta_features)
        mean, std = target.latent([self.params[i] for i in left])
        is_control = _RULES.is_control(surrogate, len(chosen))
        best = median_place(mean) if is_control else np.argmax(score_candidates(target, mean, std))
        return int(left[best])


def _expected(n: int, n_good: int) -> float:
    return (n + 1) / (n_good + 1)
