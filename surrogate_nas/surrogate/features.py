"""Features of architectures: the numbers that the posterior needs, each computed once.

Notation: n and m architectures, p parameters, q traits, r basis functions, t trees.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from surrogate_nas.arrays import FloatArray, IndexArray, LeafArray
from surrogate_nas.space import params_key
from surrogate_nas.surrogate.encoding import Encoding
from surrogate_nas.surrogate.model.basis import PastBasis
from surrogate_nas.surrogate.model.boosting import same_leaf
from surrogate_nas.surrogate.model.kernel import KernelDistances

_MOST_CACHED = 20_000


@final
@dataclass(frozen=True)
class Features:
    """The numbers that the posterior needs of n architectures.

    Args:
        points: Kernel coordinates of their parameters, (n, p).
        traits: Traits that describe each as a whole, (n, q); see :meth:`Encoding.traits`.
        values: Basis functions, (n, r).
        leaves: Numbers of the leaves that each falls into, (n, t).
    """

    points: FloatArray
    traits: FloatArray
    values: FloatArray
    leaves: LeafArray

    def __len__(self) -> int:
        return len(self.points)

    def take(self, at: IndexArray) -> Features:
        """Return the features of some of the architectures."""
        return Features(self.points[at], self.traits[at], self.values[at], self.leaves[at])


@final
class FeatureCache:
    """Computes features of architectures and remembers them.

    Args:
        encoding: The numbering of the search space.
        basis: The past tasks' models.
    """

    def __init__(self, encoding: Encoding, basis: PastBasis) -> None:
        self._encoding = encoding
        self._basis = basis
        self._known: dict[Hashable, tuple[Any, ...]] = {}

    def __call__(self, params: Sequence[Mapping[str, Any]]) -> Features:
        """Return the features of n architectures."""
        keys = [params_key(one) for one in params]
        # NOTE: emptied as a whole, which needs no record of what was used last. A search comes
        # back to few architectures.
        if len(self._known) > _MOST_CACHED:
            self._known = {}
        # NOTE: held by a name of its own, as another thread may empty the cache in between.
        known = self._known
        new = [i for i, key in enumerate(keys) if key not in known]
        if new:
            fresh = [params[i] for i in new]
            points = self._encoding.points(fresh)
            encoded = self._encoding.encode(fresh, points)
            parts = (
                points,
                self._encoding.traits(encoded),
                self._basis.raw(encoded),
                self._basis.leaves(encoded),
            )
            # NOTE: kept one by one, as a later call asks for others of them, in another order.
            for i, row in zip(new, zip(*parts, strict=True), strict=True):
                known[keys[i]] = row
        if not keys:
            return self._none
        return Features(*(np.array(part) for part in zip(*(known[k] for k in keys), strict=True)))

    @cached_property
    def _none(self) -> Features:
        """The features of no architectures."""
        encoded = np.zeros((0, len(self._encoding.columns)))
        traits = self._encoding.traits(encoded)
        values = np.zeros((0, len(self._basis.boosters)))
        return Features(
            self._encoding.points([]), traits, values, np.zeros((0, 0), dtype=np.int16)
        )

    def distances(self, left: Features, right: Features) -> KernelDistances:
        """Return the kernel distances of n architectures to m others, (n, m) each."""
        # Coordinates are parameters and traits side by side, as Encoding.distances takes them.
        sides = (np.hstack([side.points, side.traits]) for side in (left, right))
        return KernelDistances(
            *self._encoding.distances(*sides), same_leaf(left.leaves, right.leaves)
        )
