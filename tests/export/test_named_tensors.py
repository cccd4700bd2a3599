"""Networks of named tensors in a folder: each form gives the outputs of the network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from surrogate_nas.errors import ExportError
from surrogate_nas.export.folder import Contents, write_folder
from surrogate_nas.export.loading import load_model
from surrogate_nas.export.record import write_network
from surrogate_nas.export.standalone import network_source
from tests.helpers.domains.tiny.tagger_space import TaggerSpace
from tests.helpers.domains.tiny.tagging import TaggingTask
from tests.helpers.tiny import tagger, tagging

TASK = tagging()
PARAMS = {"mixing": "conv", "width": 8}


def written(folder: Path, network: nn.Module, task: TaggingTask = TASK) -> dict[str, Any]:
    """Write a folder; return what it says of its files."""
    space = TaggerSpace().for_task(task)
    record = write_network(space, PARAMS, space.from_params(PARAMS), task)
    write_folder(folder, Contents(network, task, record, {}))
    exported: dict[str, Any] = json.loads((folder / "metrics.json").read_text())["exported"]
    return exported


@pytest.mark.parametrize("mixing", ["conv", "gru"])
def test_every_form_has_named_inputs_and_outputs(tmp_path: Path, mixing: str) -> None:
    found = written(tmp_path / "final", tagger(mixing).eval())
    assert {"network.py", "network.pt2", "network.onnx"} <= set(found["largest_difference"])
    assert set(found["left_out"]) == {"prepare in network.py"}
    readme = (tmp_path / "final" / "README.md").read_text()
    assert "tokens (n, 8) as int64, lengths (n,) as int64 as keyword arguments" in readme
    assert "return outputs scores (n, 8, 2)." in readme
    assert "inputs `tokens`, `lengths`, outputs `scores`, any number of rows" in readme


def test_the_folder_is_loaded_with_its_shape(tmp_path: Path) -> None:
    network = tagger().eval()
    written(tmp_path / "final", network)
    loaded = load_model(tmp_path / "final", space=TaggerSpace())
    inputs = TASK.example(5)
    assert torch.equal(loaded(**inputs)["scores"], network(**inputs)["scores"])


def test_a_network_that_is_called_in_another_way_keeps_its_weights(tmp_path: Path) -> None:
    class TakesDict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = tagger()

        def forward(self, batch: dict[str, torch.Tensor]) -> Any:
            return self.inner(**batch)

    found = written(tmp_path / "final", TakesDict().eval())
    assert not found["largest_difference"]
    assert (tmp_path / "final" / "weights.safetensors").exists()


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> Any:
        return {"sum": x + y, "twice": x * self.get_buffer("scale")}


def test_a_preparation_of_named_tensors_is_written() -> None:
    inputs = {"x": torch.rand(2, 3), "y": torch.rand(2, 3)}
    source = network_source(Named().eval(), inputs, Named()(**inputs), Named())
    names: dict[str, Any] = {"__name__": "network", "__file__": "network.py"}
    exec(compile(source, "network.py", "exec"), names)
    found, wanted = names["prepare"](**inputs), Named()(**inputs)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert "network(**prepare(**inputs))  # raw inputs x (n, 3), y (n, 3)" in source


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a b", "no name in Python"), ("torch", "name 'torch'"), ("z", "named in")],
)
def test_inputs_that_are_no_arguments_are_refused(name: str, reason: str) -> None:
    inputs = {"x": torch.rand(2), name: torch.rand(2)}
    with pytest.raises(ExportError, match=reason):
        network_source(Named().eval(), inputs, {}, None)
