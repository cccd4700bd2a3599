"""Checkpoints of trainings: safetensors with a JSON record and a checksum."""

from __future__ import annotations

import json
import logging
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import safetensors
import safetensors.torch
import torch
from torch import nn

from surrogate_nas.training.checkpoint import Checkpoint, _digest
from surrogate_nas.training.progress import Progress
from surrogate_nas.training.state import TrainingState
from surrogate_nas.training.updates import Updater
from tests.safety.fuzz.mutations import BYTES, Document, Mutation, Rng, deepen, on_json
from tests.safety.fuzz.reader import READ, REFUSED, Reader
from tests.safety.fuzz.structures import Tensors, on_structure, other_tensors, written

_IDENTITY = "of this training"


def header(data: bytes) -> Document:
    """The JSON at the start of a safetensors file."""
    (n,) = struct.unpack("<Q", data[:8])
    document: Document = json.loads(data[8 : 8 + n])
    return document


def with_header(document: Any, data: bytes) -> bytes:
    """The file with another header; the tensors' bytes stay."""
    (n,) = struct.unpack("<Q", data[:8])
    text = written(document)
    return struct.pack("<Q", len(text)) + text + data[8 + n :]


def deepen_header(data: bytes, rng: Rng) -> bytes:
    """Nest the header's JSON."""
    (n,) = struct.unpack("<Q", data[:8])
    text = deepen(data[8 : 8 + n], rng)
    return struct.pack("<Q", len(text)) + text + data[8 + n :]


def lie_of_length(data: bytes, rng: Rng) -> bytes:
    """Give the header another length."""
    lengths = (0, 1, len(data), len(data) - 8, 2**31, 2**40, 2**63, 2**64 - 1)
    return struct.pack("<Q", lengths[int(rng.integers(len(lengths)))]) + data[8:]


def in_header() -> dict[str, Mutation]:
    """Mutations of the header."""
    changes = on_json(header, with_header)
    renamed = {name.replace("JSON", "header"): change for name, change in changes.items()}
    return {**renamed, "header: nested": deepen_header, "header: another length": lie_of_length}


def _record(data: bytes) -> Document:
    record: Document = json.loads(header(data)["__metadata__"]["record"])
    return record


def in_structure() -> dict[str, Mutation]:
    """Mutations of the structure of a file of tensors."""
    return {
        **on_structure(header, with_header, "header"),
        "tensors: one change": lambda data, rng: bytes(
            safetensors.torch.save(other_tensors(safetensors.torch.load(data), rng))
        ),
    }


def _with_record(record: Document, data: bytes) -> bytes:
    """The file with another record, its checksum made right."""
    document = header(data)
    text = written(record).decode()
    tensors = safetensors.torch.load(data)
    about = {**document["__metadata__"], "record": text, "digest": _digest(text, tensors)}
    return with_header({**document, "__metadata__": about}, data)


def _other_tensors(data: bytes, rng: Rng) -> bytes:
    """Drop, rename, reshape or retype a tensor, the checksum made right."""
    tensors = safetensors.torch.load(data)
    names = sorted(tensors)
    name, other = (names[int(rng.integers(len(names)))] for _ in range(2))
    action = int(rng.integers(5))
    if action == 0:
        del tensors[name]
    elif action == 1:
        tensors[f"{other}2"] = tensors.pop(name)
    elif action == 2:
        tensors[name] = tensors[other].clone()
    elif action == 3:
        kinds = (torch.float64, torch.uint8, torch.bool, torch.float8_e5m2, torch.int64)
        tensors[name] = tensors[name].to(kinds[int(rng.integers(len(kinds)))])
    else:
        sizes = ((), (0,), (1, 1, 1), (2, 0), tuple(tensors[name].shape[::-1]))
        tensors[name] = torch.full(sizes[int(rng.integers(len(sizes)))], float("nan"))
    return _with_tensors(tensors, data)


def _with_tensors(tensors: Tensors, data: bytes) -> bytes:
    """The file with other tensors, its checksum made right."""
    about = header(data)["__metadata__"]
    about["digest"] = _digest(about["record"], tensors)
    return bytes(safetensors.torch.save(tensors, about))


@final
class CheckpointReader(Reader):
    """``Checkpoint.resume``: a training goes on, or starts afresh with a warning."""

    name = "checkpoint"

    @property
    def mutations(self) -> Mapping[str, Mutation]:
        """By name."""
        changes = on_json(_record, _with_record)
        records = {name.replace("JSON", "record"): change for name, change in changes.items()}
        return {**BYTES, **in_header(), **records, "tensors: others": _other_tensors}

    @property
    def structures(self) -> Mapping[str, Mutation]:
        """By name; checksums made right."""
        return {
            **on_structure(_record, _with_record, "record"),
            **on_structure(header, with_header, "header"),
            "tensors: others": _other_tensors,
            "tensors: one change": lambda data, rng: _with_tensors(
                other_tensors(safetensors.torch.load(data), rng), data
            ),
        }

    def originals(self, folder: Path) -> dict[str, bytes]:
        """Of a small network, before and after its first steps."""
        files = {}
        for steps, progress in (
            (0, Progress(values=(0.5,), losses=(1.0,))),
            (2, Progress(values=(0.5, 0.75), losses=(1.0, 0.5), n_steps=2, n_rows=8, seconds=1)),
        ):
            path = folder / "one.safetensors"
            state = _training(steps)
            checkpoint = Checkpoint(path, _IDENTITY)
            checkpoint.offer(state.copy(), progress)
            checkpoint.flush()
            files[f"{steps}.safetensors"] = path.read_bytes()
        return files

    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Resume; what resumes can train on and is written again."""
        logging.getLogger("surrogate_nas").setLevel(logging.ERROR)
        path = folder / "mutated.safetensors"
        path.write_bytes(data)
        state = _training(0)
        before = {name: tensor.clone() for name, tensor in state.fixed_tensors().items()}
        progress = Checkpoint(path, _IDENTITY).resume(state)
        if progress is None:
            after = state.fixed_tensors()
            assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
            return REFUSED
        again = Checkpoint(folder / "again.safetensors", _IDENTITY)
        again.offer(state.copy(), progress)
        again.flush()
        return READ


def _training(steps: int) -> TrainingState:
    """A training after some steps, weights and order the same each time."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    updater = Updater(network, "adamw", 0.0)
    for _ in range(steps):
        network(torch.randn(4, 3)).square().mean().backward()
        updater.optimizer.step()
    generators = {"order": torch.Generator()}
    extra = {"loss": torch.zeros(())}
    return TrainingState(network, updater.optimizer, generators, torch.device("cpu"), extra)
