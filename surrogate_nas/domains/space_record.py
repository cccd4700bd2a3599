"""A search space as JSON: its parameters' ranges, and the arguments of a ready space."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from surrogate_nas.domains.registry import offered, ready_space
from surrogate_nas.errors import RecordError
from surrogate_nas.files.checked_json import (
    damaged,
    read_bool,
    read_list,
    read_number,
    read_object,
    read_text,
    read_whole,
)
from surrogate_nas.space import Distributions, ReferenceShape, SearchSpace, TaskShape
from surrogate_nas.tensors import Shape

MOST_COLUMNS = 100_000
_MOST_PARAMETERS = 10_000
_MOST_COUNT = 64
"""Largest count in a space's configuration. A forged count would let `suggest` run for hours."""
_WHOLE = 2**53
_MOST_SIZES = 64
"""Largest number of names in a task's shape."""
_FIELDS = ("name", "config", "input_shape", "n_outputs")


def write_distributions(distributions: Distributions) -> list[dict[str, Any]]:
    """Return a space's parameters and their ranges as JSON values, in order."""
    return [
        {"name": name, "distribution": json.loads(distribution_to_json(distribution))}
        for name, distribution in distributions.items()
    ]


def read_distributions(value: Any) -> Distributions:
    """Return the parameters that :func:`write_distributions` wrote.

    Raises:
        RecordError: The value is not what that returns.
    """
    found: Distributions = {}
    n_choices = 0
    for item in read_list(value, "parameters", _MOST_PARAMETERS, least=1):
        record = read_object(item, "a parameter", ("name", "distribution"))
        name = read_text(record["name"], "a parameter's name")
        if name in found:
            raise damaged("each parameter once", f"{name!r} twice")
        found[name] = distribution = _distribution(record["distribution"], f"range of {name!r}")
        if isinstance(distribution, CategoricalDistribution):
            # Each choice becomes a column of the encoding, so all ranges together have one bound.
            n_choices += len(distribution.choices)
    if n_choices > MOST_COLUMNS:
        raise damaged(f"at most {MOST_COLUMNS} choices", f"{n_choices}")
    return found


def write_space(space: SearchSpace) -> dict[str, Any] | None:
    """Return a ready space's class, arguments and shape; None for a space of another class."""
    name, config = type(space).__name__, space.config()
    # NOTE: a user's class may have a ready space's name. Its arguments would make another space.
    if config is None or ready_space(name) is not type(space):
        return None
    return {"name": name, "config": config, **write_shape(space.reference)}


def read_space(value: Any) -> SearchSpace | None:
    """Return the space that :func:`write_space` wrote.

    Raises:
        RecordError: The value is not what that returns.
    """
    if value is None:
        return None
    record = read_object(value, "space", with_shape(value, _FIELDS))
    # NOTE: a file may only name a space that a domain offers. No other class is ever made.
    kind = ready_space(read_text(record["name"], "the space's name", 100))
    if kind is None:
        raise damaged(f"one of the spaces {', '.join(offered('spaces'))}", record["name"])
    config = record["config"]
    if not isinstance(config, dict):
        raise damaged("an object as the space's configuration", config)
    for name, setting in config.items():
        _check_setting(setting, name)
    shape = read_shape(record)
    try:
        made: SearchSpace = kind(**{**kind.earlier, **config}).for_task(shape)
    except (TypeError, ValueError) as error:
        raise damaged(f"a configuration of {record['name']}", f"{error}") from error
    return made


def write_shape(task: TaskShape) -> dict[str, Any]:
    """Return a task's shape as JSON values, with names if they say more than the sizes."""
    plain = ReferenceShape(tuple(task.input_shape), task.n_outputs)
    named = {} if task.shape == plain.shape else {"shape": task.shape.to_json()}
    return {"input_shape": list(plain.input_shape), "n_outputs": plain.n_outputs, **named}


def with_shape(record: Any, fields: Sequence[str]) -> tuple[str, ...]:
    """Return the fields of a record: those given, and ``shape`` where the record has it."""
    named = isinstance(record, dict) and "shape" in record
    return (*fields, "shape") if named else tuple(fields)


def read_shape(record: Mapping[str, Any]) -> ReferenceShape:
    """Return the shape that :func:`write_shape` wrote.

    Raises:
        SurrogateFileError: The record has other sizes than that returns.
    """
    named = _named_sizes(record["shape"]) if "shape" in record else {}
    # NOTE: a task whose sizes have names need not have a single input or output.
    least = 0 if named else 1
    sizes = read_list(record["input_shape"], "input_shape", 8, least)
    return ReferenceShape(
        tuple(read_whole(size, "input_shape", 1, 2**24) for size in sizes),
        read_whole(record["n_outputs"], "n_outputs", least, 2**24),
        Shape(named),
    )


def _named_sizes(value: Any) -> dict[str, int | tuple[int, ...]]:
    """Return checked sizes by name."""
    if not isinstance(value, dict) or not 1 <= len(value) <= _MOST_SIZES:
        raise damaged(f"an object of 1 to {_MOST_SIZES} sizes as shape", value)
    found: dict[str, int | tuple[int, ...]] = {}
    for name, size in value.items():
        read_text(name, "a name in shape", 100)
        if isinstance(size, list):
            sides = read_list(size, f"{name} in shape", 8)
            found[name] = tuple(read_whole(side, f"{name} in shape", 0, _WHOLE) for side in sides)
        else:
            found[name] = read_whole(size, f"{name} in shape", 0, _WHOLE)
    return found


def _distribution(value: Any, where: str) -> BaseDistribution:
    """Return a checked distribution; `where` names it in errors."""
    record = read_object(value, where, ("name", "attributes"))
    read = _RANGES.get(read_text(record["name"], where, 100))
    if read is None:
        raise damaged(f"a distribution of Optuna as {where}", record["name"])
    try:
        with warnings.catch_warnings():
            # NOTE: Optuna warns if it changes a range, and a range that we saved needs no change.
            warnings.simplefilter("error")
            return read(record["attributes"], where)
    except RecordError:
        raise  # NOTE: it is a ValueError, too, and would be caught below
    except (ValueError, ArithmeticError, Warning) as error:
        raise damaged(f"a range as {where}", f"{error}") from error


def _choices(value: Any, where: str) -> CategoricalDistribution:
    """Return a checked categorical distribution."""
    attributes = read_object(value, where, ("choices",))
    choices = read_list(attributes["choices"], where, MOST_COLUMNS, least=1)
    for choice in choices:
        if isinstance(choice, list | dict):
            raise damaged(f"choices of text, numbers, booleans or null as {where}", choice)
    return CategoricalDistribution(choices)


def _whole_range(value: Any, where: str) -> IntDistribution:
    """Return a checked range of whole numbers."""
    read = read_object(value, where, ("low", "high", "step", "log"))
    low, high = (read_whole(read[end], where, -_WHOLE, _WHOLE) for end in ("low", "high"))
    step = read_whole(read["step"], where, 1, _WHOLE)
    return IntDistribution(low, high, log=read_bool(read["log"], where), step=step)


def _real_range(value: Any, where: str) -> FloatDistribution:
    """Return a checked range of real numbers."""
    read = read_object(value, where, ("low", "high", "step", "log"))
    low, high = (read_number(read[end], where, -1e300, 1e300) for end in ("low", "high"))
    step = None if read["step"] is None else read_number(read["step"], where, 1e-300, 1e300)
    return FloatDistribution(low, high, log=read_bool(read["log"], where), step=step)


_RANGES: dict[str, Callable[[Any, str], BaseDistribution]] = {
    "CategoricalDistribution": _choices,
    "IntDistribution": _whole_range,
    "FloatDistribution": _real_range,
}


def _check_setting(value: Any, name: str) -> None:
    """Refuse an argument of a space that is neither a small number, a text nor a list of these."""
    if isinstance(value, list):
        for item in read_list(value, name, 256):
            read_whole(item, name, 1, 2**16)
    elif isinstance(value, str):
        read_text(value, name, 100)
    elif not isinstance(value, bool):
        read_whole(value, name, 0, _MOST_COUNT)
