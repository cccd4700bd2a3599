"""Folders of final networks: ``architecture.json`` and ``weights.safetensors``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import final

import safetensors.torch
import torch

from surrogate_nas.domains.space_record import write_space
from surrogate_nas.errors import ModelFolderError
from surrogate_nas.export.loading import load_model
from surrogate_nas.space import ReferenceShape
from surrogate_nas.spaces import CellSpace, ConvNetSpace
from tests.safety.fuzz.mutations import BYTES, Document, Mutation, deepen, dumps, on_json, only
from tests.safety.fuzz.reader import READ, REFUSED, Reader
from tests.safety.fuzz.readers.checkpoint import in_header, in_structure
from tests.safety.fuzz.structures import in_either, on_structure, written

SHAPE = ReferenceShape((1, 8, 8), 3)
_CELL = {f"op_{edge}": "conv_3x3" for edge in range(6)} | {"width": 8, "depth": 1}
_CONVNET = {
    **{"n_stages": 1, "blocks_0": 1, "width_0": 8, "kernel_0": 3, "expansion_0": 2, "se_0": True},
    **{"activation": "gelu", "normalization": "batch"},
}


@final
class ModelFolderReader(Reader):
    """``load_model``, and outputs of what it returns."""

    name = "final network"

    @property
    def mutations(self) -> Mapping[str, Mutation]:
        """By name; those of JSON and of headers each for their own file."""
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
        """Two folders: of both ready spaces; each file twice as JSON is where most is decided."""
        files = {}
        for name, space, params in (
            ("cell", CellSpace(), _CELL),
            ("convnet", ConvNetSpace(max_stages=2), _CONVNET),
        ):
            bound = space.for_task(SHAPE)
            architecture = bound.from_params(params)
            with torch.random.fork_rng():
                torch.manual_seed(0)
                network = bound.build(architecture, SHAPE)
            record: Document = {
                "format": "surrogate_nas.network",
                "schema": 1,
                "space": write_space(bound),
                "space_class": type(bound).__name__,
                "params": params,
                "summary": bound.summary(architecture),
                "description": bound.describe(architecture),
                "input_shape": list(SHAPE.input_shape),
                "n_outputs": SHAPE.n_outputs,
                "classes": ["a", "b", "c"],
            }
            weights = safetensors.torch.save(network.state_dict())
            record["weights_sha256"] = hashlib.sha256(weights).hexdigest()
            files[f"{name}-architecture.json"] = dumps(record)
            files[f"{name}-weights.safetensors"] = weights
        return files

    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Load; what loads computes outputs of the right shape."""
        kind = name.split("-")[0]
        for file in ("architecture.json", "weights.safetensors"):
            own = f"{kind}-{file}"
            content = data if own == name else files[own]
            if own != name and file == "architecture.json":
                # Whoever changes the weights can change their checksum, too.
                digest = hashlib.sha256(data).hexdigest()
                content = dumps({**json.loads(content), "weights_sha256": digest})
            (folder / file).write_bytes(content)
        try:
            network = load_model(folder)
        except ModelFolderError:
            return REFUSED
        record = json.loads((folder / "architecture.json").read_bytes())
        if record["input_shape"] == list(SHAPE.input_shape):
            with torch.no_grad():
                outputs = network(torch.zeros(2, *SHAPE.input_shape))
            assert outputs.shape[0] == 2, outputs.shape
        return READ
