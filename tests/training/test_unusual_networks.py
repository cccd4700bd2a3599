"""Networks that are right in PyTorch are trained, exported and read back, or an error says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from torch import nn

import surrogate_nas as sn
from surrogate_nas.errors import SpaceError, TrainingError
from tests.helpers.toys import ToyTask
from tests.helpers.unusual import READS, OneWidth, lazy_layers, reading

TASK = ToyTask()


def searched(space: sn.SearchSpace) -> optuna.Study:
    """A study of two trials."""
    study = sn.create_study(TASK, space, seed=0)
    study.optimize(sn.Objective(TASK, space, sn.Trainer(epochs=1, device="cpu")), n_trials=2)
    return study


def exported(study: optuna.Study, space: sn.SearchSpace, folder: Path) -> dict[str, Any]:
    """What ``metrics.json`` says of the forms of the final network, which loads as it was."""
    trainer = sn.Trainer(epochs=1, device="cpu")
    final = sn.finalize(study, TASK, space, trainer, folder=folder)
    inputs = TASK.example(5)
    loaded = sn.load_model(folder, space=space)
    assert torch.equal(loaded(inputs), final.network(inputs))
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())["exported"]
    return found


@pytest.mark.parametrize("kind", READS)
def test_a_network_that_reads_values_is_trained_and_counted(kind: str) -> None:
    for trial in searched(reading(kind)).trials:
        assert trial.user_attrs["stop_reason"] == "finished"
        assert trial.user_attrs["parameters"] == 65 * 6 + 7 * 6 + 7 * 3
        assert trial.user_attrs["multiply_accumulates"] >= 64 * 6 + 6 * 3


@pytest.mark.parametrize("kind", ["if", "numpy"])
def test_a_trace_of_a_network_that_reads_values_is_left_out(kind: str, tmp_path: Path) -> None:
    """The trace would always go the way of the zeros that it was made with."""
    space = reading(kind)
    found = exported(searched(space), space, tmp_path / "final")
    reason = found["left_out"]["network.torchscript.pt"]
    assert "the same operations for every input" in reason
    assert "network.py" not in found["largest_difference"]


@pytest.mark.usefixtures("without_programs")
def test_a_lazy_network_is_trained_exported_and_read_back(tmp_path: Path) -> None:
    space = OneWidth(lazy_layers)
    study = searched(space)
    assert [trial.user_attrs["stop_reason"] for trial in study.trials] == ["finished"] * 2
    found = exported(study, space, tmp_path / "final")
    assert found["largest_difference"]["network.py"] == 0.0


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_trainer_takes_a_lazy_network(optimizer: Any, tmp_path: Path) -> None:
    trainer = sn.Trainer(epochs=2, optimizer=optimizer, device="cpu")
    results = []
    for checkpoint in (None, tmp_path / "checkpoint"):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            results.append(
                trainer.train(lazy_layers(4, (1, 8, 8), 3), TASK, checkpoint=checkpoint).losses
            )
    assert results[0] == results[1]


@pytest.mark.parametrize("made", [None, nn.Linear, "network"])
def test_a_build_that_returns_no_network_ends_the_study_with_an_error(made: object) -> None:
    space = OneWidth(lambda *_: made)
    study = sn.create_study(TASK, space, seed=0)
    with pytest.raises(SpaceError, match=r"torch.nn.Module from OneWidth.build; got .* Return"):
        study.optimize(sn.Objective(TASK, space, sn.Trainer(epochs=1)), n_trials=4)
    assert "Expected a torch.nn.Module" in study.trials[0].user_attrs["stop_reason"]


def test_the_trainer_refuses_what_is_no_network() -> None:
    said = r"nn.Module as the network; got .* instance"
    wrong: Any
    for wrong in (None, nn.Linear, "network"):
        with pytest.raises(TrainingError, match=said):
            sn.Trainer(epochs=1).train(wrong, TASK)
        with pytest.raises(TrainingError, match=said):
            sn.Trainer().evaluate(wrong, TASK, TASK.test)
