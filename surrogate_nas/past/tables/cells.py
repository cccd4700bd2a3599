"""One cell of a table, or any value from elsewhere, <-> a parameter's own value."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from surrogate_nas.errors import PastTaskError
from surrogate_nas.space.draw import contains
from surrogate_nas.space.values import place_of

NO_VALUE: Final = object()
"""Stands for no value, because None may be a choice."""

_EMPTY_TYPES = ("NAType", "NaTType")  # pandas' own, which is not imported for them
_WHOLE = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_REAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_CODE = re.compile(r"[+-]?0[0-9]")  # 007 is a name
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+")


def own_value(distribution: BaseDistribution, cell: Any) -> Any:
    """Return a value as the distribution itself would give it, or NO_VALUE where it has none.

    Choices are recognized by their text, too ("True" is True, "3" is 3), and numbers in any type.

    Args:
        distribution: Distribution of the parameter.
        cell: A value from elsewhere.
    """
    plain = plain_number(cell)
    if type(plain).__name__ in _EMPTY_TYPES:
        plain = None  # NOTE: a comparison with pandas' missing value says neither yes nor no
    if isinstance(distribution, CategoricalDistribution):
        place = place_of(distribution, plain)
        if place is not None:
            return distribution.choices[place]
        return _choice(distribution.choices, plain) if isinstance(plain, Hashable) else NO_VALUE
    number = as_number(plain)
    if number is None or not contains(distribution, number):
        return NO_VALUE
    return int(number) if isinstance(distribution, IntDistribution) else float(number)


def cell_value(distribution: BaseDistribution, cell: Any) -> Any:
    """Return the value that a cell stands for. An empty one may be a choice that is empty."""
    value = own_value(distribution, cell)
    return _empty_choice(distribution) if value is NO_VALUE and is_empty(cell) else value


def checked_fill(found: Mapping[str, BaseDistribution], fill: Mapping[str, Any]) -> dict[str, Any]:
    """Return values to fill in, in the types of their parameters.

    Args:
        found: Distributions of the space's parameters.
        fill: Value to fill in for some of them.

    Raises:
        PastTaskError: The space does not have one of the parameters or values.
    """
    own: dict[str, Any] = {}
    for name, value in fill.items():
        own[name] = own_value(found[name], value) if name in found else NO_VALUE
        if own[name] is NO_VALUE:
            raise PastTaskError(
                expected=f"a value of {name!r} in {found[name]}"
                if name in found
                else f"parameters to fill in among {sorted(found)}",
                got=f"fill={{{name!r}: {value!r}}}",
                fix="fill in parameters and values that the search space has",
            )
    return own


def as_number(cell: Any) -> int | float | None:
    """Return a cell, or the number in its text, as a number; None where it is none.

    Infinity is a number here.

    Digits beyond the largest float, such as the text "1e999", are no number: they would become
    infinite without a word.
    """
    plain = plain_number(cell)
    if isinstance(plain, bool):
        return None
    if isinstance(plain, int) and abs(plain) > sys.float_info.max:
        return None
    if isinstance(plain, int | float):
        return plain
    if not isinstance(plain, str):
        return None
    text = plain.strip()
    # Longer texts of digits are names, such as hashes, and would not fit into 64 bits.
    if _WHOLE.fullmatch(text) and len(text) < 20:
        return int(text)
    if _REAL.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else None
    return float(text) if text.lower().lstrip("+-") in ("nan", "inf", "infinity") else None


def is_empty(cell: Any) -> bool:
    """Whether a cell holds nothing: no text, None, NaN or pandas' missing values."""
    if cell is None or type(cell).__name__ in _EMPTY_TYPES:
        return True
    if isinstance(cell, str):
        return not cell.strip()
    return isinstance(cell, float | np.floating) and bool(np.isnan(cell))


def _empty_choice(distribution: BaseDistribution) -> Any:
    """Return the one choice that an empty cell may stand for, or NO_VALUE without one."""
    if not isinstance(distribution, CategoricalDistribution):
        return NO_VALUE
    empty = [choice for choice in distribution.choices if is_empty(choice)]
    return empty[0] if len(empty) == 1 else NO_VALUE


def same_text(distribution: BaseDistribution) -> str | None:
    """Return a text that two choices share, so that no table of text can tell them apart."""
    if not isinstance(distribution, CategoricalDistribution):
        return None
    texts = ["" if is_empty(choice) else str(choice) for choice in distribution.choices]
    return next((text for text in texts if texts.count(text) > 1), None)


def inferred(cells: Sequence[Any]) -> list[Any]:
    """Return the cells of a column in the one type that all of them fit.

    The type is int, float, bool or text. Empty cells are NO_VALUE. In a column that is not all
    text, cells keep their value.

    Args:
        cells: The cells of the column.
    """
    filled = [cell for cell in cells if not is_empty(cell)]
    texts = [cell.strip() for cell in filled if isinstance(cell, str)]
    convert: Any = str
    if len(texts) < len(filled):
        convert = plain_number
    elif all(_WHOLE.fullmatch(text) and len(text) < 20 for text in texts):
        convert = int
    elif all(_is_real(text) and not _CODE.match(text) for text in texts):
        convert = float
    elif all(text.lower() in ("true", "false") for text in texts):
        convert = _is_true
    return [NO_VALUE if is_empty(cell) else convert(cell) for cell in cells]


def _is_real(text: str) -> bool:
    """Whether a text is a number that a float can hold."""
    return _REAL.fullmatch(text) is not None and math.isfinite(float(text))


def plain_number(cell: Any) -> Any:
    """Return a cell of NumPy's types as Python has it.

    A number of 16 or 32 bits becomes the number of fewest digits that it is the nearest to.
    """
    if isinstance(cell, np.float16 | np.float32):
        # The shortest text of a narrow number is what somebody once wrote.
        return float(str(cell))
    return cell.item() if isinstance(cell, np.generic) else cell


def has_decimal_comma(cell: Any) -> bool:
    """Whether a cell is a number as it is written in German or French: 0,91."""
    return isinstance(cell, str) and _DECIMAL_COMMA.fullmatch(cell.strip()) is not None


def _choice(choices: Sequence[Any], value: Any) -> Any:
    """Return the one choice with the same text as a value.

    NO_VALUE where there is none, or where several choices have that text.
    """
    text = str(value).strip()
    number = as_number(text)
    for alike in (
        [c for c in choices if str(c) == text],
        [c for c in choices if isinstance(c, bool) and str(c).lower() == text.lower()],
        [c for c in choices if number is not None and as_number(c) == number],
    ):
        if alike:
            return alike[0] if len(alike) == 1 else NO_VALUE
    return NO_VALUE


def _is_true(text: str) -> bool:
    """Whether a text says true; used for columns of true and false alone."""
    return text.strip().lower() == "true"
