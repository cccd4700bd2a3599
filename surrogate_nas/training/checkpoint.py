"""A training on disk: written as a whole, read with suspicion, deleted at the end.

A checkpoint is a safetensors file. Its metadata hold a JSON record (how far the training is) and
a checksum over the record and all tensors. Nothing in it is ever executed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, final

import safetensors
import safetensors.torch
import torch
from torch import nn

from surrogate_nas.errors import RecordError, TrainingError
from surrogate_nas.files.atomic import write_whole
from surrogate_nas.files.bounded import bounded_size
from surrogate_nas.files.checked_json import (
    canonical,
    parse,
    read_list,
    read_number,
    read_object,
    read_whole,
)
from surrogate_nas.training.progress import Progress
from surrogate_nas.training.state import (
    OPTIMIZER_STATES,
    NamedTensors,
    TrainingState,
    optimizer_name,
)

_logger = logging.getLogger(__name__)

_SCHEMA = "surrogate_nas checkpoint 1"
_HEADER_BYTES = 2**24
_MOST_EPOCHS, _MOST_COUNT = 2**20, 2**53
_SHARE_OF_TIME = 0.02
"""Writing takes at most this share of the time between two checkpoints."""


@final
class Checkpoint:
    """The file of one training.

    Args:
        path: Where it is.
        identity: A hash of all that must be the same for a training to go on from it.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path = path
        self._identity = identity
        self._pending: tuple[NamedTensors, Progress] | None = None
        self._next = 0.0

    def offer(self, saved: NamedTensors, progress: Progress) -> None:
        """Write the state after an epoch, unless that was done only just before."""
        # NOTE: remembered even if it is not due, because `flush` writes it when the training is
        # interrupted. The progress is a copy, since the training changes its own.
        self._pending = saved, replace(progress)
        if time.monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Write what was offered last, if that is not done yet.

        A full disk, a lost folder or a value that is no finite number does not end the training:
        a warning says so.
        """
        if self._pending is None:
            return
        saved, progress = self._pending
        self._pending = None
        began = time.monotonic()
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # NOTE: not forced to the disk, as that takes long. A power cut at worst costs the
            # progress: the checksum finds a damaged file.
            write_whole(self._path, _encoded(saved, progress, self._identity), durable=False)
        except (OSError, ValueError) as error:
            _logger.warning("The checkpoint %s cannot be written: %s", self._path, error)
        ended = time.monotonic()
        self._next = ended + (ended - began) / _SHARE_OF_TIME

    def remove(self) -> None:
        """Delete the file, if there is one."""
        self._pending = None
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            _logger.warning("The checkpoint %s cannot be deleted: %s", self._path, error)

    def resume(self, state: TrainingState) -> Progress | None:
        """Put a training's state as the file has it; None if there is no file, or no fitting one.

        A file that is damaged or of another training is left out with a warning: the training
        starts afresh, and writes its own over it.
        """
        try:
            # A link to nowhere counts as a file, so that it is refused with a warning.
            if not os.path.lexists(self._path):
                return None
            tensors, progress = read_checkpoint(self._path, self._identity, state)
        except (TrainingError, OSError, ValueError) as error:
            _logger.warning("Training starts afresh. %s", error)
            return None
        state.restore(tensors)
        return progress


def identity_of(network: nn.Module, about: Mapping[str, Any]) -> str:
    """Hash a network's modules, shapes and types together with other facts.

    Args:
        network: Its weights play no part.
        about: What else must be the same: numbers, texts and None.
    """
    shapes = [
        [name, list(tensor.shape), str(tensor.dtype)]
        for name, tensor in [*network.named_parameters(), *network.named_buffers()]
    ]
    # Functions inside a module are printed with their address, another one in each process.
    modules = re.sub(r" at 0x[0-9a-f]+", "", repr(network))
    text = canonical([_SCHEMA, modules, shapes, dict(about)])
    return hashlib.sha256(text.encode()).hexdigest()


def read_checkpoint(
    path: Path, identity: str, state: TrainingState
) -> tuple[NamedTensors, Progress]:
    """Read a checkpoint and check all of it against the training that wants to go on.

    Raises:
        TrainingError: It is damaged, too large, or of another training.
        OSError: It cannot be read.
    """
    # Adam keeps two tensors for each weight. So weights and states are three times the weights,
    # and the fourth time is room for the rest.
    most = 4 * sum(t.nbytes for t in state.fixed_tensors().values()) + _HEADER_BYTES
    bounded_size(path, most, lambda got: _damaged(f"{str(path)!r}: {got}"), follow_links=False)
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise _damaged(f"{str(path)!r}, which is none: {error}") from error
    record = metadata.get("record", "")
    if metadata.get("schema") != _SCHEMA or metadata.get("digest") != _digest(record, tensors):
        raise _damaged(f"{str(path)!r}, whose checksum is wrong")
    # After the checksum, because a damaged file may give any identity.
    if metadata.get("identity") != identity:
        raise TrainingError(
            expected="a checkpoint of this network, task and Trainer",
            got=f"{str(path)!r}, which is of other ones",
            fix="keep checkpoints of different trainings in files of their own",
        )
    _require_fit(tensors, state)
    return tensors, _read_progress(record)


def _encoded(saved: NamedTensors, progress: Progress, identity: str) -> bytes:
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in saved.items()}
    record = canonical(asdict(progress))
    metadata = {
        "schema": _SCHEMA,
        "identity": identity,
        "record": record,
        "digest": _digest(record, tensors),
    }
    return bytes(safetensors.torch.save(tensors, metadata))


def _digest(record: str, tensors: NamedTensors) -> str:
    """A checksum over the record and over names, types, shapes and bytes of all tensors."""
    digest = hashlib.sha256(record.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"|{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        # As bytes, because NumPy has no bfloat16.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _require_fit(tensors: NamedTensors, state: TrainingState) -> None:
    """Check names, shapes and types of what is about to be put into the training."""
    wanted = state.fixed_tensors() | state.random_states()
    # An optimizer makes its states in its first step, so they may be missing.
    optional = {
        optimizer_name(index, key): torch.zeros(()) if key == "step" else param
        for index, param in enumerate(state.params)
        for key in OPTIMIZER_STATES
    }
    for name in sorted({*tensors, *wanted}):
        needed = wanted.get(name, optional.get(name))
        got = tensors.get(name)
        if got is None or needed is None or (got.shape, got.dtype) != (needed.shape, needed.dtype):
            raise _damaged(f"one whose {name[:100]!r} does not fit")


def _read_progress(record: str) -> Progress:
    try:
        parsed = parse(record)
        if isinstance(parsed, dict) and "n_images" in parsed:
            parsed["n_rows"] = parsed.pop("n_images")  # NOTE: its name in earlier versions
        found = read_object(parsed, "the record", [f.name for f in fields(Progress)])
        return Progress(
            values=(values := _curve(found, "values", 1, _MOST_EPOCHS)),
            losses=_curve(found, "losses", len(values), len(values)),
            n_steps=read_whole(found["n_steps"], "n_steps", 0, _MOST_COUNT),
            n_rows=read_whole(found["n_rows"], "n_rows", 0, _MOST_COUNT),
            busy_seconds=read_number(found["busy_seconds"], "busy_seconds", 0, _MOST_COUNT),
            seconds=read_number(found["seconds"], "seconds", 0, _MOST_COUNT),
            n_parts=read_whole(found["n_parts"], "n_parts", 1, 2**20),
        )
    except RecordError as error:
        raise _damaged(f"a record with {error.got} where it needs {error.expected}") from error
    except ValueError as error:
        raise _damaged(f"a record that cannot be read: {error}") from error


def _curve(record: Mapping[str, Any], name: str, least: int, most: int) -> tuple[float, ...]:
    largest = sys.float_info.max
    numbers = read_list(record[name], name, most, least)
    return tuple(read_number(number, name, -largest, largest) for number in numbers)


def _damaged(got: str) -> TrainingError:
    return TrainingError(
        expected="a checkpoint that a Trainer wrote",
        got=got,
        fix="delete the file if it is of no use",
    )
