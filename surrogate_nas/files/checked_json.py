"""JSON that others wrote: parsed strictly, and each value read by a function that checks it.

Each ``read_`` function returns the value that it was given, or raises a RecordError. Its argument
`where` names the value in that error. :func:`read_as` turns that error into the caller's own.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from surrogate_nas.errors import RecordError, SurrogateNasError

MOST_TEXT = 2**26
_MOST_SAID = 200
"""Characters of a file's own names and values in an error's text."""


def parse(text: str) -> Any:
    """Parse standard JSON, without NaN or infinity, and with each name once in an object.

    Raises:
        ValueError: The text is no standard JSON, or it is nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def canonical(value: Any) -> str:
    """Return a value as JSON in a form that is the same each time, for checksums.

    Raises:
        ValueError: A number is not finite.
        TypeError: A value has no form in JSON.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def read_object(value: Any, where: str, fields: Collection[str]) -> dict[str, Any]:
    """Return an object that has the given fields and no others."""
    if not isinstance(value, dict):
        raise damaged(f"an object as {where}", value)
    missing, unknown = sorted(fields - value.keys()), sorted(value.keys() - set(fields))
    if missing:
        raise damaged(f"the field {missing[0]!r} in {where}", "no such field")
    if unknown:
        raise damaged(f"only known fields in {where}", unknown[0])
    return value


def read_list(value: Any, where: str, most: int, least: int = 0) -> list[Any]:
    """Return a list of `least` to `most` items."""
    if not isinstance(value, list):
        raise damaged(f"a list as {where}", value)
    if not least <= len(value) <= most:
        raise damaged(f"{least} to {most} items as {where}", f"{len(value)} items")
    return value


def read_whole(value: Any, where: str, low: int, high: int) -> int:
    """Return a whole number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise damaged(f"a whole number from {low} to {high} as {where}", value)
    return value


def read_number(value: Any, where: str, low: float, high: float) -> float:
    """Return a finite number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise damaged(f"a number from {low:g} to {high:g} as {where}", value)
    try:
        # A whole number in JSON may have any number of digits, and a float cannot hold them all.
        return float(value)
    except OverflowError as error:
        raise damaged(f"a number from {low:g} to {high:g} as {where}", value) from error


def read_bool(value: Any, where: str) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise damaged(f"true or false as {where}", value)
    return value


def read_text(value: Any, where: str, most: int = MOST_TEXT) -> str:
    """Return a string of at most `most` characters."""
    if not isinstance(value, str) or len(value) > most:
        raise damaged(f"a text of at most {most} characters as {where}", value)
    return value


def finite(value: object) -> float | None:
    """Return a finite number as a float, and anything else as None; a boolean is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON may hold whole numbers of any length
        return None
    return number if math.isfinite(number) else None


@contextmanager
def read_as(kind: type[SurrogateNasError], what: str, fix: str) -> Iterator[None]:
    """Raise an error of the caller's kind in place of a RecordError.

    Args:
        kind: Class of the error.
        what: What is read, such as "a surrogate file".
        fix: What the reader of the error can do, as an imperative.
    """
    try:
        yield
    except RecordError as error:
        raise kind(expected=f"{error.expected} in {what}", got=error.got, fix=fix) from error


def damaged(expected: str, got: object) -> RecordError:
    """Return the error for a value other than the expected one."""
    # A damaged value may be huge, so it is cut before it enters a message.
    said = got if isinstance(got, str) and got.strip() else reprlib.repr(got)
    return RecordError(
        expected=expected[:_MOST_SAID],
        got=said[:_MOST_SAID],
        fix="write the record again, or get it again",
    )


def _no_constant(name: str) -> Any:
    """Refuse NaN and the infinities, which Python's parser accepts."""
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, or refuse one in which a name occurs twice."""
    # Readers differ in which of two they keep, so a checksum would not settle what was meant.
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise ValueError("a name occurs twice in an object")
    return unique
