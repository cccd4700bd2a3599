"""Trained weights that networks start from: a JSON record and safetensors, side by side."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import final

import torch
from torch import nn

from surrogate_nas.task import Task
from surrogate_nas.tasks import digits
from surrogate_nas.training.warm_weights import Place, WarmWeights
from tests.safety.fuzz.mutations import BYTES, Mutation, deepen, dumps, on_json, only
from tests.safety.fuzz.reader import READ, REFUSED, Reader
from tests.safety.fuzz.readers.checkpoint import in_header, in_structure
from tests.safety.fuzz.structures import in_either, on_structure, written


@final
class WarmWeightsReader(Reader):
    """``WarmWeights.start``: a network starts from a file, or as it is with a warning."""

    name = "warm weights"

    def __init__(self) -> None:
        self._known: Task | None = None

    @property
    def mutations(self) -> Mapping[str, Mutation]:
        """By name; the record always has the hash of the weights beside it."""
        flip = BYTES["bytes changed"]
        changes = {
            "JSON: nested": deepen,
            **on_json(json.loads, lambda document, _: dumps(document)),
        }
        return {
            **BYTES,
            **{name: only("json", change, flip) for name, change in changes.items()},
            **{name: only("header", change, flip) for name, change in in_header().items()},
        }

    @property
    def structures(self) -> Mapping[str, Mutation]:
        """By name; those of JSON and of tensors each for their own file."""
        record = on_structure(json.loads, lambda document, _: written(document))
        return in_either(record, in_structure())

    def originals(self, folder: Path) -> dict[str, bytes]:
        """What one network leaves."""
        WarmWeights(folder).keep(_network(1), self._place(), 0.5)
        return {f"kept{path.suffix}": path.read_bytes() for path in folder.iterdir()}

    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Start; the network has finite weights either way."""
        place = folder / "weights"
        place.mkdir(exist_ok=True)
        contents = {**files, name: data}
        if name.endswith(".safetensors"):
            record = json.loads(contents["kept.json"])
            record |= {"sha256": hashlib.sha256(data).hexdigest(), "n_bytes": max(len(data), 1)}
            contents["kept.json"] = dumps(record)
        for own, bytes_ in contents.items():
            (place / own).write_bytes(bytes_)
        network = _network(2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            start = WarmWeights(place).start(network, self._place())
        assert all(tensor.isfinite().all() for tensor in network.parameters())
        return REFUSED if start is None else READ

    def _place(self) -> Place:
        if self._known is None:
            self._known = digits(seed=0)
        return "Space", "key", self._known


def _network(seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
