"""Architectures <-> rows of named numbers, and the coordinates that the residual's kernel uses.

Notation: n architectures, p parameters, d columns. NaN stands for a choice that is inactive in an
architecture (a stage that does not exist), which LightGBM handles as such.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any, final

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution
from scipy.spatial.distance import cdist

from surrogate_nas.arrays import BoolArray, FloatArray
from surrogate_nas.draw import Draw, from_unit, random_chooser, replay_chooser, to_unit
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import Distributions, SearchSpace, distributions, fingerprint

Params = Mapping[str, Any]

_ABSENT = object()
_TRAIT_DRAWS = 400
_CONSTANT = 1e-9


@final
class Encoding:
    """The fixed numbering of a search space's parameters and features.

    Args:
        space: The search space; its parameters are found by seeded random draws.
        known: Its parameters in order, where they are known already, from a file for example.

    Raises:
        SpaceError: The space has no parameters.
    """

    def __init__(self, space: SearchSpace, *, known: Distributions | None = None) -> None:
        self.space = space
        self.distributions: Distributions = distributions(space) if known is None else dict(known)
        self.fingerprint = fingerprint(self.distributions)
        self._groups = _alike(self.distributions)
        self._features = _feature_names(space)
        self._slots = {name: index for index, name in enumerate(self.distributions)}
        self.is_category = np.array(
            [isinstance(d, CategoricalDistribution) for d in self.distributions.values()]
        )
        self.columns: tuple[str, ...] = tuple(self._column_names())

    def points(self, params: Sequence[Params]) -> FloatArray:
        """Return kernel coordinates (n, p): a place in [0, 1], a category's index, or NaN."""
        points = np.full((len(params), len(self._slots)), np.nan)
        for slot, (name, distribution) in enumerate(self.distributions.items()):
            # A space has few values that its architectures share, so most are looked up.
            places: dict[tuple[type, Any], float] = {}
            for row, one in zip(points, params, strict=True):
                value = one.get(name, _ABSENT)
                if value is _ABSENT or not isinstance(value, Hashable):
                    continue
                at = (type(value), value)
                if at not in places:
                    places[at] = _place(distribution, value)
                row[slot] = places[at]
        return points

    def encode(
        self,
        params: Sequence[Params],
        points: FloatArray | None = None,
        *,
        partly_known: bool = False,
    ) -> FloatArray:
        """Return one row a parameter set, (n, d), in the order of :attr:`columns`.

        Args:
            params: The parameter sets.
            points: What :meth:`points` returns for them, if that is known already.
            partly_known: See :meth:`feature_rows`.

        Raises:
            SpaceError: See :meth:`feature_rows`.
        """
        points = self.points(params) if points is None else points
        blocks: list[FloatArray] = []
        for slot, distribution in enumerate(self.distributions.values()):
            column = points[:, slot : slot + 1]
            if isinstance(distribution, CategoricalDistribution):
                hot = (column == np.arange(len(distribution.choices))).astype(float)
                blocks.append(np.where(np.isnan(column), np.nan, hot))
            else:
                blocks.append(column)
        for choices, members in self._groups:
            chosen = points[:, [self._slots[name] for name in members]]
            counts = [(chosen == k).sum(axis=1, keepdims=True) for k in range(len(choices))]
            blocks.extend(c.astype(float) for c in counts)
        if self._features:
            blocks.append(self.feature_rows(params, partly_known=partly_known))
        return np.hstack(blocks)

    def traits(self, rows: FloatArray) -> FloatArray:
        """Return what of encoded rows (n, d) describes an architecture as a whole, (n, q).

        These are the space's own features or, where it has none, the counts of equal choices: two
        architectures may differ in all parameters and still be much alike. The sum of absolute
        differences of two random architectures is 1 on average. What is unknown is at the mean.
        """
        shift, scale = self._trait_units
        return np.asarray(np.nan_to_num((rows[:, self._trait_columns] - shift) / scale))

    def distances(self, a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return how far architectures are apart in parameters and in traits, (n, m) each.

        Without traits the second is the first.

        Args:
            a: Their :meth:`points` and :meth:`traits` side by side, (n, p + q).
            b: The same of the others, (m, p + q).
        """
        p = len(self.is_category)
        apart = distance(a[:, :p], b[:, :p], self.is_category)
        return apart, trait_distance(a[:, p:], b[:, p:]) if a.shape[1] > p else apart

    @property
    def _trait_columns(self) -> slice:
        n_counts = sum(len(choices) for choices, _ in self._groups)
        n_features = len(self._features)
        return slice(len(self.columns) - (n_features or n_counts), len(self.columns))

    @cached_property
    def _trait_units(self) -> tuple[FloatArray, FloatArray]:
        """Mean of each trait over the space, and the number that it is divided by, (q,) each."""
        choose = random_chooser(np.random.default_rng(0))
        params = []
        for _ in range(_TRAIT_DRAWS):
            # In the order of the columns: the same space may suggest them in another. Counts are
            # of these alone, as a file knows no conditions of a function's choices.
            wanted = {name: choose(name, one) for name, one in self.distributions.items()}
            if self._features:
                draw = Draw(replay_chooser(wanted, choose))
                self.space.suggest(draw)
                wanted = draw.params
            params.append(wanted)
        values = self.encode(params)[:, self._trait_columns]
        apart = np.abs(values[: _TRAIT_DRAWS // 2] - values[_TRAIT_DRAWS // 2 :]).mean(axis=0)
        constant = apart < _CONSTANT
        scale = np.where(constant, np.inf, apart) * max(int((~constant).sum()), 1)
        return values.mean(axis=0), scale

    def feature_rows(self, params: Sequence[Params], *, partly_known: bool = False) -> FloatArray:
        """Return the space's own features, (n, number of them).

        Args:
            params: The parameter sets.
            partly_known: Whether a past task may lack parameters that the space has gained since;
                the features of such an architecture are NaN.

        Raises:
            SpaceError: Parameters are no architecture of the space, and not `partly_known`.
        """
        rows = np.full((len(params), len(self._features)), np.nan)
        for row, one in zip(rows, params, strict=True):
            try:
                architecture = self.space.from_params(one)
            except SpaceError:
                if partly_known:
                    continue
                raise
            named = self.space.features(architecture)
            row[:] = [named[name] for name in self._features]
        return rows

    def decode(self, row: npt.ArrayLike) -> dict[str, Any]:
        """Return the parameters of a row, inactive ones left out: the inverse of encode."""
        values = np.asarray(row, dtype=float)
        params: dict[str, Any] = {}
        column = 0
        for name, distribution in self.distributions.items():
            width = _width(distribution)
            cell = values[column : column + width]
            column += width
            if np.isnan(cell).any():
                continue
            if isinstance(distribution, CategoricalDistribution):
                params[name] = distribution.choices[int(cell.argmax())]
            else:
                params[name] = from_unit(distribution, float(cell[0]))
        return params

    def _column_names(self) -> list[str]:
        names: list[str] = []
        for name, distribution in self.distributions.items():
            if isinstance(distribution, CategoricalDistribution):
                names.extend(f"{name}={choice}" for choice in distribution.choices)
            else:
                names.append(name)
        for choices, members in self._groups:
            names.extend(f"count({members[0]}..)={choice}" for choice in choices)
        return names + [f"feature:{name}" for name in self._features]


def distance(a: FloatArray, b: FloatArray, is_category: BoolArray) -> FloatArray:
    """Return the share of parameters in which two architectures differ, (n, m) in [0, 1].

    A category differs or does not (Hamming); a number differs by its distance along its range; a
    parameter that is active in one of the two only differs wholly.

    Args:
        a: Coordinates from :meth:`Encoding.points`, (n, p).
        b: The same, (m, p).
        is_category: Which parameters are categories, (p,).
    """
    total = np.zeros((len(a), len(b)))
    for slot, category in enumerate(is_category):
        left, right = a[:, slot, None], b[None, :, slot]
        apart = (left != right).astype(float) if category else np.abs(left - right)
        absent = np.isnan(left) | np.isnan(right)
        both = np.isnan(left) & np.isnan(right)
        total += np.where(absent, np.where(both, 0.0, 1.0), apart)
    return total / max(len(is_category), 1)


def trait_distance(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the sum of absolute differences of traits, (n, q), (m, q) -> (n, m)."""
    return np.asarray(cdist(a, b, "cityblock"))


def _place(distribution: BaseDistribution, value: Any) -> float:
    """The coordinate of a value; NaN for one that a past task had and this space has not."""
    try:
        place = to_unit(distribution, value)
    except (TypeError, ValueError):
        return math.nan
    if isinstance(distribution, CategoricalDistribution):
        return place
    # A sum of steps may end a rounding error beyond the range.
    return min(max(place, 0.0), 1.0) if -1e-9 <= place <= 1.0 + 1e-9 else math.nan


def _width(distribution: BaseDistribution) -> int:
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    return 1


def _alike(found: Distributions) -> list[tuple[tuple[Any, ...], list[str]]]:
    """Groups of at least two categorical parameters with the same choices: worth counting."""
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, distribution in found.items():
        if isinstance(distribution, CategoricalDistribution):
            groups.setdefault(tuple(distribution.choices), []).append(name)
    return [(choices, names) for choices, names in groups.items() if len(names) > 1]


def _feature_names(space: SearchSpace) -> tuple[str, ...]:
    draw = Draw(random_chooser(np.random.default_rng(0)))
    return tuple(space.features(space.suggest(draw)))
