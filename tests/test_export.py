from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
import torch

from surrogate_nas.errors import StudyError, TrainingError
from surrogate_nas.export import finalize
from surrogate_nas.objective import Objective
from surrogate_nas.space import Architecture
from surrogate_nas.study import create_study
from surrogate_nas.train import StopReason, Trainer
from tests import synthetic
from tests.toys import ToySpace, ToyTask

TASK = ToyTask()
SPACE = ToySpace()
TRAINER = Trainer(epochs=2, batch_size=32, seed=3)


def studied(n_trials: int = 3, space: ToySpace = SPACE) -> optuna.Study:
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    study.optimize(Objective(TASK, space, TRAINER), n_trials=n_trials)
    return study


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

    with pytest.raises(TrainingError, match="after 0 with"):
        finalize(study, TASK, SPACE, TRAINER)
    assert study.user_attrs["test_value"] == 0.25


def test_a_retraining_without_time_is_an_error(study: optuna.Study) -> None:
    hasty = Trainer(epochs=2, batch_size=32, time_limit_seconds=1e-9)

    with pytest.raises(TrainingError, match="more time"):
        finalize(study, TASK, SPACE, hasty)
