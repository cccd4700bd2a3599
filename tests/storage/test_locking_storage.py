from __future__ import annotations

import pickle
from pathlib import Path

import optuna
import pytest
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import TrialState

from surrogate_nas.attributes import LOCK
from surrogate_nas.storage.locking_storage import holds_lock
from surrogate_nas.storage.opening import open_storage
from surrogate_nas.storage.optuna_private import id_of
from surrogate_nas.storage.process_locks import lock_paths
from surrogate_nas.storage.recovery import recover

pytest.importorskip("fcntl", reason="files are locked where there is fcntl")

KINDS = ("sqlite", "object", "journal")


def opened(kind: str, folder: Path) -> BaseStorage:
    if kind == "object":
        return open_storage(RDBStorage(f"sqlite:///{folder}/nas.db"))
    names = {"sqlite": f"sqlite:///{folder}/nas.db", "journal": f"{folder}/nas.journal"}
    return open_storage(names[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_a_running_trial_holds_a_lock_until_it_has_finished(kind: str, tmp_path: Path) -> None:
    storage = opened(kind, tmp_path)
    study = optuna.create_study(storage=storage)
    trial = study.ask()
    assert holds_lock(storage, id_of(trial))
    (path,) = lock_paths(study.trials[0])
    assert path.parent == tmp_path / "nas-running"
    assert recover(storage, id_of(study)) == []
    study.tell(trial, 1.0)
    assert not holds_lock(storage, id_of(trial))
    assert not path.parent.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_from_the_queue_holds_one_too(kind: str, tmp_path: Path) -> None:
    storage = opened(kind, tmp_path)
    study = optuna.create_study(storage=storage)
    study.enqueue_trial({"x": 1})
    assert not lock_paths(study.trials[0])
    trial = study.ask()
    assert trial.number == 0
    assert len(lock_paths(study.trials[0])) == 1
    assert LOCK not in study.trials[0].system_attrs
    assert storage.set_trial_state_values(id_of(trial), TrialState.WAITING)
    assert not (tmp_path / "nas-running").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_who_comes_too_late_for_a_trial_leaves_its_lock(kind: str, tmp_path: Path) -> None:
    """Another process has taken it from the queue meanwhile."""
    first, second = opened(kind, tmp_path), opened(kind, tmp_path)
    study = optuna.create_study(storage=first, study_name="s")
    study.enqueue_trial({"x": 1})
    other = optuna.load_study(storage=second, study_name="s")
    (waiting,) = other.get_trials(states=(TrialState.WAITING,))
    study.ask()
    assert not second.set_trial_state_values(id_of(waiting), TrialState.RUNNING)
    assert len(lock_paths(study.trials[0])) == 1
    assert recover(second, id_of(other)) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_that_is_added_whole_needs_none(kind: str, tmp_path: Path) -> None:
    study = optuna.create_study(storage=opened(kind, tmp_path))
    study.add_trial(optuna.trial.create_trial(value=1.0))
    assert not (tmp_path / "nas-running").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_where_no_folder_can_be_made_trials_run_without(kind: str, tmp_path: Path) -> None:
    (tmp_path / "nas-running").touch()
    study = optuna.create_study(storage=opened(kind, tmp_path))
    study.enqueue_trial({"x": 1})
    study.optimize(lambda trial: trial.suggest_int("x", 0, 3), n_trials=2)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 2


def test_a_storage_is_sent_without_its_locks(tmp_path: Path) -> None:
    storage = opened("journal", tmp_path)
    study = optuna.create_study(storage=storage, study_name="s")
    trial = study.ask()
    again = pickle.loads(pickle.dumps(storage))
    assert not holds_lock(again, id_of(trial))
    assert len(optuna.load_study(storage=again, study_name="s").trials) == 1
