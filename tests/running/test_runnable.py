from __future__ import annotations

import optuna
import pytest
from optuna.trial import FixedTrial, TrialState

import surrogate_nas as sn
from surrogate_nas.errors import StudyError
from surrogate_nas.running.runnable import (
    PlainObjective,
    as_objective,
    check_direction,
    note_settings,
)
from tests.helpers.toys import ToySpace, ToyTask


def plain(trial: optuna.trial.BaseTrial) -> float:
    return trial.suggest_float("x", 0, 1)


def interrupted(trial: optuna.trial.BaseTrial) -> float:
    trial.suggest_float("x", 0, 1)
    raise KeyboardInterrupt


def test_an_objective_is_one_already() -> None:
    objective = sn.Objective(ToyTask(), ToySpace())
    assert as_objective(objective) is objective
    wrapped = as_objective(plain)
    assert isinstance(wrapped, PlainObjective)
    assert as_objective(wrapped) is wrapped


def test_a_plain_function_knows_nothing_of_trainings() -> None:
    """It returns what it returns, on any study and any device."""
    wrapped = as_objective(plain)
    assert wrapped(FixedTrial({"x": 0.25})) == 0.25
    found = (wrapped.training, wrapped.pages, wrapped.checkpoint_folder, wrapped.device)
    assert found == (None, None, None, None)
    assert wrapped.progress is None
    assert wrapped.for_worker() is wrapped.on_device("cpu") is wrapped
    study = optuna.create_study(direction="minimize")
    check_direction(wrapped, study)
    note_settings(wrapped, study)
    assert study.user_attrs == {}


def test_an_objective_knows_its_training() -> None:
    objective = sn.Objective(ToyTask(), ToySpace(), sn.Trainer(device="cpu", epochs=3))
    assert objective.device == "cpu"
    assert objective.on_device("cuda:1").device == "cuda:1"
    study = optuna.create_study(direction="minimize")
    with pytest.raises(StudyError, match="the direction 'maximize'"):
        check_direction(objective, study)
    note_settings(objective, study)
    assert study.user_attrs["trainer"]["epochs"] == 3


def test_a_plain_function_that_is_interrupted_is_enqueued_again() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    with pytest.raises(KeyboardInterrupt):
        sn.optimize(study, interrupted, 1)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    sn.optimize(study, plain, 1)
    assert study.trials[1].params == study.trials[0].params
    assert study.trials[1].user_attrs["continues_trial"] == 0
