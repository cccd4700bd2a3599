"""The folder of a fine-tuned network runs without this package, and says where it began."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import surrogate_nas as sn
from surrogate_nas.domains.finetuning.space import FineTuneSpace
from tests.helpers.backbones import SIDES, TinyNet, architecture, photos, space

TASK, TRAINER = photos(), sn.Trainer(device="cpu", batch_size=16)
ALONE = """
import sys
sys.path.insert(0, ".")
import torch
from network import load, prepare
outputs = load()(prepare(torch.load("raw.pt")))
assert "surrogate_nas" not in sys.modules
torch.save(outputs, "outputs.pt")
"""


def finalized(made: FineTuneSpace, params: dict[str, Any], folder: Path) -> sn.FinalNetwork:
    study = sn.create_study(TASK, made)
    # A space without class means has nothing to begin with.
    study.enqueue_trial(params)
    study.optimize(sn.Objective(TASK, made, TRAINER, dashboard=False), n_trials=1)
    return sn.finalize(study, TASK, made, TRAINER, folder=folder, progress="quiet")


def outputs_without_the_package(folder: Path) -> torch.Tensor:
    torch.save(TASK.test.take(torch.arange(5))[0], folder / "raw.pt")
    subprocess.run([sys.executable, "-I", "-c", ALONE], cwd=folder, check=True)
    found: torch.Tensor = torch.load(folder / "outputs.pt", weights_only=True)
    return found


def inputs() -> torch.Tensor:
    return TASK.prepare(TASK.test.take(torch.arange(5))[0])


@pytest.mark.usefixtures("without_programs")
def test_adapters_are_merged_into_plain_layers(tmp_path: Path) -> None:
    made = space(cache=tmp_path / "cache", adaptations=("probe", "lora"))
    final = finalized(made, architecture("lora", resolution=24), tmp_path / "final")
    source = (tmp_path / "final" / "network.py").read_text()
    assert "nn.Conv2d(3, 6, 3, stride=2" in source
    torch.testing.assert_close(
        outputs_without_the_package(tmp_path / "final"), final.network(inputs())
    )
    about = json.loads((tmp_path / "final" / "metrics.json").read_text())
    assert about["weights_from"].startswith("tiny, made by tiny_net, SHA-256 of its tensors")
    assert about["weights_from"] in (tmp_path / "final" / "README.md").read_text()
    loaded = sn.load_model(tmp_path / "final", space=space())
    assert torch.equal(loaded(inputs()), final.network(inputs()))


class Untraceable(nn.Module):
    """Decides by the size of its input, which torch.fx does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.net = TinyNet()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if max(images.shape[-2:]) > 1000:
            raise ValueError("too large")
        scores: torch.Tensor = self.net(images)
        return scores


@pytest.mark.slow
def test_what_cannot_be_written_as_layers_runs_as_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("surrogate_nas.export.folder.require_onnx", _refuse)
    made = FineTuneSpace({"tiny": Untraceable}, resolutions=SIDES, adaptations=("probe",))
    final = finalized(made, architecture("probe"), tmp_path / "final")
    exported = json.loads((tmp_path / "final" / "metrics.json").read_text())["exported"]
    assert {"network.pt2", "network.py"} <= set(exported["largest_difference"])
    assert "torch.fx cannot trace" in exported["left_out"]["layers in network.py"]
    assert "`load()` loads `network.pt2`" in (tmp_path / "final" / "README.md").read_text()
    torch.testing.assert_close(
        outputs_without_the_package(tmp_path / "final"), final.network(inputs())
    )
    assert (tmp_path / "final" / "classify.py").is_file()


def _refuse() -> None:
    raise RuntimeError("not in this test")


def test_class_means_are_those_of_training_and_validation(
    tmp_path: Path, without_programs: None
) -> None:
    # The study's own first trial is the one that counts.
    final = finalized(space(), architecture("means"), tmp_path / "final")
    network = final.network
    assert isinstance(network, nn.Module)
    features = network.body(network.inputs(TASK.merged().example(45)))  # type: ignore[operator]
    torch.testing.assert_close(network.head.center, features.mean(0))  # type: ignore[union-attr]
    assert "without training" in final.summary
