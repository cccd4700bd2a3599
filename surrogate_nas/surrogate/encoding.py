"""Architectures <-> rows of named numbers, and the coordinates that the residual's kernel uses.

Notation: n and m architectures, p parameters, q traits, d columns. NaN stands for a choice that is
inactive in an architecture, such as one of a stage that does not exist. LightGBM takes it so.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeAlias, final

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution
from scipy.spatial.distance import cdist

from surrogate_nas.arrays import BoolArray, FloatArray
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import Distributions, SearchSpace, distributions, fingerprint
from surrogate_nas.space.draw import (
    accepted,
    attempt,
    from_unit,
    random_chooser,
    replay_chooser,
    to_unit,
)
from surrogate_nas.space.values import value_key

Params = Mapping[str, Any]
FeatureSets: TypeAlias = Sequence[Mapping[str, float]]

_ABSENT = object()
_TRAIT_DRAWS = 400
"""Number of random architectures that give the units of the traits."""
_CONSTANT = 1e-9


@final
class Encoding:
    """The fixed numbering of a search space's parameters and features.

    Args:
        space: The search space. Its parameters are found by seeded random draws.
        known: Its parameters in order, where they are known already, for example from a file.

    Raises:
        SpaceError: The space has no parameters.
    """

    def __init__(self, space: SearchSpace, *, known: Distributions | None = None) -> None:
        self.space = space
        self.distributions: Distributions = distributions(space) if known is None else dict(known)
        self.fitted: Distributions = {
            name: one
            for name, one in self.distributions.items()
            if name not in space.described_params
        }
        """Parameters with columns. The others are described by features, whatever they may be."""
        self.fingerprint = fingerprint(self.fitted)
        self._groups = _alike(self.fitted)
        self._features = _feature_names(space)
        self._slots = {name: index for index, name in enumerate(self.distributions)}
        self.is_category = np.array(
            [isinstance(d, CategoricalDistribution) for d in self.distributions.values()]
        )
        self.columns: tuple[str, ...] = tuple(self._column_names())

    def points(self, params: Sequence[Params]) -> FloatArray:
        """Return kernel coordinates, (n, p).

        A number has its place in its range, 0 to 1, and a category has its index. Inactive
        parameters are NaN.

        Args:
            params: Parameters of n architectures.
        """
        points = np.full((len(params), len(self._slots)), np.nan)
        for slot, (name, distribution) in enumerate(self.distributions.items()):
            # NOTE: architectures of a space share few values, so most places are looked up.
            places: dict[Hashable, float] = {}
            for row, one in zip(points, params, strict=True):
                value = one.get(name, _ABSENT)
                if value is _ABSENT:
                    continue
                at = value_key(value)
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
        features: FeatureSets | None = None,
    ) -> FloatArray:
        """Return one row an architecture, (n, d), in the order of :attr:`columns`.

        Args:
            params: Parameters of n architectures.
            points: Their kernel coordinates from :meth:`points`, if they are known already.
            partly_known: See :meth:`feature_rows`.
            features: See :meth:`feature_rows`.

        Raises:
            SpaceError: See :meth:`feature_rows`.
        """
        points = self.points(params) if points is None else points
        blocks: list[FloatArray] = []
        for name, distribution in self.fitted.items():
            column = points[:, self._slots[name], None]
            if isinstance(distribution, CategoricalDistribution):
                hot = (column == np.arange(len(distribution.choices))).astype(float)
                blocks.append(np.where(np.isnan(column), np.nan, hot))
            else:
                blocks.append(column)
        # NOTE: a tree needs many splits to count how often an operation was chosen. Counts say it
        # in one column.
        for choices, members in self._groups:
            chosen = points[:, [self._slots[name] for name in members]]
            counts = [(chosen == k).sum(axis=1, keepdims=True) for k in range(len(choices))]
            blocks.extend(c.astype(float) for c in counts)
        if self._features:
            blocks.append(self.feature_rows(params, partly_known=partly_known, features=features))
        return np.hstack(blocks)

    def traits(self, rows: FloatArray) -> FloatArray:
        """Return the traits of encoded architectures, which describe each as a whole, (n, q).

        Traits are the space's own features or, where it has none, the counts of equal choices.
        Two architectures may differ in all parameters and still be much alike in their traits. The
        sum of absolute differences of two random architectures is 1 on average. Missing traits
        are set to 0, the mean.

        Args:
            rows: Encoded architectures, (n, d).
        """
        shift, scale = self._trait_units
        return np.asarray(np.nan_to_num((rows[:, self._trait_columns] - shift) / scale))

    def distances(self, a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the distances of architectures in parameters and in traits, (n, m) each.

        Without traits the second is the first.

        Args:
            a: Coordinates of n architectures: :meth:`points` and :meth:`traits` side by side,
                (n, p + q).
            b: Coordinates of m architectures, (m, p + q).
        """
        p = len(self.is_category)
        apart = distance(a[:, :p], b[:, :p], self.is_category)
        return apart, trait_distance(a[:, p:], b[:, p:]) if a.shape[1] > p else apart

    @property
    def _trait_columns(self) -> slice:
        """The last columns: the features, or the counts where there are none."""
        n_counts = sum(len(choices) for choices, _ in self._groups)
        n_features = len(self._features)
        return slice(len(self.columns) - (n_features or n_counts), len(self.columns))

    @cached_property
    def _trait_units(self) -> tuple[FloatArray, FloatArray]:
        """Mean of each trait over the space, and the number to divide it by, (q,) each."""
        choose = random_chooser(np.random.default_rng(0))
        params = []
        for _ in range(_TRAIT_DRAWS):
            # NOTE: drawn in the order of the columns, because the same space may suggest its
            # parameters in another order. Counts are taken of these alone: a file does not know
            # under which conditions a function suggests a parameter.
            wanted = {name: choose(name, one) for name, one in self.distributions.items()}
            if self._features:
                # NOTE: of a combination that the space refuses, others are drawn.
                replay = replay_chooser(wanted, choose)
                draw, architecture = attempt(self.space.suggest, replay)
                if architecture is None:
                    draw, _ = accepted(self.space.suggest, choose)
                wanted = draw.params
            params.append(wanted)
        values = self.encode(params)[:, self._trait_columns]
        apart = np.abs(values[: _TRAIT_DRAWS // 2] - values[_TRAIT_DRAWS // 2 :]).mean(axis=0)
        # Constant traits are divided by infinity, and so become 0.
        constant = apart < _CONSTANT
        scale = np.where(constant, np.inf, apart) * max(int((~constant).sum()), 1)
        return values.mean(axis=0), scale

    def feature_rows(
        self,
        params: Sequence[Params],
        *,
        partly_known: bool = False,
        features: FeatureSets | None = None,
    ) -> FloatArray:
        """Return the space's own features, (n, number of them).

        Args:
            params: Parameters of n architectures.
            partly_known: Whether architectures may lack parameters that the space has gained
                since they were trained. Their features are NaN.
            features: Features of each architecture, where they were recorded: n dicts, with NaN
                in the place of a missing name. The space is not asked then.

        Raises:
            SpaceError: Parameters are no architecture of the space, and not `partly_known`.
        """
        if features is not None:
            listed = [[one.get(name, np.nan) for name in self._features] for one in features]
            return np.array(listed, dtype=float).reshape(len(params), len(self._features))
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
        """Return the parameters of a row (d,) without inactive ones: the inverse of encode."""
        values = np.asarray(row, dtype=float)
        params: dict[str, Any] = {}
        column = 0
        for name, distribution in self.fitted.items():
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
        """Return the name of each column, d of them, as files keep them."""
        names: list[str] = []
        for name, distribution in self.fitted.items():
            if isinstance(distribution, CategoricalDistribution):
                names.extend(f"{name}={choice}" for choice in distribution.choices)
            else:
                names.append(name)
        for choices, members in self._groups:
            names.extend(f"count({members[0]}..)={choice}" for choice in choices)
        return names + [f"feature:{name}" for name in self._features]


def distance(a: FloatArray, b: FloatArray, is_category: BoolArray) -> FloatArray:
    """Return the share of parameters in which architectures differ, (n, m) in [0, 1].

    A category differs or does not (Hamming). A number differs by its distance along its range. A
    parameter that is active in only one of the two differs wholly.

    Args:
        a: Coordinates of n architectures from :meth:`Encoding.points`, (n, p).
        b: Coordinates of m architectures, (m, p).
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
    """Return the sum of absolute differences of traits (n, q) and (m, q), (n, m)."""
    return np.asarray(cdist(a, b, "cityblock"))


def _place(distribution: BaseDistribution, value: Any) -> float:
    """Return the coordinate of a value, or NaN for a value that the space does not have.

    Past tasks may have such values, where the space has changed since.
    """
    try:
        place = to_unit(distribution, value)
    except (TypeError, ValueError):
        return math.nan
    if isinstance(distribution, CategoricalDistribution):
        return place
    # NOTE: a sum of steps may end a rounding error beyond the range.
    return min(max(place, 0.0), 1.0) if -1e-9 <= place <= 1.0 + 1e-9 else math.nan


def _width(distribution: BaseDistribution) -> int:
    """Return the number of columns of a parameter: one a choice, or one for a number."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    return 1


def _alike(found: Distributions) -> list[tuple[tuple[Any, ...], list[str]]]:
    """Return groups of categorical parameters with the same choices, which are worth counting.

    Each is a pair: the choices, and the names of two parameters or more.
    """
    groups: dict[Hashable, tuple[tuple[Any, ...], list[str]]] = {}
    for name, distribution in found.items():
        if isinstance(distribution, CategoricalDistribution):
            choices = tuple(distribution.choices)
            groups.setdefault(value_key(choices), (choices, []))[1].append(name)
    return [(choices, names) for choices, names in groups.values() if len(names) > 1]


def _feature_names(space: SearchSpace) -> tuple[str, ...]:
    """Return the names of a space's features, from one random architecture."""
    _, architecture = accepted(space.suggest, random_chooser(np.random.default_rng(0)))
    return tuple(space.features(architecture))
