"""Limits that are set later, and training settings that change, reach a study's later trials."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from optuna.trial import TrialState

import surrogate_nas as sn
from surrogate_nas.attributes import counts
from surrogate_nas.running.set_aside import set_aside_waiting
from tests.helpers.toys import ToySpace, ToyTask

LARGEST = {"width": 8, "kernel": 3, "activation": "relu", "depth": 2, "second_width": 8}
LIMIT = 700
"""Fewer parameters than the largest architecture has, and more than those with one layer have."""


def test_a_waiting_trial_beyond_a_later_limit_is_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = f"sqlite:///{tmp_path / 'a.db'}"
    first = sn.create_study(ToyTask(), ToySpace(), storage=storage, study_name="a", seed=0)
    first.enqueue_trial(LARGEST)
    again = sn.create_study(
        ToyTask(),
        ToySpace(),
        storage=storage,
        study_name="a",
        limits={"parameters": LIMIT},
        seed=0,
    )

    (trial,) = again.trials
    assert trial.state is TrialState.FAIL
    assert trial.user_attrs["stop_reason"].startswith("set aside: parameters <= ")
    assert not counts(trial)
    assert "Trial 0 is set aside" in caplog.text
    assert set_aside_waiting(again) == []


def test_a_trial_that_is_enqueued_beyond_a_limit_is_not_trained() -> None:
    study = sn.create_study(ToyTask(), ToySpace(), limits={"parameters": LIMIT}, seed=0)
    study.enqueue_trial(LARGEST)
    study.optimize(sn.Objective(ToyTask(), ToySpace(), sn.Trainer(epochs=1)), n_trials=2)

    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    assert "train_seconds" not in study.trials[0].user_attrs


def test_other_trials_are_left_in_the_queue() -> None:
    study = sn.create_study(ToyTask(), ToySpace(), limits={"parameters": 779}, seed=0)
    study.enqueue_trial(LARGEST)
    study.enqueue_trial({"unknown": 1})

    assert set_aside_waiting(study) == []
    assert [trial.state for trial in study.trials] == [TrialState.WAITING] * 2


def test_changed_settings_are_told_once_and_recorded_by_trial(
    caplog: pytest.LogCaptureFixture,
) -> None:
    task, space = ToyTask(), ToySpace()
    study = sn.create_study(task, space, study_name="changed settings", seed=0)
    study.optimize(sn.Objective(task, space, sn.Trainer(epochs=1)), n_trials=1)
    with caplog.at_level(logging.WARNING, "surrogate_nas"):
        later = sn.Objective(task, space, sn.Trainer(epochs=2, batch_size=32, device="cpu"))
        study.optimize(later, n_trials=2)

    said = "epochs from 1 to 2, batch_size from 64 to 32"
    told = [trial.user_attrs.get("trainer_changes") for trial in study.trials]
    assert told == [None, said, said]
    assert caplog.text.count(said) == 1
    assert study.user_attrs["trainer"]["epochs"] == 1
