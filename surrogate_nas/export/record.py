"""The file ``architecture.json``: which network lies in a folder, checked when read."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from surrogate_nas.domains.space_record import (
    read_shape,
    read_space,
    with_shape,
    write_shape,
    write_space,
)
from surrogate_nas.files.checked_json import (
    damaged,
    parse,
    read_object,
    read_text,
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
DIGEST = "weights_sha256"
"""Field with the SHA-256 of the weights' file. Folders of earlier versions have none."""
_MOST_PARAMS = 10_000


@final
@dataclass(frozen=True)
class NetworkRecord:
    """What is needed to build the network again.

    Args:
        space: The search space if it is a ready one; None if it is a user's own class.
        space_class: Class name of the search space.
        params: Parameters of the trial.
        shape: Input shape and number of outputs of the task.
        digest: SHA-256 of the weights' file; None in a folder of an earlier version.
    """

    space: SearchSpace | None
    space_class: str
    params: dict[str, Any]
    shape: ReferenceShape
    digest: str | None = None


def write_network(
    space: SearchSpace, params: Mapping[str, Any], architecture: Architecture, task: Task
) -> dict[str, Any]:
    """Return the record of an architecture, as plain JSON values.

    Args:
        space: The search space, bound to the task's shape.
        params: Parameters of the trial.
        architecture: Architecture that the parameters stand for.
        task: The task that the network is for.
    """
    described = space.describe(architecture)
    return {
        "format": FORMAT,
        "schema": SCHEMA,
        "space": write_space(space),
        "space_class": type(space).__name__,
        "params": {name: json_value(value) for name, value in params.items()},
        "summary": space.summary(architecture),
        "description": {name: json_value(value) for name, value in described.items()},
        **write_shape(task),
        "classes": list(task.classes),
    }


def read_network(data: bytes) -> NetworkRecord:
    """Read a record. No other class is constructed than the ready spaces.

    Raises:
        RecordError: The data are not a record that :func:`write_network` returns.
    """
    try:
        document = parse(data.decode())
    except ValueError as error:
        raise damaged("JSON", f"{error}") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise damaged(f"the format {FORMAT!r}", "another document")
    if document.get("schema") != SCHEMA:
        raise damaged(f"schema {SCHEMA}", document.get("schema"))
    given = document.pop(DIGEST, None)
    digest = None if given is None else _digest(given)
    record = read_object(document, "the file", with_shape(document, _FIELDS))
    return NetworkRecord(
        read_space(record["space"]),
        read_text(record["space_class"], "space_class", 1000),
        _params(record["params"]),
        read_shape(record),
        digest,
    )


def _digest(value: Any) -> str:
    """Return a SHA-256 in hexadecimal digits."""
    text = read_text(value, DIGEST, 64)
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise damaged(f"64 hexadecimal digits as {DIGEST}", text)
    return text


def json_value(value: Any) -> Any:
    """Return a value that JSON can hold: itself, or its text if JSON has no form for it."""
    # NOTE: JSON has no NaN and no infinity, which Python would write all the same.
    is_finite = not isinstance(value, float) or math.isfinite(value)
    return value if isinstance(value, str | int | float | None) and is_finite else str(value)


def _params(value: Any) -> dict[str, Any]:
    """Return parameters whose values are checked to be plain."""
    if not isinstance(value, dict) or len(value) > _MOST_PARAMS:
        raise damaged(f"an object of at most {_MOST_PARAMS} parameters as params", value)
    for name, setting in value.items():
        if isinstance(setting, dict | list):
            raise damaged(f"text, a number, a boolean or null as {name!r}", setting)
    return value
