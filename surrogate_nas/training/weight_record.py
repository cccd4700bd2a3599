"""The record of a network's weights, and the two files that it stands for.

A record is a JSON file that says what the weights beside it are: a safetensors file. Both are
checked when read, and nothing in them is ever run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import safetensors.torch
import torch

from surrogate_nas.files.atomic import write_whole
from surrogate_nas.files.bounded import read_bounded
from surrogate_nas.files.checked_json import (
    parse,
    read_list,
    read_number,
    read_object,
    read_text,
    read_whole,
)

Shape = tuple[int, ...]

UNREADABLE = (OSError, ValueError, KeyError, safetensors.SafetensorError)
"""Exceptions raised for damaged or missing files."""

_FORMAT, _SCHEMA = "surrogate_nas.weights", 1
_FIELDS = (
    *("format", "schema", "sha256", "n_bytes", "space", "architecture", "task", "gain", "shapes"),
)
_MOST_RECORD_BYTES = 2**20
_MOST_TENSORS = 10_000


@final
@dataclass(frozen=True)
class WeightRecord:
    """The file beside a network's weights, which describes them.

    Args:
        path: The file.
        sha256: Hash of the weights' file.
        n_bytes: Size of the weights' file.
        space: Name of the network's space.
        architecture: Canonical key of the network there.
        task: Fingerprint of the task that it was trained on.
        y: Value that it reached, larger is better.
        shapes: Shape of each tensor, by name.
    """

    path: Path
    sha256: str
    n_bytes: int
    space: str
    architecture: str
    task: str
    y: float
    shapes: Mapping[str, Shape]

    def write(self, data: bytes) -> None:
        """Write the weights, then the record, each as a whole or not at all.

        Args:
            data: Contents of the weights' file.

        Raises:
            OSError: The folder cannot be written.
        """
        record = {
            "format": _FORMAT,
            "schema": _SCHEMA,
            "sha256": self.sha256,
            "n_bytes": self.n_bytes,
            "space": self.space,
            "architecture": self.architecture,
            "task": self.task,
            "gain": self.y,
            "shapes": {name: list(shape) for name, shape in self.shapes.items()},
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # NOTE: in this order a record never stands there without its weights.
        write_whole(weights_path(self.path), data, durable=False)
        with contextlib.ExitStack() as undo:
            undo.callback(self._remove_weights)  # a full disk leaves none that nobody can find
            write_whole(self.path, json.dumps(record).encode(), durable=False)
            undo.pop_all()

    def _remove_weights(self) -> None:
        """Delete weights that have no record."""
        if not self.path.exists():
            weights_path(self.path).unlink(missing_ok=True)

    @staticmethod
    def read(path: Path, most: int) -> WeightRecord:
        """Read and check a record.

        Args:
            path: The file.
            most: Largest size of the weights' file, in bytes.

        Raises:
            ValueError: It is not a record, or one of another format.
        """
        data = read_bounded(path, _MOST_RECORD_BYTES)
        found = read_object(parse(data.decode()), "the record", _FIELDS)
        if (found["format"], found["schema"]) != (_FORMAT, _SCHEMA):
            raise ValueError("a record of another format")
        if not isinstance(found["shapes"], dict) or len(found["shapes"]) > _MOST_TENSORS:
            raise ValueError("no shapes")
        return WeightRecord(
            path,
            read_text(found["sha256"], "sha256", 64),
            read_whole(found["n_bytes"], "n_bytes", 1, most),
            read_text(found["space"], "space", 2**16),
            read_text(found["architecture"], "architecture", 2**16),
            read_text(found["task"], "task", 2**16),
            read_number(found["gain"], "gain", -math.inf, math.inf),
            {name: _read_shape(shape) for name, shape in found["shapes"].items()},
        )

    def fitting(self, wanted: Mapping[str, torch.Tensor]) -> list[str]:
        """Return the names of the tensors that have the same name and shape here."""
        return [n for n, t in wanted.items() if self.shapes.get(n) == tuple(t.shape)]

    def weights(self, names: list[str]) -> dict[str, torch.Tensor]:
        """Read some tensors.

        Raises:
            ValueError: The file is not the one that was written, or a tensor is unusable.
        """
        data = read_bounded(weights_path(self.path), self.n_bytes)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ValueError("the hash of the weights is another one")
        # NOTE: weights that are not finite would make the new network's loss so, from the start.
        tensors = safetensors.torch.load(data)
        for name in names:
            if tuple(tensors[name].shape) != self.shapes[name]:
                raise ValueError(f"another shape of {name[:100]!r}")
            if not tensors[name].isfinite().all():
                raise ValueError(f"{name[:100]!r} is not finite")
        return {name: tensors[name] for name in names}


def weights_path(record: Path) -> Path:
    """Return the path of the weights that a record describes."""
    return record.with_suffix(".safetensors")


def _read_shape(value: Any) -> Shape:
    """Return a tensor's shape from its form in JSON."""
    sides = read_list(value, "a shape", 16)
    return tuple(read_whole(side, "a side of a shape", 0, 2**31) for side in sides)
