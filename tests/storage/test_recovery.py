from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas import attributes
from surrogate_nas.storage import recovery
from surrogate_nas.storage.optuna_private import id_of, storage_of
from surrogate_nas.storage.recovery import fail_dead, requeue
from tests.helpers.toys import ARCHITECTURE, ToySpace
from tests.helpers.untried_locks import UNTRIED

fcntl = pytest.importorskip("fcntl", reason="files are locked where there is fcntl")
FAIL, COMPLETE, WAITING = TrialState.FAIL, TrialState.COMPLETE, TrialState.WAITING


def recover(study: optuna.Study) -> list[int]:
    return recovery.recover(storage_of(study), id_of(study))


def note_lock(trial: optuna.Trial, lock: Path) -> None:
    """Say of a trial that it runs, with a lock that nobody holds."""
    lock.touch()
    set_system_attr(trial, attributes.LOCK, str(lock))


def set_system_attr(trial: optuna.Trial, name: str, value: Any) -> None:
    storage_of(trial.study).set_trial_system_attr(id_of(trial), name, value)


def stale(study: optuna.Study, lock: Path) -> optuna.Trial:
    """A trial whose process has died."""
    study.enqueue_trial(dict(ARCHITECTURE))
    trial = study.ask()
    ToySpace().suggest(trial)
    note_lock(trial, lock)
    return trial


def repeat_of(trial: optuna.Trial) -> FrozenTrial:
    """What is put into the queue for a trial that is interrupted now."""
    study = trial.study
    requeue(storage_of(study), id_of(study), study.get_trials()[trial.number])
    study.tell(trial, state=FAIL)
    return study.trials[-1]


def test_a_stale_trial_fails_and_is_enqueued(tmp_path: Path) -> None:
    """With its parameters and with the number of the first that evaluated them."""
    study = optuna.create_study()
    stale(study, tmp_path / "running-a.lock")
    assert recover(study) == [0]
    assert recover(study) == []
    assert [t.state for t in study.trials] == [FAIL, WAITING]
    again = study.trials[1]
    assert again.system_attrs["fixed_params"] == ARCHITECTURE
    assert again.user_attrs == {"continues_trial": 0, "attempt": 2}
    assert not (tmp_path / "running-a.lock").exists()


def test_an_architecture_that_kills_its_process_is_given_up(tmp_path: Path) -> None:
    """After three times, or the study would never end."""
    study = optuna.create_study()
    for attempt in range(1, 4):
        trial = study.ask() if study.trials else stale(study, tmp_path / "running-1.lock")
        if attempt > 1:
            ToySpace().suggest(trial)
            note_lock(trial, tmp_path / f"running-{attempt}.lock")
        assert recover(study) == [attempt - 1]
    assert [t.state for t in study.trials] == [FAIL] * 3
    assert study.trials[2].user_attrs["stop_reason"] == "its process died 3 times"
    assert study.trials[2].user_attrs["continues_trial"] == 0


@pytest.mark.parametrize("kind", UNTRIED)
def test_a_trial_whose_lock_cannot_be_tried_is_left_alone(kind: str, tmp_path: Path) -> None:
    """Its process may be training; once the lock can be tried, the trial is found."""
    study = optuna.create_study()
    stale(study, tmp_path / "running-a.lock")
    with UNTRIED[kind]():
        assert recover(study) == []
    assert [t.state for t in study.trials] == [TrialState.RUNNING]
    assert recover(study) == [0]


def test_trials_of_others_are_left_alone(tmp_path: Path) -> None:
    """Without a lock of ours, nobody knows."""
    study = optuna.create_study()
    study.ask()
    assert recover(study) == []
    trial = stale(study, tmp_path / "running-x.lock")
    with (tmp_path / "running-x.lock").open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert recover(study) == []
    study.tell(trial, 1.0)
    assert recover(study) == []


def test_a_trial_without_parameters_is_repeated_too(tmp_path: Path) -> None:
    """Its process died before anything was chosen; the repeat chooses by the same number."""
    study = optuna.create_study()
    trial = study.ask()
    note_lock(trial, tmp_path / "running-a.lock")
    assert recover(study) == [0]
    assert [t.state for t in study.trials] == [FAIL, WAITING]
    assert study.trials[1].user_attrs == {"continues_trial": 0, "attempt": 2}
    assert "fixed_params" not in study.trials[1].system_attrs


def test_a_process_that_dies_in_the_middle_of_a_recovery_leaves_nothing_lost(
    tmp_path: Path,
) -> None:
    """The trial has failed, and its repeat is not yet in the queue."""
    study = optuna.create_study()
    trial = stale(study, tmp_path / "running-a.lock")
    trial.set_user_attr(attributes.STOP_REASON, attributes.INTERRUPTED)
    study.tell(trial, state=FAIL)
    assert recover(study) == []
    assert [t.state for t in study.trials] == [FAIL, WAITING]
    assert study.trials[1].system_attrs["fixed_params"] == ARCHITECTURE
    assert recover(study) == []
    assert len(study.trials) == 2


def test_a_process_that_dies_in_the_middle_of_an_interruption_repeats_once(
    tmp_path: Path,
) -> None:
    """The repeat is in the queue, and the trial has not failed yet."""
    study = optuna.create_study()
    trial = stale(study, tmp_path / "running-a.lock")
    requeue(storage_of(study), id_of(study), study.trials[0])
    trial.set_user_attr(attributes.STOP_REASON, attributes.INTERRUPTED)
    assert recover(study) == [0]
    assert [t.state for t in study.trials] == [FAIL, WAITING]


def test_a_trial_that_another_process_has_finished_is_not_repeated() -> None:
    study = optuna.create_study()
    trial = study.ask()
    before = study.trials[0]
    study.tell(trial, 1.0)
    assert not fail_dead(storage_of(study), id_of(study), before)
    assert [t.state for t in study.trials] == [COMPLETE]


def test_a_repeat_has_the_whole_plan_of_the_trial() -> None:
    """And what was predicted, and what the base sampler keeps with its suggestion."""
    study = optuna.create_study()
    trial = study.ask()
    ToySpace().suggest(trial)
    set_system_attr(trial, attributes.PLANNED_PARAMS, {**trial.params, "extra": 1})
    set_system_attr(trial, "NSGAIISampler:generation", 3)
    for number, name in enumerate((attributes.N_CANDIDATES, attributes.PREDICTED_VALUE)):
        trial.set_user_attr(name, number)
    trial.set_user_attr(attributes.EPOCHS, 7)
    repeat = repeat_of(trial)
    assert repeat.system_attrs[attributes.FIXED_PARAMS] == {**trial.params, "extra": 1}
    assert repeat.system_attrs["NSGAIISampler:generation"] == 3
    assert repeat.user_attrs == {
        attributes.CONTINUES_TRIAL: 0,
        attributes.N_CANDIDATES: 0,
        attributes.PREDICTED_VALUE: 1,
    }


@pytest.mark.parametrize(
    "name", [attributes.WORKER, attributes.LOCK, "completed_rung_0", "constraints:a"]
)
def test_a_repeat_has_nothing_that_belongs_to_one_attempt(name: str) -> None:
    trial = optuna.create_study().ask()
    set_system_attr(trial, name, "x")
    assert name not in repeat_of(trial).system_attrs


def test_a_choice_that_was_not_written_down_whole_is_made_again() -> None:
    """Its plan is there, but not what the sampler writes last."""
    study = optuna.create_study()
    study.enqueue_trial({"width": 4})
    trial = study.ask()
    set_system_attr(trial, attributes.PLANNED_PARAMS, {"width": 4, "depth": 1})
    set_system_attr(trial, "NSGAIISampler:generation", 3)
    assert repeat_of(trial).system_attrs == {attributes.FIXED_PARAMS: {"width": 4}}
