"""A small space as a list of all its architectures: a pool that needs no drawing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, final

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    IntDistribution,
)

from surrogate_nas.arrays import IndexArray
from surrogate_nas.screening.pool import Candidate, Limits
from surrogate_nas.space import Architecture, SearchSpace
from surrogate_nas.space.draw import Draw, attempt, numbers_of, random_chooser
from surrogate_nas.surrogate.features import FeatureCache, Features

_PROBES = 20
"""Number of random draws from which the size of a space is estimated."""
_HUGE = 1e300
"""Number of combinations from which on it does not matter how many there are."""
_MARGIN = 4
"""Give up listing a space if its estimated size exceeds the wanted number by this factor. The
estimate is right on average, and exact if no parameter depends on another."""


@final
class WholeSpace:
    """All feasible architectures of a space, one for each canonical key.

    Args:
        candidates: The architectures.
        n_infeasible: Number of others, which exceed a limit or cannot learn.
        limits: Knows which architectures cannot learn; None where all can.
    """

    def __init__(
        self, candidates: Sequence[Candidate], n_infeasible: int, limits: Limits | None = None
    ) -> None:
        self.candidates = tuple(candidates)
        self._limits = limits
        self.n_infeasible = n_infeasible
        self._keys = [candidate.key for candidate in candidates]
        self._features: tuple[FeatureCache, Features] | None = None

    @classmethod
    def of(cls, space: SearchSpace, limits: Limits, most: int) -> WholeSpace | None:
        """List a space; None if it is larger than wanted or has nothing feasible.

        Args:
            space: The space.
            limits: What is infeasible.
            most: Largest number of combinations of parameters, equivalent ones included.
        """
        if _estimated(space) > _MARGIN * most:
            return None
        found: dict[str, Candidate] = {}
        n_infeasible = 0
        for n, one in enumerate(every_draw(space, most)):
            if one is None or n == most:
                return None
            draw, architecture = one
            params = draw.params
            if architecture is None:
                n_infeasible += 1
                continue
            if limits.exceeded(params, architecture):
                n_infeasible += 1
                continue
            key = space.canonical(architecture)
            # The first of equivalent architectures stands for all of them.
            found.setdefault(key, Candidate(params, draw.distributions, key, "space"))
        candidates = list(found.values())
        if limits.is_quick:
            alive = [one for one in candidates if not limits.is_dead(one.params)]
            n_infeasible += len(candidates) - len(alive)
            candidates = alive
        return cls(candidates, n_infeasible, limits) if candidates else None

    def __len__(self) -> int:
        return len(self.candidates)

    def free(self, seen: AbstractSet[str]) -> IndexArray:
        """Return the places of the architectures whose keys are not among those given."""
        return np.flatnonzero([key not in seen for key in self._keys])

    def first_alive(self, places: IndexArray, order: Sequence[int]) -> int:
        """Return the first wanted place in a list whose architecture can learn.

        Args:
            places: Places of architectures.
            order: Indices into these, the most wanted first. The first counts if none can learn.
        """
        if self._limits is None:
            return order[0]
        for index in order:
            if not self._limits.is_dead(self.candidates[places[index]].params):
                return index
        return order[0]

    def features(self, cache: FeatureCache) -> Features:
        """Return the features of all architectures, computed once."""
        if self._features is None or self._features[0] is not cache:
            self._features = (cache, cache([candidate.params for candidate in self.candidates]))
        return self._features[1]


def _estimated(space: SearchSpace) -> float:
    """Return the estimated number of combinations of parameters.

    It is the mean product of the numbers of choices along random draws (Knuth 1975, "Estimating
    the efficiency of backtrack programs").
    """
    rng = np.random.default_rng(0)
    products = []
    for _ in range(_PROBES):
        draw, _ = attempt(space.suggest, random_chooser(rng))
        sizes = [_size(distribution) for distribution in draw.distributions.values()]
        product = math.prod(math.inf if size is None else size for size in sizes)
        products.append(float(min(product, _HUGE)))
    return float(np.mean(products))


def every_draw(
    space: SearchSpace, most: int = 2**20
) -> Iterator[tuple[Draw, Architecture | None] | None]:
    """Draw every combination of parameters once, in order.

    A combination that the space refuses has no architecture. None ends the list at a range of real
    numbers, or where the space has more combinations than wanted.

    Args:
        space: The space.
        most: Largest number of combinations that are of interest.
    """
    # NOTE: a space says which parameters it has only while it is drawn. So each draw repeats the
    # last one up to the last choice that has another value left, takes that value, and goes on
    # with first values.
    path: list[tuple[int, int]] = []
    while True:
        walk = _Walk([index for index, _ in path], most)
        try:
            draw, architecture = attempt(space.suggest, walk.choose)
        except RecursionError:  # first values may lead a space deeper than random ones do
            walk.is_endless = True
        if walk.is_endless:
            yield None
            return
        yield draw, architecture
        path = walk.path
        while path and path[-1][0] + 1 == path[-1][1]:
            path.pop()
        if not path:
            return
        index, size = path.pop()
        path.append((index + 1, size))


@final
class _Walk:
    """Chooses given values first, then first values, and remembers the number of each.

    Args:
        start: Indices of the given values.
        most: Largest number of combinations of interest.
    """

    def __init__(self, start: Sequence[int], most: int) -> None:
        self._start = start
        self._most = most
        self._n_open = 0
        self._random = random_chooser(np.random.default_rng(0))
        self.path: list[tuple[int, int]] = []
        self.is_endless = False
        """Whether the space has a range of real numbers, or too many combinations."""

    def choose(self, name: str, distribution: BaseDistribution) -> Any:
        # NOTE: with first values alone a space may go on for ever, where random draws come to an
        # end. Each choice among several values adds a combination, so there are too many by then.
        self.is_endless = self.is_endless or self._n_open > self._most
        if self.is_endless:
            return self._random(name, distribution)
        depth = len(self.path)
        index = self._start[depth] if depth < len(self._start) else 0
        size = _size(distribution)
        self.is_endless = size is None
        self._n_open += size != 1
        self.path.append((index, size or 1))
        return _value(distribution, index)


def _size(distribution: BaseDistribution) -> int | None:
    """Return the number of values of a parameter; None for the real numbers of a range."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    numbers = numbers_of(distribution)
    if numbers.single():
        return 1
    if isinstance(numbers, IntDistribution):
        return 1 + (numbers.high - numbers.low) // numbers.step
    if numbers.step is None:
        return None
    return 1 + round((numbers.high - numbers.low) / numbers.step)


def _value(distribution: BaseDistribution, index: int) -> Any:
    """Return one of the values of a parameter, counted from its lowest."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[index]
    numbers = numbers_of(distribution)
    step = 0 if numbers.single() else numbers.step or 0
    return min(numbers.low + index * step, numbers.high)
