from __future__ import annotations

import logging
import math
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import final

import optuna
import pytest
import torch
from optuna.trial import TrialState
from torch import nn

from surrogate_nas.errors import StudyError, TrainingError
from surrogate_nas.running.objective import Objective
from surrogate_nas.space import Architecture, SearchSpace, TaskShape
from surrogate_nas.task import Direction
from surrogate_nas.training import run as train_module
from surrogate_nas.training.trainer import Trainer
from tests.helpers.toys import ARCHITECTURE, Clock, ToySpace, ToyTask

pytestmark = pytest.mark.usefixtures("quick_processes")

TASK = ToyTask()
SHORT = Trainer(epochs=2, batch_size=32)


@pytest.fixture
def study() -> optuna.Study:
    return new_study()


def new_study(pruner: optuna.pruners.BasePruner | None = None) -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=0)
    pruner = pruner or optuna.pruners.NopPruner()
    return optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)


def states(study: optuna.Study) -> list[TrialState]:
    return [trial.state for trial in study.trials]


@final
class Broken(SearchSpace):
    """Builds networks that fail in a chosen way for chosen values of ``x``.

    Args:
        how: the name of a fault; see build and Fault.
        bad: Values of x in 0..9 for which it does; the others work.
    """

    def __init__(self, how: str, bad: tuple[int, ...] = tuple(range(10))) -> None:
        self.how = how
        self.bad = bad

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {"x": trial.suggest_int("x", 0, 9)}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        network = ToySpace().build(ARCHITECTURE, task)
        if architecture["x"] not in self.bad:
            return network
        if self.how == "build":
            raise ValueError("no such layer")
        if self.how == "infeasible":
            raise optuna.TrialPruned
        return Fault(self.how, network)

    def describe(self, architecture: Architecture) -> dict[str, float]:
        return {"parameters": 1.0}


class Fault(nn.Module):
    def __init__(self, how: str, inner: nn.Module) -> None:
        super().__init__()
        self.how = how
        self.inner = inner
        self.n_passes = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        outputs: torch.Tensor = self.inner(inputs)
        self.n_passes += self.training
        match self.how:
            case "forward":
                raise RuntimeError("size mismatch")
            case "shape":
                return outputs[:, :2]
            case "nan":
                return outputs * math.nan
            case "nan later" if self.n_passes > 5:  # five batches an epoch
                return outputs * math.nan
            case "interrupt" if self.n_passes > 5:
                raise KeyboardInterrupt
        return outputs


def test_a_study_completes_with_flat_attributes(study: optuna.Study) -> None:
    space = ToySpace()
    study.optimize(Objective(TASK, space, SHORT), n_trials=3)
    for trial in study.trials:
        assert trial.state is TrialState.COMPLETE
        assert trial.value == trial.intermediate_values[1]
        assert list(trial.intermediate_values) == [0, 1]
        architecture = space.from_params(trial.params)
        expected = space.for_task(TASK).describe(architecture)
        attrs = trial.user_attrs
        assert {name: attrs[name] for name in expected} == expected
        assert attrs["architecture"] == space.summary(architecture)
        assert attrs["stop_reason"] == "finished"
        assert attrs["epochs"] == 2
        assert attrs["train_seconds"] > 0
        assert attrs["rows_per_second"] > 0
        assert len(attrs) <= 10
        assert all(isinstance(v, int | float | str) for v in attrs.values())


def test_the_same_study_twice_is_the_same_and_leaves_random_state_alone() -> None:
    before = torch.get_rng_state()
    values = []
    for seed in (0, 0, 1):
        study = new_study()
        objective = Objective(TASK, ToySpace(dropout=0.5), Trainer(epochs=1, seed=seed))
        study.optimize(objective, n_trials=3)
        values.append([trial.value for trial in study.trials])
    assert values[0] == values[1]
    assert values[0] != values[2]
    assert torch.equal(before, torch.get_rng_state())


def test_trials_of_one_architecture_differ_by_their_number(study: optuna.Study) -> None:
    study.enqueue_trial(dict(ARCHITECTURE))
    study.enqueue_trial(dict(ARCHITECTURE))
    trainer = Trainer(epochs=1, learning_rate=0.002)
    study.optimize(Objective(TASK, ToySpace(), trainer), n_trials=2)
    assert study.trials[0].params == study.trials[1].params
    assert study.trials[0].value != study.trials[1].value


def test_an_architectures_own_learning_rate_is_used() -> None:
    values = [
        Objective(TASK, ToySpace(has_rate=True), Trainer(epochs=4, batch_size=16))(
            optuna.trial.FixedTrial({**ARCHITECTURE, "learning_rate": rate})
        )
        for rate in (0.001, 0.1)
    ]
    assert values[0] < values[1]


def test_a_fixed_trial_works_and_keeps_its_attributes() -> None:
    trial = optuna.trial.FixedTrial(dict(ARCHITECTURE))
    value = Objective(TASK, ToySpace(), Trainer(epochs=8, batch_size=16))(trial)
    assert value > 0.9
    assert trial.user_attrs["stop_reason"] == "finished"


@final
class PrunesAt(optuna.pruners.BasePruner):
    def __init__(self, step: int) -> None:
        self.step = step

    def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
        return trial.last_step == self.step


def test_a_pruner_stops_a_trial() -> None:
    study = new_study(PrunesAt(1))
    study.optimize(Objective(TASK, ToySpace(), Trainer(epochs=5)), n_trials=1)
    (trial,) = study.trials
    assert trial.state is TrialState.PRUNED
    assert list(trial.intermediate_values) == [0, 1]
    assert trial.value == trial.intermediate_values[1]
    assert trial.user_attrs["stop_reason"] == "pruned"
    assert trial.user_attrs["epochs"] == 2


@pytest.mark.parametrize(
    "pruner",
    [
        optuna.pruners.MedianPruner(n_startup_trials=2),
        optuna.pruners.SuccessiveHalvingPruner(),
        optuna.pruners.HyperbandPruner(max_resource=4),
        optuna.pruners.PercentilePruner(50.0, n_startup_trials=2),
        optuna.pruners.ThresholdPruner(lower=0.9, n_warmup_steps=1),
    ],
)
def test_optunas_pruners_work(pruner: optuna.pruners.BasePruner) -> None:
    study = new_study(pruner)
    trainer = Trainer(epochs=4, batch_size=144, learning_rate=0.003)
    study.optimize(Objective(TASK, ToySpace(), trainer), n_trials=6)
    assert set(states(study)) <= {TrialState.COMPLETE, TrialState.PRUNED}
    assert TrialState.PRUNED in states(study)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("build", "error: ValueError: no such layer"),
        ("forward", "error: RuntimeError: size mismatch"),
        ("shape", "error: TrainingError: Expected a network whose output has shape (32, 3)"),
    ],
)
def test_an_error_fails_its_trial_and_not_the_study(
    how: str, reason: str, study: optuna.Study, caplog: pytest.LogCaptureFixture
) -> None:
    for x in (0, 1, 0, 0, 0):
        study.enqueue_trial({"x": x})
    with caplog.at_level(logging.WARNING, logger="surrogate_nas"):
        study.optimize(Objective(TASK, Broken(how, bad=(0,)), SHORT), n_trials=5)
    fail, complete = TrialState.FAIL, TrialState.COMPLETE
    assert states(study) == [fail, complete, fail, fail, fail]
    assert study.trials[0].user_attrs["stop_reason"].startswith(reason)
    record = next(r for r in caplog.records if r.name.startswith("surrogate_nas"))
    assert record.levelno == logging.WARNING
    assert record.exc_info is not None
    assert reason.split(": ")[1] in str(record.exc_info[0])


@pytest.mark.parametrize("how", ["build", "forward", "shape"])
def test_an_error_of_the_first_three_trials_is_a_bug(how: str, study: optuna.Study) -> None:
    error = {"build": ValueError, "forward": RuntimeError, "shape": TrainingError}[how]
    with pytest.raises(error, match=r"no such layer|size mismatch|output has shape"):
        study.optimize(Objective(TASK, Broken(how), SHORT), n_trials=50)
    assert states(study) == [TrialState.FAIL] * 3
    assert study.trials[2].user_attrs["stop_reason"].startswith("error: ")


def test_failures_of_other_kinds_do_not_make_a_bug(study: optuna.Study) -> None:
    study.optimize(Objective(TASK, Broken("nan"), SHORT), n_trials=3)
    study.optimize(Objective(TASK, Broken("build"), SHORT), n_trials=2)
    assert states(study) == [TrialState.FAIL] * 5


def test_a_pruned_trial_shows_that_the_code_works() -> None:
    study = new_study(PrunesAt(0))
    study.optimize(Objective(TASK, ToySpace(), SHORT), n_trials=1)
    study.optimize(Objective(TASK, Broken("build"), SHORT), n_trials=4)
    assert states(study) == [TrialState.PRUNED] + [TrialState.FAIL] * 4


def test_a_space_may_prune_what_it_cannot_build(study: optuna.Study) -> None:
    study.optimize(Objective(TASK, Broken("infeasible"), SHORT), n_trials=1)
    assert states(study) == [TrialState.PRUNED]


def test_an_error_outside_a_study_is_raised() -> None:
    trial = optuna.trial.FixedTrial({"x": 0})
    with pytest.raises(ValueError, match="no such layer"):
        Objective(TASK, Broken("build"), SHORT)(trial)


def test_a_loss_that_is_never_finite_fails_the_trial(
    study: optuna.Study, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="surrogate_nas"):
        study.optimize(Objective(TASK, Broken("nan"), SHORT), n_trials=4)
    assert states(study) == [TrialState.FAIL] * 4
    assert study.trials[0].user_attrs["stop_reason"] == "loss is not finite"
    assert study.trials[0].user_attrs["epochs"] == 0
    assert any("loss is not finite" in r.getMessage() for r in caplog.records)


def test_a_loss_that_becomes_infinite_prunes_the_trial(study: optuna.Study) -> None:
    study.optimize(Objective(TASK, Broken("nan later"), SHORT), n_trials=1)
    (trial,) = study.trials
    assert trial.state is TrialState.PRUNED
    assert trial.user_attrs["stop_reason"] == "loss is not finite"
    assert trial.value == trial.intermediate_values[0]


@pytest.mark.parametrize(("limit", "state"), [(4.0, TrialState.FAIL), (15.0, TrialState.COMPLETE)])
def test_the_time_limit_keeps_the_value_reached(
    limit: float, state: TrialState, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_module, "time", Clock())
    trainer = Trainer(epochs=20, batch_size=30, time_limit_seconds=limit)
    study.optimize(Objective(TASK, ToySpace(), trainer), n_trials=1)
    (trial,) = study.trials
    assert trial.state is state
    assert trial.user_attrs["stop_reason"] == "time limit"
    assert trial.user_attrs["epochs"] == len(trial.intermediate_values) < 20
    if state is TrialState.COMPLETE:
        assert trial.value == trial.intermediate_values[max(trial.intermediate_values)]


@pytest.mark.parametrize("directions", [["minimize"], ["maximize"] * 2])
def test_a_study_of_another_direction_is_refused(directions: list[Direction]) -> None:
    study = optuna.create_study(directions=directions)
    with pytest.raises(StudyError, match="direction='maximize'"):
        study.optimize(Objective(TASK, ToySpace(), SHORT), n_trials=1)


def test_an_interrupted_trial_is_tried_again(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 3})
    with pytest.raises(KeyboardInterrupt):
        study.optimize(Objective(TASK, Broken("interrupt"), SHORT), n_trials=2)
    assert states(study) == [TrialState.FAIL, TrialState.WAITING]
    assert study.trials[0].user_attrs["stop_reason"] == "interrupted"
    assert study.trials[1].user_attrs == {"continues_trial": 0}
    study.optimize(Objective(TASK, Broken("none"), SHORT), n_trials=1)
    assert states(study) == [TrialState.FAIL, TrialState.COMPLETE]
    assert study.trials[1].params == {"x": 3}


def test_an_interrupted_fixed_trial_has_no_queue() -> None:
    trial = optuna.trial.FixedTrial({"x": 0})
    with pytest.raises(KeyboardInterrupt):
        Objective(TASK, Broken("interrupt"), SHORT)(trial)
    assert trial.user_attrs["stop_reason"] == "interrupted"


COMMAND = """
import sys, optuna, torch
from surrogate_nas.running.objective import Objective
from surrogate_nas.training.trainer import Trainer
from tests.helpers.toys import ToySpace, ToyTask
torch.set_num_threads(1)
study = optuna.create_study(
    storage=sys.argv[1], study_name="s", direction="maximize", load_if_exists=True
)
trainer = Trainer(epochs=int(sys.argv[2]))
study.optimize(Objective(ToyTask(), ToySpace(), trainer), n_trials=1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent by os.kill")
def test_ctrl_c_leaves_a_study_that_continues(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path / 'nas.db'}"
    command = [sys.executable, "-c", COMMAND, storage]
    # Made here too: its trials are watched below.
    study = optuna.create_study(storage=storage, study_name="s", direction="maximize")
    process = subprocess.Popen([*command, "100000"], stderr=subprocess.PIPE, text=True)
    try:
        _wait_for_a_report(study)
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    finally:
        process.kill()
    assert "KeyboardInterrupt" in errors
    assert process.returncode != 0
    assert states(study) == [TrialState.FAIL, TrialState.WAITING]
    interrupted = study.trials[0]
    assert interrupted.user_attrs["stop_reason"] == "interrupted"

    subprocess.run([*command, "1"], check=True, capture_output=True)
    assert states(study) == [TrialState.FAIL, TrialState.COMPLETE]
    assert study.trials[1].params == interrupted.params


def _wait_for_a_report(study: optuna.Study) -> None:
    """Wait until the running trial has reported an epoch."""
    for _ in range(1200):
        time.sleep(0.1)
        if study.trials and study.trials[0].intermediate_values:
            return
    raise AssertionError("the trial never began")


def test_an_objective_survives_pickling() -> None:
    objective = Objective(TASK, ToySpace(), SHORT)
    copy = pickle.loads(pickle.dumps(objective))
    params = dict(ARCHITECTURE)
    assert copy(optuna.trial.FixedTrial(params)) == objective(optuna.trial.FixedTrial(params))


def test_the_trainer_has_a_default() -> None:
    assert Objective(TASK, ToySpace()).trainer == Trainer()
