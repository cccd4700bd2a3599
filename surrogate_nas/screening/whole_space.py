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
)

from surrogate_nas.arrays import IndexArray
from surrogate_nas.screening.pool import Candidate, Limits
from surrogate_nas.space import Architecture, SearchSpace
from surrogate_nas.space.draw import Draw, numbers_of, random_chooser
from surrogate_nas.surrogate.features import FeatureCache, Features

_PROBES = 20
"""Number of random draws from which the size of a space is estimated."""
_MARGIN = 4
"""Give up listing a space if its estimated size exceeds the wanted number by this factor. The
estimate is right on average, and exact if no parameter depends on another."""


@final
class WholeSpace:
    """All feasible architectures of a space, one for each canonical key.

    Args:
        candidates: The architectures.
        n_infeasible: Number of others, which exceed a limit.
    """

    def __init__(self, candidates: Sequence[Candidate], n_infeasible: int) -> None:
        self.candidates = tuple(candidates)
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
        for n, one in enumerate(every_draw(space)):
            if one is None or n == most:
                return None
            draw, architecture = one
            params = draw.params
            if limits.exceeded(params, architecture):
                n_infeasible += 1
                continue
            key = space.canonical(architecture)
            # The first of equivalent architectures stands for all of them.
            found.setdefault(key, Candidate(params, draw.distributions, key, "space"))
        return cls(list(found.values()), n_infeasible) if found else None

    def __len__(self) -> int:
        return len(self.candidates)

    def free(self, seen: AbstractSet[str]) -> IndexArray:
        """Return the places of the architectures whose keys are not among those given."""
        return np.flatnonzero([key not in seen for key in self._keys])

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
        draw = Draw(random_chooser(rng))
        space.suggest(draw)
        sizes = [_size(distribution) for distribution in draw.distributions.values()]
        products.append(math.prod(math.inf if size is None else size for size in sizes))
    return float(np.mean(products))


def every_draw(space: SearchSpace) -> Iterator[tuple[Draw, Architecture] | None]:
    """Draw every combination of parameters once, in order; None ends it at an endless range."""
    # NOTE: a space says which parameters it has only while it is drawn. So each draw repeats the
    # last one up to the last choice that has another value left, takes that value, and goes on
    # with first values.
    path: list[tuple[int, int]] = []
    while True:
        walk = _Walk([index for index, _ in path])
        draw = Draw(walk.choose)
        architecture = space.suggest(draw)
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
    """Chooses given values first, then first values, and remembers the number of each."""

    def __init__(self, start: Sequence[int]) -> None:
        self._start = start
        self.path: list[tuple[int, int]] = []
        self.is_endless = False

    def choose(self, name: str, distribution: BaseDistribution) -> Any:
        depth = len(self.path)
        index = self._start[depth] if depth < len(self._start) else 0
        size = _size(distribution)
        self.is_endless = self.is_endless or size is None
        self.path.append((index, size or 1))
        return _value(distribution, index)


def _size(distribution: BaseDistribution) -> int | None:
    """Return the number of values of a parameter; None for the real numbers of a range."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    numbers = numbers_of(distribution)
    if numbers.single():
        return 1
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
