"""``architecture.json``: which network lies in a folder, readable and checked when read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from surrogate_nas.domains.space_record import read_space, write_space
from surrogate_nas.files.checked_json import (
    damaged,
    parse,
    read_list,
    read_object,
    read_text,
    read_whole,
)
from surrogate_nas.space import Architecture, ReferenceShape, SearchSpace
from surrogate_nas.task import Task

ARCHITECTURE_FILE = "architecture.json"
WEIGHTS_FILE = "weights.safetensors"
FORMAT = "surrogate_nas.network"
SCHEMA = 1
MAX_BYTES = 16 * 2**20

_FIELDS = (
    *("format", "schema", "space", "space_class", "params", "summary", "description"),
    *("input_shape", "n_outputs", "classes"),
)
_MOST_PARAMS = 10_000


@final
@dataclass(frozen=True)
class NetworkRecord:
    """What it takes to build the network anew.

    Args:
        space: A ready space, made anew; None if it is one of the user's own.
        space_class: The name of its class.
        params: The trial's parameters.
        shape: Of the task.
    """

    space: SearchSpace | None
    space_class: str
    params: dict[str, Any]
    shape: ReferenceShape


def write_network(
    space: SearchSpace, params: Mapping[str, Any], architecture: Architecture, task: Task
) -> dict[str, Any]:
    """Return a record of an architecture of a space that is bound to the task's shape."""
    described = space.describe(architecture)
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "space": write_space(space),
        "space_class": type(space).__name__,
        "params": {name: json_value(value) for name, value in params.items()},
        "summary": space.summary(architecture),
        "description": {name: json_value(value) for name, value in described.items()},
        "input_shape": list(task.input_shape),
        "n_outputs": task.n_outputs,
        "classes": list(task.classes),
    }


def read_network(data: bytes) -> NetworkRecord:
    """Read a record; of a class only :mod:`~surrogate_nas.domains.space_record`'s are ever made.

    Raises:
        SurrogateFileError: It is not what :func:`write_network` returns.
    """
    try:
        document = parse(data.decode())
    except ValueError as error:
        raise damaged("JSON", f"{error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise damaged(f"the format {FORMAT!r}", "another document")
    if document.get("schema") != SCHEMA:
        raise damaged(f"schema {SCHEMA}", document.get("schema"))
    record = read_object(document, "the file", _FIELDS)
    sizes = read_list(record["input_shape"], "input_shape", 8, least=1)
    return NetworkRecord(
        read_space(record["space"]),
        read_text(record["space_class"], "space_class", 1000),
        _params(record["params"]),
        ReferenceShape(
            tuple(read_whole(size, "input_shape", 1, 2**24) for size in sizes),
            read_whole(record["n_outputs"], "n_outputs", 1, 2**24),
        ),
    )


def json_value(value: Any) -> Any:
    """Return text, whole numbers, booleans, None and finite numbers as they are, else a text."""
    is_finite = not isinstance(value, float) or math.isfinite(value)
    return value if isinstance(value, str | int | float | None) and is_finite else str(value)


def _params(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or len(value) > _MOST_PARAMS:
        raise damaged(f"an object of at most {_MOST_PARAMS} parameters as params", value)
    for name, setting in value.items():
        if isinstance(setting, dict | list):
            raise damaged(f"text, a number, a boolean or null as {name!r}", setting)
    return value
