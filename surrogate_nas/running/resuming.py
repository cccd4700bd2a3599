"""A trial and its process: the lock while it runs, its repeat when it is interrupted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import weakref
from pathlib import Path

import optuna
from optuna.exceptions import OptunaError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from surrogate_nas.attributes import INTERRUPTED, LOCK, STOP_REASON
from surrogate_nas.errors import TrainingError
from surrogate_nas.running.processes.remote_trial import RemoteTrial, study_name
from surrogate_nas.storage.locking_storage import holds_lock
from surrogate_nas.storage.optuna_private import id_of, storage_of
from surrogate_nas.storage.places import lock_folder
from surrogate_nas.storage.process_locks import NoLocksError, RunningLock
from surrogate_nas.storage.recovery import is_given_up, recover, requeue
from surrogate_nas.storage.repeats import effective_number, origin

_logger = logging.getLogger(__name__)


def random_number(trial: optuna.trial.BaseTrial) -> int:
    """Return the number that a trial's random numbers are drawn by.

    It is the trial's number in a study in which no trial has been interrupted.
    """
    if isinstance(trial, optuna.Trial):
        return effective_number(trial, trial.study.get_trials(deepcopy=False))
    return trial.effective_number if isinstance(trial, RemoteTrial) else trial.number


def checkpoint_path(
    folder: Path, trial: optuna.trial.BaseTrial | FrozenTrial, study: str | None = None
) -> Path:
    """Return the path of the checkpoint of a trial's training, which its repeats share.

    Args:
        folder: Folder for checkpoints.
        trial: The trial.
        study: Name of its study, where the trial does not know it.
    """
    name = study_name(trial) if study is None else study
    facts = [name, origin(trial), sorted(trial.params.items())]
    digest = hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()
    return folder / f"trial-{origin(trial)}-{digest[:16]}.safetensors"


def forget_checkpoints(folder: Path, study: optuna.Study) -> None:
    """Delete the checkpoints of architectures that were given up: nobody goes on from them."""
    found = set(folder.glob("trial-*.safetensors"))
    for trial in study.get_trials(deepcopy=False) if found else ():
        if is_given_up(trial):
            _delete(found & {checkpoint_path(folder, trial, study.study_name)})


def forget_checkpoint(folder: Path | None, trial: optuna.trial.BaseTrial) -> None:
    """Delete the checkpoint of a trial that is given up."""
    _delete(set() if folder is None else {checkpoint_path(folder, trial)})


def _delete(paths: set[Path]) -> None:
    """Delete files; one that cannot be deleted is a warning in the log."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            _logger.warning("The checkpoint %s cannot be deleted: %s", path, error)


def interrupt(trial: optuna.trial.BaseTrial) -> None:
    """Note that a trial is being interrupted, and put its repeat into the queue of its study."""
    trial.set_user_attr(STOP_REASON, INTERRUPTED)
    if isinstance(trial, optuna.Trial):
        storage = storage_of(trial.study)
        requeue(storage, id_of(trial.study), storage.get_trial(id_of(trial)))


def begin(trial: optuna.Trial, checkpoints: Path | None) -> None:
    """Hold a lock for a running trial, and look for trials whose process has died.

    The lock is released when the trial has finished. Studies in memory need none, unless there
    are checkpoints.

    Args:
        trial: Trial that has just begun.
        checkpoints: Folder for checkpoints, where the lock lies if the storage holds none; None
            leaves the folder to the storage.

    Raises:
        TrainingError: The folder for checkpoints cannot be written.
    """
    storage = storage_of(trial.study)
    folder = lock_folder(storage) if checkpoints is None else checkpoints
    if folder is None:
        return
    recover(storage, id_of(trial.study))
    try:
        if checkpoints is not None:
            checkpoints.mkdir(parents=True, exist_ok=True)
            forget_checkpoints(checkpoints, trial.study)
        if not holds_lock(storage, id_of(trial)):
            _lock(trial, folder)
    except OSError as error:
        if checkpoints is None:
            return  # the trial runs without a lock
        raise TrainingError(
            expected="a folder for checkpoints that can be written",
            got=f"{str(folder)!r}: {error}",
            fix="give the Objective another folder as checkpoints",
        ) from error


_locks: weakref.WeakKeyDictionary[optuna.Trial, RunningLock] = weakref.WeakKeyDictionary()
"""Locks of trials whose storage holds none."""


def _lock(trial: optuna.Trial, folder: Path) -> None:
    """Hold a lock for a trial, where files can be locked."""
    if trial in _locks:
        return
    storage = storage_of(trial.study)
    with contextlib.suppress(NoLocksError):
        lock = RunningLock(folder)
        storage.set_trial_system_attr(id_of(trial), LOCK, str(lock.path))
        # NOTE: Optuna lets go of the trial after it has told the storage how the trial ended.
        # Released earlier, the lock would be missing if the process died in between.
        _locks[trial] = lock
        weakref.finalize(trial, _release, storage, id_of(trial), lock)


def _release(storage: BaseStorage, trial_id: int, lock: RunningLock) -> None:
    """Release the lock of a trial that has finished.

    The file of another one stays, without a lock: it says that the trial is dead.
    """
    with contextlib.suppress(OSError, KeyError, SQLAlchemyError, OptunaError):
        if storage.get_trial(trial_id).state.is_finished():
            lock.release()
