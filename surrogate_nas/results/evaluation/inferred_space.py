"""A search space inferred from recorded parameters."""

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
"""Most different texts of one parameter. The whole description of an architecture has more."""
_LOG_RATIO = 100.0
"""Ratio of the largest to the smallest positive number from which a range is logarithmic."""


def infer_space(past: Sequence[PastTask]) -> Distributions:
    """Return distributions that hold all recorded values, in the order of first occurrence.

    A parameter with texts, booleans or None is categorical, also if it has numbers. A parameter of
    whole numbers is an integer, and one of other numbers a float. Parameters with a single value
    are left out.

    Raises:
        PastTaskError: A value has another type, a parameter has too many different texts, or
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
    """Return a value as one of Python's own types, or refuse it."""
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
    """Return the different values, in order."""
    # NOTE: 1 and True are equal for Python, but different values of a parameter.
    return list({(isinstance(value, bool), value): value for value in values}.values())


def _distribution(name: str, values: Sequence[Any]) -> BaseDistribution:
    """Return the smallest distribution that contains the different values."""
    if any(value is None or isinstance(value, bool | str) for value in values):
        if len(values) > _MOST_CHOICES:
            raise PastTaskError(
                expected=f"at most {_MOST_CHOICES} different texts of a parameter",
                got=f"{len(values):,} of {name!r}",
                fix=f"leave {name!r} out if it only names the architecture, or give the space",
            )
        # By type first, since texts and numbers cannot be compared.
        return CategoricalDistribution(sorted(values, key=lambda v: (type(v).__name__, v or 0)))
    low, high = min(values), max(values)
    log = low > 0 and high / low >= _LOG_RATIO
    if all(isinstance(value, int) for value in values):
        return IntDistribution(low, high, log=log)
    return FloatDistribution(float(low), float(high), log=log)


def require_shared(past: Sequence[PastTask], space: Mapping[str, BaseDistribution]) -> None:
    """Refuse a past task that shares no parameter of the space with any other past task.

    Raises:
        PastTaskError: A past task shares none.
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
