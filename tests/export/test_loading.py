"""Folders are made without training: what is loaded does not depend on how good it is."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from surrogate_nas.errors import ModelFolderError
from surrogate_nas.export.loading import load_model
from surrogate_nas.export.record import write_network
from surrogate_nas.space import Architecture, SearchSpace
from surrogate_nas.spaces import CellSpace, ConvNetSpace
from tests.helpers.toys import ARCHITECTURE, ToySpace, ToyTask
from tests.helpers.unusual import OneWidth

TASK = ToyTask()
CELL = {f"op_{edge}": "conv_3x3" for edge in range(6)} | {"width": 8, "depth": 1}
CONVNET = {
    "n_stages": 1,
    "blocks_0": 1,
    "width_0": 8,
    "kernel_0": 3,
    "expansion_0": 2,
    "se_0": True,
    "activation": "gelu",
    "normalization": "batch",
}


def saved(folder: Path, space: SearchSpace, params: Architecture) -> nn.Module:
    """Write the two files that load_model reads, and return the network."""
    space = space.for_task(TASK)
    architecture = space.from_params(params)
    torch.manual_seed(5)
    network = space.build(architecture, TASK)
    network(torch.randn(16, *TASK.input_shape))  # moves the running means off their start
    folder.mkdir()
    record = write_network(space, params, architecture, TASK)
    (folder / "architecture.json").write_text(json.dumps(record))
    safetensors.torch.save_file(network.state_dict(), folder / "weights.safetensors")
    return network.eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    saved(tmp_path / "model", CellSpace(), CELL)
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("space", "params"), [(CellSpace(), CELL), (ConvNetSpace(max_stages=2), CONVNET)]
)
def test_a_ready_space_s_network_comes_back_bit_for_bit(
    tmp_path: Path, space: SearchSpace, params: Architecture
) -> None:
    network = saved(tmp_path / "model", space, params)
    loaded = load_model(str(tmp_path / "model"))
    inputs = torch.randn(9, *TASK.input_shape)

    assert torch.equal(loaded(inputs), network(inputs))
    assert not loaded.training
    assert all(parameter.requires_grad for parameter in loaded.parameters())


def test_one_s_own_space_is_passed(tmp_path: Path) -> None:
    network = saved(tmp_path / "model", ToySpace(), ARCHITECTURE)
    inputs = torch.randn(4, *TASK.input_shape)

    loaded = load_model(tmp_path / "model", space=ToySpace())

    assert torch.equal(loaded(inputs), network(inputs))
    with pytest.raises(ModelFolderError, match=r"class 'ToySpace'.*Pass space="):
        load_model(tmp_path / "model")


def test_another_space_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "model", ToySpace(), ARCHITECTURE)

    with pytest.raises(ModelFolderError, match=r"pass space=\.\.\. if the space is your own"):
        load_model(tmp_path / "model", space=CellSpace())


def test_loading_leaves_the_random_state_alone(tmp_path: Path) -> None:
    saved(tmp_path / "model", ToySpace(), ARCHITECTURE)
    before = torch.random.get_rng_state()

    load_model(tmp_path / "model", space=ToySpace())

    assert torch.equal(torch.random.get_rng_state(), before)


def test_nothing_in_the_folder_is_run(folder: Path) -> None:
    (folder / "network.py").write_text("raise SystemExit('executed')")

    load_model(folder)


def change(record: dict[str, Any], *path: str, value: Any) -> None:
    for key in path[:-1]:
        record = record[key]
    record[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("format",), "surrogate_nas.surrogate", "the format 'surrogate_nas.network'"),
        (("schema",), 2, "schema 1"),
        (("space", "name"), "os.system", "one of the spaces CellSpace, ConvNetSpace"),
        (("space", "config", "widths"), [3, 2, 1], "configuration of CellSpace"),
        (("space", "config", "n_stages"), 64, "belong together"),
        (("params", "width"), 9, "belong together"),
        (("params", "width"), [8], "text, a number, a boolean or null"),
        (("params",), None, "parameters as params"),
        (("params", "op_0"), "none", "belong together"),
        (("input_shape",), [1, -8, 8], "input_shape"),
        (("input_shape",), [8], "belong together"),
        (("n_outputs",), 2, "belong together"),
        (("n_outputs",), 2**24, "belong together"),
        (("extra",), 1, "only known fields"),
    ],
)
def test_a_record_that_was_tampered_with_is_refused(
    folder: Path, path: tuple[str, ...], value: Any, message: str
) -> None:
    file = folder / "architecture.json"
    record = json.loads(file.read_text())
    change(record, *path, value=value)
    file.write_text(json.dumps(record))

    with pytest.raises(ModelFolderError, match=message) as caught:
        load_model(folder)
    assert "surrogate file" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format": NaN}', "[" * 100_000, "\x00", '{"a":1,"a":1}']
)
def test_a_record_that_is_no_json_object_is_refused(folder: Path, text: str) -> None:
    (folder / "architecture.json").write_text(text)

    with pytest.raises(ModelFolderError, match=r"in architecture\.json"):
        load_model(folder)


def test_a_folder_of_an_earlier_version_loads_with_a_word(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    load_model(folder)
    assert "has no checksum of its weights" in caplog.text


def with_checksum(folder: Path) -> str:
    """Write the checksum of the weights into the record, as finalize does."""
    digest = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
    file = folder / "architecture.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "weights_sha256": digest}))
    return digest


def test_weights_of_another_checksum_are_refused(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with_checksum(folder)
    load_model(folder)
    assert caplog.text == ""
    file = folder / "weights.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1  # the last bit of a number: the form is that of the network
    file.write_bytes(data)
    with pytest.raises(ModelFolderError, match=r"with SHA-256 .*got a file with .*Get the folder"):
        load_model(folder)


@pytest.mark.parametrize("digest", [1, "x", "f" * 63, "G" * 64, ["f" * 64], "f" * 65])
def test_a_checksum_that_is_none_is_refused(folder: Path, digest: Any) -> None:
    file = folder / "architecture.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "weights_sha256": digest}))
    with pytest.raises(ModelFolderError, match=r"weights_sha256"):
        load_model(folder)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", ["weight", "running_var"])
def test_weights_that_are_not_finite_are_refused(folder: Path, kind: str, value: float) -> None:
    file = folder / "weights.safetensors"
    weights = safetensors.torch.load_file(file)
    name = next(name for name in weights if name.endswith(kind))
    weights[name].view(-1)[0] = value
    safetensors.torch.save_file(weights, file)
    with_checksum(folder)
    with pytest.raises(ModelFolderError, match=rf"finite numbers .*got 1 that are not.*{name}"):
        load_model(folder)


class Masked(nn.Module):
    """A network with a mask that is not finite, which its constructor makes."""

    def __init__(self) -> None:
        super().__init__()
        self.mask: torch.Tensor
        self.register_buffer("mask", torch.tensor([0.0, -math.inf]))
        self.linear = nn.Linear(64, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.linear(inputs.flatten(1)) + self.mask.softmax(0)[1]
        return outputs


def test_a_mask_that_is_built_the_same_is_no_damage(tmp_path: Path) -> None:
    space = OneWidth(lambda *_: Masked())
    saved(tmp_path / "model", space, {"width": 4})
    load_model(tmp_path / "model", space=space)
    file = tmp_path / "model" / "weights.safetensors"
    weights = safetensors.torch.load_file(file)
    weights["mask"][0] = -math.inf
    safetensors.torch.save_file(weights, file)
    with pytest.raises(ModelFolderError, match=r"got 2 that are not, in 'mask'"):
        load_model(tmp_path / "model", space=space)


def cut(data: bytes) -> bytes:
    return data[:-7]


def flip_header(data: bytes) -> bytes:
    return data[:20] + b"\xff" + data[21:]


def nothing(data: bytes) -> bytes:
    return b""


def longest_header(data: bytes) -> bytes:
    return b"\xff" * 8 + data[8:]


@pytest.mark.parametrize("damage", [cut, flip_header, nothing, longest_header])
def test_damaged_weights_are_refused(folder: Path, damage: Callable[[bytes], bytes]) -> None:
    file = folder / "weights.safetensors"
    file.write_bytes(damage(file.read_bytes()))

    with pytest.raises(ModelFolderError, match="weights"):
        load_model(folder)


def test_weights_of_another_shape_type_or_name_are_refused(folder: Path) -> None:
    file = folder / "weights.safetensors"
    weights = safetensors.torch.load_file(file)
    name = next(name for name, value in weights.items() if value.ndim == 4)
    others = {
        "shape": {**weights, name: weights[name][:1].clone()},
        "type": {**weights, name: weights[name].half()},
        "missing": {key: value for key, value in weights.items() if key != name},
        "additional": {**weights, "more": torch.zeros(3)},
    }
    for changed in others.values():
        safetensors.torch.save_file(changed, file)
        with pytest.raises(ModelFolderError, match="belong together"):
            load_model(folder)


@pytest.mark.parametrize("name", ["architecture.json", "weights.safetensors"])
@pytest.mark.parametrize("kind", ["missing", "folder", "link", "pipe", "huge"])
def test_only_regular_files_of_a_fitting_size_are_read(
    folder: Path, name: str, kind: str, tmp_path: Path
) -> None:
    file = folder / name
    elsewhere = shutil.move(file, tmp_path / name)
    if kind == "folder":
        file.mkdir()
    elif kind == "link":
        file.symlink_to(elsewhere)
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "huge":
        with file.open("wb") as sparse:
            sparse.truncate(2**36)

    with pytest.raises(ModelFolderError, match="regular file"):
        load_model(folder)


@pytest.mark.parametrize("name", ["nowhere", "file.txt", "with\0null"])
def test_a_path_that_is_no_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file.txt").write_text("text")

    with pytest.raises(ModelFolderError, match="Give a folder that finalize wrote"):
        load_model(tmp_path / name)
