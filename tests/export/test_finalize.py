from __future__ import annotations

import hashlib
import json
import math
import os
import re
import runpy
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

from surrogate_nas.errors import ExportError, StudyError, TrainingError
from surrogate_nas.export.finalize import FinalNetwork, finalize
from surrogate_nas.export.loading import load_model
from surrogate_nas.running.objective import Objective
from surrogate_nas.running.study import create_study
from surrogate_nas.space import Architecture, SearchSpace
from surrogate_nas.spaces import CellSpace, ConvNetSpace
from surrogate_nas.tasks import digits
from surrogate_nas.training.trainer import StopReason, Trainer
from tests.helpers import synthetic
from tests.helpers.toys import ToySpace, ToyTask

pytestmark = pytest.mark.slow

TASK = ToyTask()
SPACE = ToySpace()
TRAINER = Trainer(epochs=2, batch_size=32, seed=3)


def studied(n_trials: int = 3, space: ToySpace = SPACE) -> optuna.Study:
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.optimize(Objective(TASK, space, TRAINER), n_trials=n_trials)
    return study


@pytest.fixture(autouse=True)
def _quick(request: pytest.FixtureRequest) -> None:
    """Most of these tests are about the network, not about the forms that it is written in."""
    if request.function.__name__ not in (
        "test_the_best_trial_is_retrained_and_tested",
        "test_nothing_is_printed",
        "test_a_network_on_a_gpu_is_exported_from_a_copy",
    ):
        request.getfixturevalue("without_programs")


@pytest.fixture(autouse=True)
def working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    return studied()


def test_the_best_trial_is_retrained_and_tested(study: optuna.Study) -> None:
    final = finalize(study, TASK, SPACE, TRAINER)

    assert final.trial_number == study.best_trial.number
    assert final.validation_value == study.best_value
    assert final.architecture == SPACE.from_params(study.best_params)
    assert final.summary == SPACE.summary(final.architecture)
    assert final.description == SPACE.for_task(TASK).describe(final.architecture)
    assert final.outcome.stop_reason is StopReason.FINISHED
    assert final.outcome.n_steps == 2 * math.ceil(
        (len(TASK.train) + len(TASK.validation)) / TRAINER.batch_size
    )
    assert not final.network.training


def test_the_test_value_is_that_of_the_network_and_is_stored(study: optuna.Study) -> None:
    final = finalize(study, TASK, SPACE, TRAINER)

    assert final.test_value == TRAINER.evaluate(final.network, TASK, TASK.test)
    assert study.user_attrs == {
        "test_value": final.test_value,
        "test_trial": final.trial_number,
        "test_uses": final.test_uses,
        "final_folder": final.folder.name,
        "trainer": asdict(TRAINER.for_task(TASK)),
    }


def test_the_trainer_s_seed_fixes_the_network(study: optuna.Study) -> None:
    first, second = (finalize(study, TASK, SPACE, TRAINER).network.state_dict() for _ in range(2))

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_no_trial_is_added(study: optuna.Study) -> None:
    before = study.trials
    finalize(study, TASK, SPACE, TRAINER)

    assert study.trials == before


def test_progress_is_told(study: optuna.Study) -> None:
    epochs: list[int] = []

    def on_epoch(epoch: int, value: float) -> bool:
        epochs.append(epoch)
        return False

    finalize(study, TASK, SPACE, TRAINER, on_epoch=on_epoch)

    assert epochs == [0, 1]


def test_the_architecture_s_own_training_settings_count() -> None:
    space = ToySpace(has_rate=True)
    study = studied(1, space)
    with_rate = finalize(study, TASK, space, TRAINER).network.state_dict()
    plain = finalize(study, TASK, SPACE, TRAINER).network.state_dict()

    assert any(not torch.equal(with_rate[name], plain[name]) for name in plain)


@pytest.mark.parametrize("n_failed", [0, 2])
def test_without_a_completed_trial_there_is_nothing_to_finalize(n_failed: int) -> None:
    study = optuna.create_study(direction="maximize")
    for _ in range(n_failed):
        study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)

    with pytest.raises(StudyError, match=f"none among {n_failed} trials"):
        finalize(study, TASK, SPACE, TRAINER)


def test_a_best_trial_of_another_space_is_refused() -> None:
    study = optuna.create_study(direction="maximize")
    study.optimize(synthetic.objective, 1)

    with pytest.raises(StudyError, match="trial 0 to be an architecture of ToySpace"):
        finalize(study, TASK, SPACE, TRAINER)


def test_another_task_is_refused_before_anything_is_trained() -> None:
    study = create_study(TASK, SPACE, seed=0)
    study.optimize(Objective(TASK, SPACE, TRAINER), n_trials=1)
    smaller = ToyTask(len(TASK.train))

    with pytest.raises(StudyError, match="data, split and metric"):
        finalize(study, smaller, SPACE, TRAINER)
    assert "test_value" not in study.user_attrs
    assert finalize(study, TASK, SPACE, TRAINER).trial_number == 0


def test_several_objectives_have_no_best_trial() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])

    with pytest.raises(StudyError, match="2 objectives"):
        finalize(study, TASK, SPACE, TRAINER)


class Diverging(torch.nn.Module):
    """Stands before a network and lets its outputs overflow."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.inner(inputs)
        return outputs * float("inf")


def test_a_retraining_that_diverges_is_an_error(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    study.set_user_attr("test_value", 0.25)
    build = ToySpace.build

    def diverging(self: ToySpace, architecture: Architecture, task: Any) -> torch.nn.Module:
        return Diverging(build(self, architecture, task))

    monkeypatch.setattr(ToySpace, "build", diverging)

    with pytest.raises(TrainingError, match="after 0 epochs with"):
        finalize(study, TASK, SPACE, TRAINER)
    assert study.user_attrs["test_value"] == 0.25


def test_a_retraining_without_time_is_an_error(study: optuna.Study) -> None:
    hasty = Trainer(epochs=2, batch_size=32, time_limit_seconds=1e-9)

    with pytest.raises(TrainingError, match="more time"):
        finalize(study, TASK, SPACE, hasty)


def named_study(name: str, space: ToySpace = SPACE) -> optuna.Study:
    study = optuna.create_study(direction="maximize", study_name=name)
    study.optimize(Objective(TASK, space, TRAINER), n_trials=1)
    return study


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("digits", "digits-final"),
        ("../a b/ü\n", "a-b-final"),
        ("..", "study-final"),
        ("x" * 300, "x" * 80 + "-final"),
    ],
)
def test_the_folder_is_named_after_the_study(name: str, folder: str, tmp_path: Path) -> None:
    final = finalize(named_study(name), TASK, SPACE, TRAINER)

    assert final.folder == tmp_path / folder
    assert os.listdir(tmp_path) == [folder]


def test_a_second_folder_gets_a_number(study: optuna.Study, tmp_path: Path) -> None:
    first, second = (finalize(study, TASK, SPACE, TRAINER).folder for _ in range(2))

    assert second.name == f"{first.name}-2"
    assert sorted(tmp_path.iterdir()) == sorted([first, second])


def test_the_loaded_network_has_the_same_outputs_bit_for_bit(study: optuna.Study) -> None:
    final = finalize(study, TASK, SPACE, TRAINER, folder="here")
    inputs = TASK.prepare(TASK.test.inputs)

    assert torch.equal(load_model("here", space=SPACE)(inputs), final.network(inputs))
    record = json.loads(Path("here/architecture.json").read_text())
    weights = Path("here/weights.safetensors").read_bytes()
    assert record["weights_sha256"] == hashlib.sha256(weights).hexdigest()


def test_the_metrics_say_what_was_measured_and_how(study: optuna.Study) -> None:
    final = finalize(study, TASK, SPACE, TRAINER, folder="here")
    metrics = json.loads(Path("here/metrics.json").read_text())

    assert metrics["metric"] == "accuracy"
    assert metrics["direction"] == "maximize"
    assert metrics["validation_value"] == study.best_value
    assert metrics["test_value"] == final.test_value
    assert metrics["test_uses"] == final.test_uses
    assert metrics["trial"] == study.best_trial.number
    assert metrics["study"] == study.study_name
    assert metrics["epochs"] == 2
    assert metrics["trainer"]["batch_size"] == 32
    assert metrics["versions"]["torch"] == torch.__version__


def test_the_settings_of_the_architecture_are_in_the_metrics() -> None:
    space = ToySpace(has_rate=True)
    study = named_study("rates", space)
    finalize(study, TASK, space, TRAINER, folder="here")
    metrics = json.loads(Path("here/metrics.json").read_text())

    assert metrics["trainer"]["learning_rate"] == study.best_params["learning_rate"]


def not_trained(epoch: int, value: float) -> bool:
    raise AssertionError("something was trained")


@pytest.mark.parametrize("name", ["full", "empty", "a file", "a broken link"])
def test_a_folder_that_exists_is_refused_before_training(
    study: optuna.Study, tmp_path: Path, name: str
) -> None:
    Path("full").mkdir()
    Path("full/thesis.txt").write_text("years of work")
    Path("empty").mkdir()
    Path("a file").write_text("mine")
    Path("a broken link").symlink_to("nowhere")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(ExportError, match=r"exists. Choose another folder"):
        finalize(study, TASK, SPACE, TRAINER, folder=name, on_epoch=not_trained)
    assert sorted(tmp_path.rglob("*")) == before
    assert Path("full/thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("folder", ["missing/folder", "x" * 300, "with\0null", "/proc/folder"])
def test_a_folder_that_cannot_be_made_is_refused_before_training(
    study: optuna.Study, tmp_path: Path, folder: str
) -> None:
    with pytest.raises(ExportError, match="or choose another folder") as caught:
        finalize(study, TASK, SPACE, TRAINER, folder=folder, on_epoch=not_trained)
    assert caught.value.result is None
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_cannot_be_written_is_not_lost(study: optuna.Study) -> None:
    Path("drive").mkdir()
    study.set_user_attr("test_value", None)

    def unplug(epoch: int, value: float) -> bool:
        shutil.rmtree("drive", ignore_errors=True)
        return False

    with pytest.raises(ExportError, match="trained network is this error's result") as caught:
        finalize(study, TASK, SPACE, TRAINER, folder="drive/best", on_epoch=unplug)
    final = caught.value.result
    assert isinstance(final, FinalNetwork)
    assert final.test_value == TRAINER.evaluate(final.network, TASK, TASK.test)
    assert study.user_attrs["test_value"] == final.test_value


def test_a_folder_that_appears_during_training_is_left_alone(study: optuna.Study) -> None:
    def intrude(epoch: int, value: float) -> bool:
        Path("best").mkdir(exist_ok=True)
        return False

    final = finalize(study, TASK, SPACE, TRAINER, folder="best", on_epoch=intrude)

    assert final.folder.name == "best-2"
    assert os.listdir("best") == []
    assert study.user_attrs["final_folder"] == "best-2"


def test_a_space_that_cannot_build_any_longer_is_named(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ToySpace, architecture: Architecture, task: Any) -> torch.nn.Module:
        raise KeyError("width_0")

    monkeypatch.setattr(ToySpace, "describe", lambda *_: {})
    monkeypatch.setattr(ToySpace, "build", broken)

    with pytest.raises(StudyError, match=r"ToySpace to build .* got KeyError: 'width_0'"):
        finalize(study, TASK, SPACE, TRAINER)
    assert os.listdir() == []


def test_a_diverged_network_is_not_exported(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = ToySpace.build
    monkeypatch.setattr(ToySpace, "build", lambda *args: Diverging(build(*args)))

    with pytest.raises(TrainingError):
        finalize(study, TASK, SPACE, TRAINER)
    assert os.listdir() == []


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_network_on_a_gpu_is_exported_from_a_copy(study: optuna.Study) -> None:
    final = finalize(study, TASK, SPACE, Trainer(epochs=2, batch_size=32, device="cuda"))
    inputs = TASK.prepare(TASK.test.inputs)
    loaded = load_model(final.folder, space=SPACE)

    assert next(final.network.parameters()).is_cuda
    with torch.no_grad():
        wanted = final.network(inputs.cuda()).cpu()
    torch.testing.assert_close(loaded(inputs).detach(), wanted, atol=1e-2, rtol=1e-2)


def test_uses_of_the_test_split_are_counted_and_said(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    study = named_study("three")
    uses, said = [], []
    for _ in range(3):
        caplog.clear()
        final = finalize(study, TASK, SPACE, TRAINER)
        metrics = json.loads((final.folder / "metrics.json").read_text())
        uses.append((final.test_uses, metrics["test_uses"], study.user_attrs["test_uses"]))
        said.append(caplog.text.partition("has been used ")[2].partition(".")[0])
    assert uses == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]
    assert said == ["", "once before", "2 times before"]
    assert "(split used 3 times)" in repr(final)
    assert "evaluated on the test data 3 times" in (final.folder / "README.md").read_text()


def test_a_test_value_of_an_earlier_version_is_one_use(caplog: pytest.LogCaptureFixture) -> None:
    study = named_study("earlier")
    study.set_user_attr("test_value", 0.5)
    assert finalize(study, TASK, SPACE, TRAINER).test_uses == 2
    assert "has been used once before" in caplog.text


def test_a_retraining_that_fails_does_not_use_the_test_split() -> None:
    study = named_study("hasty")
    hasty = Trainer(epochs=2, batch_size=32, time_limit_seconds=1e-9)
    with pytest.raises(TrainingError, match="after 0 epochs"):
        finalize(study, TASK, SPACE, hasty)
    assert "test_uses" not in study.user_attrs


def test_the_retraining_says_its_size_its_time_and_its_end(
    study: optuna.Study, capfd: pytest.CaptureFixture[str]
) -> None:
    finalize(study, TASK, SPACE, TRAINER)
    lines = capfd.readouterr().err.splitlines()
    first = r"Retraining: \d+ parameters, [\d,]+ multiply-accumulates, 2 epochs, about \d+ s"
    assert re.fullmatch(first, lines[0])
    assert re.fullmatch(r"Retraining: epoch 2/2, loss \d\.\d{3} after \d+ s", lines[1])


def test_nothing_is_printed(study: optuna.Study, capfd: pytest.CaptureFixture[str]) -> None:
    finalize(study, TASK, SPACE, TRAINER, progress="quiet")

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("space", [CellSpace(), ConvNetSpace()], ids=lambda s: type(s).__name__)
def test_the_folder_gives_the_network_s_outputs_bit_for_bit(
    space: SearchSpace, tmp_path: Path
) -> None:
    task = digits()
    study = create_study(task, space, limits={"parameters": 4e4}, seed=0)
    study.optimize(Objective(task, space, Trainer(epochs=1)), n_trials=1)

    final = finalize(study, task, space, Trainer(epochs=1), folder=tmp_path / "final")

    inputs = task.prepare(task.test.inputs)
    with torch.inference_mode():
        expected = final.network(inputs)
        assert torch.equal(load_model(final.folder)(inputs), expected)
        names = runpy.run_path(str(final.folder / "network.py"))
        assert torch.equal(names["load"]()(inputs), expected)
