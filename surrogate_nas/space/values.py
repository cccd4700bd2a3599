"""Values of parameters: told apart by keys, and found again after a storage has kept them.

A storage keeps choices as JSON. A tuple comes back as a list, and a member of an enumeration that
is a text comes back as that text.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

PLAIN = frozenset({str, int, float, bool, type(None)})
"""Types whose values are equal only if they are the same choice, and can be keys."""
_EXACT = 2**53
"""Whole numbers up to this one are exact as the real numbers that Optuna's storages keep."""


def value_key(value: Any) -> Hashable:
    """Return a key that is equal for equal values of the same type, whatever can be a choice."""
    kind = type(value)
    if isinstance(value, float) and value != value:
        return (float, "nan")
    if kind in PLAIN:
        return (kind, value)
    if kind in (list, tuple):
        return (kind, tuple(map(value_key, value)))
    if isinstance(value, Mapping):
        return (kind, frozenset((value_key(k), value_key(v)) for k, v in value.items()))
    if isinstance(value, Hashable):
        return _hashed(value)
    return (kind, repr(value))


def _hashed(value: Any) -> Hashable:
    """Return a key of an object that says it can be one."""
    try:
        hash(value)
    except TypeError:  # a hashable container of something that is not
        return (type(value), repr(value))
    return (type(value), value)


def params_key(params: Mapping[str, Any]) -> Hashable:
    """Return a key that is equal for equal parameters of the same types."""
    return tuple((name, value_key(params[name])) for name in sorted(params))


def place_of(distribution: CategoricalDistribution, value: Any) -> int | None:
    """Return the index of a choice, which a storage may have kept; None if it is none.

    Of several choices that Python calls equal, as True and 1, the one of the value's type counts.
    """
    choices = distribution.choices
    try:
        first = choices.index(value)
    except (ValueError, TypeError):  # none is equal, or an array cannot say so in one word
        first = None
    if first is not None and type(choices[first]) is type(value):
        return first
    key = value_key(value)
    for index, choice in enumerate(choices):
        if value_key(choice) == key:
            return index
    return _stored_place(choices, value) if first is None else first


def _stored_place(choices: tuple[Any, ...], value: Any) -> int | None:
    """Return the index of the choice that a storage keeps as it keeps a value."""
    if all(type(choice) in PLAIN for choice in choices):
        return None
    text = _stored(value)
    for index, choice in enumerate(choices):
        if text is not None and _stored(choice) == text:
            return index
    return None


def _stored(value: Any) -> str | None:
    """Return a value as a storage keeps it; None for a value that it cannot keep."""
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):
        return None


def as_asked(distribution: BaseDistribution, value: Any) -> Any:
    """Return an allowed value as the space asked for it: a choice is the space's own object."""
    if isinstance(distribution, CategoricalDistribution):
        place = place_of(distribution, value)
        return value if place is None else distribution.choices[place]
    if isinstance(distribution, IntDistribution) and type(value) is int:
        return storable(distribution, value)
    return value


def storable(numbers: IntDistribution, value: int) -> int:
    """Return an allowed whole number close to a value, one that a storage keeps exactly."""
    low, high = numbers.low, numbers.high
    value = min(max(value, low), high)
    if abs(value) <= _EXACT:
        return value
    kept = int(float(value))
    if not low <= kept <= high:
        # NOTE: between the next real numbers on both sides, one may lie within the range.
        gap = 2 ** max(value.bit_length() - 53, 0)
        kept = next((k for k in (kept - gap, kept + gap) if low <= k <= high), value)
    return kept
