"""The search space that recorded parameters come from, as far as they show it."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from surrogate_nas.errors import PastTaskError
from surrogate_nas.past.past_task import PastTask
from surrogate_nas.space import Distributions

_MOST_CHOICES = 200
"""Different texts of one parameter; an architecture's whole description has more."""
_LOG_RATIO = 100.0
"""Positive numbers that span such a factor are compared by their logarithms."""


def infer_space(past: Sequence[PastTask]) -> Distributions:
    """Return distributions that hold all recorded values, in the order of first occurrence.

    Texts, booleans and None make a categorical parameter, also where numbers are among them; whole
    numbers an integer one; other numbers a float one. Parameters of one value are left out.

    Raises:
        PastTaskError: Values are of another kind, a parameter has too many different texts, or
            nothing varies.
    """
    found: dict[str, list[Any]] = {}
    for task in past:
        for params in task.params:
            for name, value in params.items():
                found.setdefault(name, []).append(_plain(name, value, task))
    spread = {name: _distinct(values) for name, values in found.items()}
    space = {n: _distribution(n, values) for n, values in spread.items() if len(values) > 1}
    if not space:
        raise PastTaskError(
            expected="past tasks whose architectures differ in some parameter",
            got="the same values everywhere",
            fix="check that the parameters of the past tasks were read as they were trained",
        )
    return space


def _plain(name: str, value: Any, task: PastTask) -> Any:
    """A value as Python's own kind of it."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value)
    raise PastTaskError(
        expected="texts, finite numbers, booleans or None as parameters",
        got=f"{value!r:.60} as {name!r} in past task {task.name!r}",
        fix="split such a parameter into plain ones, or give the search space",
    )


def _distinct(values: Iterable[Any]) -> list[Any]:
    """Different values; 1 and True are, too."""
    return list({(isinstance(value, bool), value): value for value in values}.values())


def _distribution(name: str, values: Sequence[Any]) -> BaseDistribution:
    """The smallest distribution that holds some different values."""
    if any(value is None or isinstance(value, bool | str) for value in values):
        if len(values) > _MOST_CHOICES:
            raise PastTaskError(
                expected=f"at most {_MOST_CHOICES} different texts of a parameter",
                got=f"{len(values):,} of {name!r}",
                fix=f"leave {name!r} out if it only names the architecture, or give the space",
            )
        return CategoricalDistribution(sorted(values, key=lambda v: (type(v).__name__, v or 0)))
    low, high = min(values), max(values)
    log = low > 0 and high / low >= _LOG_RATIO
    if all(isinstance(value, int) for value in values):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def require_shared(past: Sequence[PastTask], space: Mapping[str, BaseDistribution]) -> None:
    """Refuse a past task that has no parameter of the space in common with any other.

    Raises:
        PastTaskError: There is one.
    """
    names = [{name for params in task.params for name in params} & space.keys() for task in past]
    for index, task in enumerate(past):
        others = set[str]().union(*(one for k, one in enumerate(names) if k != index))
        if not names[index] & others:
            have = sorted({name for params in task.params for name in params})[:5]
            raise PastTaskError(
                expected="past tasks that share parameters which vary",
                got=f"{have} in {task.name!r}, and {sorted(others)[:5]} in the others",
                fix=f"leave {task.name!r} out, or name its parameters as the others do",
            )
