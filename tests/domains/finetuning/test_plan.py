from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from surrogate_nas.domains.finetuning.plan import read_plan
from surrogate_nas.errors import SpaceError
from tests.helpers.backbones import write_plan


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_plan(tmp_path / "net.npz")
    return tmp_path / "net.npz"


def changed(path: Path, change: Any) -> None:
    """Write the archive with another plan."""
    with np.load(path, allow_pickle=False) as archive:
        plan = json.loads(str(archive["plan"]))
    write_plan(path, plan=json.dumps(change(plan)))


def test_the_layers_are_run_as_they_are_planned(path: Path) -> None:
    network = read_plan(path)
    images = torch.rand(2, 3, 16, 12) * 255
    with np.load(path, allow_pickle=False) as archive:
        w = {k: torch.from_numpy(archive[k].astype(np.float32)) for k in archive.files if "." in k}
    x = images.flip(1) - torch.tensor([100.0, 110.0, 120.0]).view(1, 3, 1, 1)
    # TensorFlow's padding: the odd pixel goes to the right and to the bottom.
    x = functional.conv2d(functional.pad(x, (0, 1, 0, 1)), w["00.weight"], w["00.bias"], 2).relu()
    y = functional.relu6(functional.conv2d(x, w["01.weight"], w["01.bias"], padding=1))
    wanted = functional.max_pool2d(torch.cat([x + y, x], 1), 3, 2, ceil_mode=True)

    torch.testing.assert_close(network(images), wanted)


def test_the_classifier_is_left_out(path: Path) -> None:
    assert {name.split(".")[1] for name, _ in read_plan(path).named_parameters()} == {"00", "01"}
    # A fully convolutional network scores its classes before the mean.
    changed(path, lambda plan: {**plan, "layers": [*plan["layers"][:4], _scores(), _mean()]})
    assert {name.split(".")[1] for name, _ in read_plan(path).named_parameters()} == {"00", "01"}


def _scores() -> dict[str, Any]:
    conv = {"op": "conv", "in": [4], "out": 5, "w": "02", "stride": 1, "pad": 0, "act": "relu"}
    return {**conv, "groups": 1}


def _mean() -> dict[str, Any]:
    return {"op": "mean", "in": [5], "out": 6}


FAULTS: dict[str, Any] = {
    "field 'op'": lambda plan: {**plan, "layers": [{"in": [0]}]},
    "inputs come before": lambda plan: {**plan, "layers": plan["layers"][1:]},
    "activation": lambda plan: {**plan, "layers": [{**plan["layers"][0], "act": "gelu"}]},
    "arrays 09.weight": lambda plan: {**plan, "layers": [{**plan["layers"][0], "w": "09"}]},
    "groups that divide": lambda plan: {**plan, "layers": [{**plan["layers"][0], "groups": 3}]},
    "3 items": lambda plan: {**plan, "mean": [1]},
    "an object": lambda plan: [plan],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_damaged_plan_is_refused(path: Path, fault: str) -> None:
    changed(path, FAULTS[fault])
    with pytest.raises(SpaceError, match="a plan of layers") as raised:
        read_plan(path)
    if fault != "field 'op'":
        assert fault in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", b"x" * 100])
def test_a_file_that_is_no_archive_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SpaceError, match="cannot be read"):
        read_plan(path)


def test_a_truncated_archive_and_one_without_a_plan_are_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(SpaceError, match="cannot be read"):
        read_plan(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(SpaceError, match="arrays x, and no plan"):
        read_plan(path)
    path.unlink()
    with pytest.raises(SpaceError, match="No such file"):
        read_plan(path)


def test_objects_in_an_archive_are_never_read(path: Path) -> None:
    np.savez(path, plan=np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(SpaceError, match="cannot be read"):
        read_plan(path)
