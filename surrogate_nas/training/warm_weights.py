"""Trained weights in a folder, from which networks that are alike start.

What is read there is checked and never run: JSON and safetensors, of a bounded size, with a hash.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, final

import safetensors.torch
import torch
from torch import nn

from surrogate_nas.errors import TrainingError
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
from surrogate_nas.task import Task

_FORMAT, _SCHEMA = "surrogate_nas.weights", 1
_FIELDS = (
    *("format", "schema", "sha256", "n_bytes", "space", "architecture", "task", "gain", "shapes"),
)
_MOST_ENTRIES = 500
"""Networks in a folder: each is looked at before each training."""
_MOST_RECORD_BYTES = 2**20
_MOST_TENSORS = 10_000
_UNREADABLE = (OSError, ValueError, KeyError, safetensors.SafetensorError)

_logger = logging.getLogger(__name__)

Shape = tuple[int, ...]
Place: TypeAlias = tuple[str, str, Task]
"""What a network is: the name of its space, its canonical key there, and the task."""


@final
@dataclass(frozen=True)
class Start:
    """Where a network's weights came from.

    Args:
        share: Part of its weights that were there, 0 to 1; on another task those of the last
            layer are not counted.
        architecture: Canonical key of the network that they were trained in.
        is_other_task: Whether that was another task; then the last layer starts afresh.
    """

    share: float
    architecture: str
    is_other_task: bool


@final
@dataclass(frozen=True)
class WarmWeights:
    """Lets networks start from trained ones, and keeps them for that in a folder.

    A network takes from the one that fits best all tensors of the same name and shape: the layers
    whose operation, width and place they have in common. The rest, and the last layer where the
    task is another one, keep their initialization. The same architecture, trained on another
    task, comes first; then whatever shares the most weights, and of several the best.

    With it a trial's result depends on which trials came before it, not on its seed alone, and an
    architecture may look better for its start than it is. It is off unless asked for.

    Args:
        folder: Where weights are kept; it is made when needed, and may be shared by studies and
            workers. Damaged files there are skipped with a warning.
        neighbours: Whether other architectures' weights count, or only those of the same one.
        min_share: Least part of a network's weights that must fit; see :class:`Start`.
        max_bytes: Size of the folder; beyond it the oldest weights are removed.

    Raises:
        TrainingError: A setting is out of its range, or the folder is a file.
    """

    folder: str | os.PathLike[str]
    neighbours: bool = True
    min_share: float = 0.5
    max_bytes: int = 2**30

    def __post_init__(self) -> None:
        path = Path(self.folder)
        _check("min_share", self.min_share, 0 < self.min_share <= 1, "above 0, at most 1")
        _check("max_bytes", self.max_bytes, self.max_bytes >= 1, "from 1")
        _check("folder", str(path), path.is_dir() or not path.exists(), "that is no file")

    def start(self, network: nn.Module, place: Place) -> Start | None:
        """Give a network the weights that fit best; None if nothing does.

        Args:
            network: Changed in place.
            place: What it is.
        """
        space, architecture, task = place
        own = _tensors(network)
        ranked = []
        for record in self._records():
            is_same = (record.space, record.architecture) == (space, architecture)
            is_other = record.task != task.fingerprint
            if not is_same and not self.neighbours:
                continue
            head = _head(own) if is_other else None
            wanted = {n: t for n, t in own.items() if head is None or not n.startswith(head)}
            names = record.fitting(wanted)
            total = sum(tensor.numel() for tensor in wanted.values())
            share = sum(own[name].numel() for name in names) / max(total, 1)
            if share >= self.min_share:
                y = -math.inf if is_other else record.y
                ranked.append(((is_same, share, not is_other, y), record, names))
        for (_, share, is_same_task, _), record, names in sorted(
            ranked, key=lambda one: one[0], reverse=True
        ):
            try:
                weights = record.weights(names)
            except _UNREADABLE as error:
                _warn(record.path, error)
                continue
            with torch.no_grad():
                for name, tensor in weights.items():
                    own[name].copy_(tensor)
            return Start(share, record.architecture, not is_same_task)
        return None

    def keep(self, network: nn.Module, place: Place, value: float) -> None:
        """Keep a trained network's weights; a folder that cannot be written is a warning.

        Args:
            network: The network.
            place: What it is.
            value: What it reached.
        """
        space, architecture, task = place
        tensors = {n: t.detach().cpu().contiguous().clone() for n, t in _tensors(network).items()}
        data = safetensors.torch.save(tensors)
        digest = hashlib.sha256(data).hexdigest()
        record = {
            "format": _FORMAT,
            "schema": _SCHEMA,
            "sha256": digest,
            "n_bytes": len(data),
            "space": space,
            "architecture": architecture,
            "task": task.fingerprint,
            "gain": value if task.direction == "maximize" else -value,
            "shapes": {name: list(tensor.shape) for name, tensor in tensors.items()},
        }
        if len(data) > self.max_bytes or not math.isfinite(value):
            _logger.info("Weights of %d bytes are not kept.", len(data))
            return
        path = Path(self.folder) / f"{digest[:32]}.json"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path.with_suffix(".safetensors"), data, durable=False)
            write_whole(path, json.dumps(record).encode(), durable=False)
            self._forget_oldest()
        except OSError as error:
            _warn(path, error)

    def _records(self) -> Iterator[_Record]:
        """Read what is said of each network in the folder."""
        for path in sorted(Path(self.folder).glob("*.json")):
            try:
                yield _Record.read(path, self.max_bytes)
            except FileNotFoundError:
                continue  # another worker has just removed it
            except _UNREADABLE as error:
                _warn(path, error)

    def _forget_oldest(self) -> None:
        """Remove the oldest weights until the folder is small enough again."""
        found = []
        for path in Path(self.folder).glob("*.safetensors"):
            try:
                about = path.stat()
            except OSError:
                continue  # another worker has just removed it
            found.append((about.st_mtime, about.st_size, path))
        n, total = len(found), sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.max_bytes and n <= _MOST_ENTRIES:
                return
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            n, total = n - 1, total - size


@final
@dataclass(frozen=True)
class _Record:
    """What is said of a network's weights beside them."""

    path: Path
    sha256: str
    n_bytes: int
    space: str
    architecture: str
    task: str
    y: float
    shapes: Mapping[str, Shape]

    @staticmethod
    def read(path: Path, most: int) -> _Record:
        """Read and check a record."""
        data = read_bounded(path, _MOST_RECORD_BYTES)
        found = read_object(parse(data.decode()), "the record", _FIELDS)
        if (found["format"], found["schema"]) != (_FORMAT, _SCHEMA):
            raise ValueError("a record of another format")
        if not isinstance(found["shapes"], dict) or len(found["shapes"]) > _MOST_TENSORS:
            raise ValueError("no shapes")
        return _Record(
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
        """Names of the tensors that fit."""
        return [n for n, t in wanted.items() if self.shapes.get(n) == tuple(t.shape)]

    def weights(self, names: list[str]) -> dict[str, torch.Tensor]:
        """Read some tensors.

        Raises:
            ValueError: The file is not the one that was written, or a tensor is unusable.
        """
        data = read_bounded(self.path.with_suffix(".safetensors"), self.n_bytes)
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise ValueError("the hash of the weights is another one")
        tensors = safetensors.torch.load(data)
        for name in names:
            if tuple(tensors[name].shape) != self.shapes[name]:
                raise ValueError(f"another shape of {name[:100]!r}")
            if not tensors[name].isfinite().all():
                raise ValueError(f"{name[:100]!r} is not finite")
        return {name: tensors[name] for name in names}


def _read_shape(value: Any) -> Shape:
    sides = read_list(value, "a shape", 16)
    return tuple(read_whole(side, "a side of a shape", 0, 2**31) for side in sides)


def _tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """A network's weights and its statistics, by name; counters are left out."""
    return {n: t for n, t in network.state_dict().items() if t.is_floating_point()}


def _head(own: Mapping[str, torch.Tensor]) -> str:
    """What the names of the last layer's tensors begin with."""
    last = list(own)[-1] if own else ""
    return last.rpartition(".")[0] + "." if "." in last else last


def _warn(path: Path, error: Exception) -> None:
    warnings.warn(
        f"Expected weights that can be used or kept at {path}; got {type(error).__name__}: "
        f"{error!s:.200}. Going on without them; remove the file or repair the folder.",
        stacklevel=3,
    )


def _check(name: str, value: object, is_valid: bool, allowed: str) -> None:
    if not is_valid:
        raise TrainingError(
            expected=f"{name} {allowed}",
            got=f"{value!r}",
            fix=f"give WarmWeights another {name}",
        )
