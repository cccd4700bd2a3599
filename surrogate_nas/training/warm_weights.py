"""Trained weights in a folder, from which similar networks start.

Files in the folder are JSON and safetensors. They are checked when read, by size, form and hash,
and nothing in them is ever run.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, final

import safetensors.torch
import torch
from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.task import Task
from surrogate_nas.training.weight_record import UNREADABLE, WeightRecord

_MOST_ENTRIES = 500
"""Number of networks in a folder. The record of each is read before each training."""

_logger = logging.getLogger(__name__)

Place: TypeAlias = tuple[str, str, Task]
"""The place of a network: the name of its space, its canonical key there, and the task."""


@final
@dataclass(frozen=True)
class Start:
    """The origin of a network's weights.

    Args:
        share: Part of its weights that were kept, 0 to 1. On another task the weights of the last
            layer are not counted.
        architecture: Canonical key of the network that they were trained in.
        is_other_task: Whether that was another task. Then the last layer starts afresh.
    """

    share: float
    architecture: str
    is_other_task: bool


@final
@dataclass(frozen=True)
class WarmWeights:
    """Lets networks start from trained ones, and keeps them for that in a folder.

    A network takes all tensors of the same name and shape from the kept network that fits best:
    the layers whose operation, width and place they have in common. The rest keep their
    initialization, and so does the last layer where the task is another one. The same
    architecture, trained on another task, comes first. Then comes the one that shares the most
    weights, and of several the best.

    With it a trial's result depends on the trials before it, not on its seed alone. An
    architecture may look better for its start than it is. It is off unless asked for.

    Args:
        folder: Folder where weights are kept. It is made when needed, and may be shared by studies
            and workers. Damaged files there are skipped with a warning.
        neighbours: Whether other architectures' weights count, or only the same one's.
        min_share: Least part of a network's weights that must fit, 0 to 1; see :class:`Start`.
        max_bytes: Size of the folder in bytes. Beyond it the oldest weights are removed.

    Raises:
        TrainingError: A setting has a wrong type or is out of its range, or the folder is a file.
    """

    folder: str | os.PathLike[str]
    neighbours: bool = True
    min_share: float = 0.5
    max_bytes: int = 2**30

    def __post_init__(self) -> None:
        share, most = self.min_share, self.max_bytes
        is_path = isinstance(self.folder, str | os.PathLike)
        is_share = isinstance(share, int | float) and not isinstance(share, bool)
        is_whole = isinstance(most, int) and not isinstance(most, bool)
        _check("folder", self.folder, is_path, "as a path")
        _check("neighbours", self.neighbours, isinstance(self.neighbours, bool), "True or False")
        _check("min_share", share, is_share and 0 < share <= 1, "above 0, at most 1")
        _check("max_bytes", most, is_whole and most >= 1, "from 1, a whole number")
        path = Path(self.folder)
        _check("folder", str(path), path.is_dir() or not path.exists(), "that is no file")

    def start(self, network: nn.Module, place: Place) -> Start | None:
        """Give a network the kept weights that fit best.

        Args:
            network: The network, which is changed in place.
            place: Its space, architecture and task.

        Returns:
            The origin of the weights, or None where none fit and the network stays as it is.
        """
        own = _tensors(network)
        for fit in self._fits(own, place):
            try:
                weights = fit.record.weights(fit.names)
            except UNREADABLE as error:
                # NOTE: a file may be damaged, or just removed by another worker. The next best
                # weights take its place.
                _warn(fit.record.path, error)
                continue
            with torch.no_grad():
                for name, tensor in weights.items():
                    own[name].copy_(tensor)
            return Start(fit.share, fit.record.architecture, fit.is_other_task)
        return None

    def _fits(self, own: Mapping[str, torch.Tensor], place: Place) -> list[_Fit]:
        """Return the kept weights that may start a network, the best first.

        Args:
            own: Tensors of the network, by name.
            place: Its space, architecture and task.
        """
        space, architecture, task = place
        found = []
        for record in self._records():
            is_same = (record.space, record.architecture) == (space, architecture)
            if is_same or self.neighbours:
                is_other_task = record.task != task.fingerprint
                fit = _fit(record, own, is_same=is_same, is_other_task=is_other_task)
                if fit.share >= self.min_share:
                    found.append(fit)
        return sorted(found, key=lambda fit: fit.rank, reverse=True)

    def keep(self, network: nn.Module, place: Place, value: float) -> None:
        """Keep a trained network's weights; a folder that cannot be written is a warning.

        Args:
            network: The trained network.
            place: Its space, architecture and task.
            value: Its value in the units of the task's metric.
        """
        space, architecture, task = place
        tensors = {n: t.detach().cpu().contiguous().clone() for n, t in _tensors(network).items()}
        data = safetensors.torch.save(tensors)
        if len(data) > self.max_bytes or not math.isfinite(value):
            _logger.info("Weights of %d bytes are not kept.", len(data))
            return
        digest = hashlib.sha256(data).hexdigest()
        record = WeightRecord(
            path=Path(self.folder) / f"{digest[:32]}.json",
            sha256=digest,
            n_bytes=len(data),
            space=space,
            architecture=architecture,
            task=task.fingerprint,
            y=value if task.direction == "maximize" else -value,
            shapes={name: tuple(tensor.shape) for name, tensor in tensors.items()},
        )
        try:
            record.write(data)
            self._forget_oldest()
        except OSError as error:
            _warn(record.path, error)

    def _records(self) -> Iterator[WeightRecord]:
        """Yield the record of each network in the folder, with a warning for damaged ones."""
        for path in sorted(Path(self.folder).glob("*.json")):
            try:
                yield WeightRecord.read(path, self.max_bytes)
            except FileNotFoundError:
                continue  # another worker has just removed it
            except UNREADABLE as error:
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
            # The record goes first, so that none stands there without its weights.
            path.with_suffix(".json").unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            n, total = n - 1, total - size


@final
@dataclass(frozen=True)
class _Fit:
    """How well the weights of a record fit a network.

    Args:
        record: The record.
        names: Names of the tensors that fit.
        share: Part of the network's weights that they are, 0 to 1.
        is_same_architecture: Whether they were trained in the same architecture.
        is_other_task: Whether they were trained on another task.
    """

    record: WeightRecord
    names: list[str]
    share: float
    is_same_architecture: bool
    is_other_task: bool

    @property
    def rank(self) -> tuple[bool, float, bool, float]:
        """The order of fits, larger is better.

        The same architecture comes first, then the larger share of weights, then the same task,
        then the better result.
        """
        # NOTE: results on another task are in units that do not compare with this task's.
        y = -math.inf if self.is_other_task else self.record.y
        return self.is_same_architecture, self.share, not self.is_other_task, y


def _fit(
    record: WeightRecord, own: Mapping[str, torch.Tensor], *, is_same: bool, is_other_task: bool
) -> _Fit:
    """Compare the tensors of a record with the ones of a network."""
    # NOTE: the last layer belongs to a task's classes. On another task it starts afresh, even
    # where its shape is the same.
    head = _head(own) if is_other_task else None
    wanted = {n: t for n, t in own.items() if head is None or not n.startswith(head)}
    names = record.fitting(wanted)
    total = sum(tensor.numel() for tensor in wanted.values())
    share = sum(own[name].numel() for name in names) / max(total, 1)
    return _Fit(record, names, share, is_same, is_other_task)


def _tensors(network: nn.Module) -> dict[str, torch.Tensor]:
    """Return a network's weights and statistics by name, without its counters."""
    return {n: t for n, t in network.state_dict().items() if t.is_floating_point()}


def _head(own: Mapping[str, torch.Tensor]) -> str:
    """Return the beginning of the names of the last layer's tensors."""
    # Tensors are in the order in which the network's modules were made, so the last is the head's.
    last = list(own)[-1] if own else ""
    return last.rpartition(".")[0] + "." if "." in last else last


def _warn(path: Path, error: Exception) -> None:
    """Warn about a file that cannot be used; the training goes on without it."""
    warnings.warn(
        f"Expected weights that can be used or kept at {path}; got {type(error).__name__}: "
        f"{error!s:.200}. Going on without them; remove the file or repair the folder.",
        stacklevel=3,
    )


def _check(name: str, value: object, is_valid: bool, allowed: str) -> None:
    """Refuse a setting that is out of its range."""
    if not is_valid:
        raise TrainingError(
            expected=f"{name} {allowed}",
            got=f"{value!r}",
            fix=f"give WarmWeights another {name}",
        )
