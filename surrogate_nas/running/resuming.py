"""Trials whose process was stopped or died: found, failed, and put first in the queue again.

A trial that runs holds a lock on a file of its own. The operating system takes the lock away
when the process ends, however it ends; so a trial that says it runs but whose lock is free is
stale. Where files cannot be locked (Windows), or the file is on another machine, nothing is
found, and such trials stay as they are.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas import attributes
from surrogate_nas.attributes import INTERRUPTED
from surrogate_nas.errors import TrainingError
from surrogate_nas.running.processes.remote_trial import study_name
from surrogate_nas.storage.optuna_private import (
    set_trial_system_attr,
    set_trial_user_attr,
    stored_trial,
)

if sys.platform != "win32":
    import fcntl

_logger = logging.getLogger(__name__)

_MOST_ATTEMPTS = 3
"""An architecture in whose trials so many processes died is given up."""


def origin(trial: optuna.trial.BaseTrial) -> int:
    """Return the number of the trial that this one evaluates again; its own if it is new."""
    number = trial.user_attrs.get(attributes.CONTINUES_TRIAL, trial.number)
    return number if isinstance(number, int) else trial.number


def checkpoint_path(folder: Path, trial: optuna.trial.BaseTrial) -> Path:
    """Return where the training of a trial, and of its repetitions, has its checkpoint."""
    facts = [study_name(trial), origin(trial), sorted(trial.params.items())]
    digest = hashlib.sha256(json.dumps(facts, default=str).encode()).hexdigest()
    return folder / f"trial-{origin(trial)}-{digest[:16]}.safetensors"


def enqueue_again(trial: optuna.trial.BaseTrial) -> None:
    """Put the parameters of a trial that is being stopped first in the queue of its study."""
    trial.set_user_attr(attributes.STOP_REASON, INTERRUPTED)
    if isinstance(trial, optuna.Trial) and trial.params:
        attrs = {attributes.CONTINUES_TRIAL: origin(trial)}
        if attributes.ATTEMPT in trial.user_attrs:
            attrs[attributes.ATTEMPT] = trial.user_attrs[attributes.ATTEMPT]
        trial.study.enqueue_trial(trial.params, user_attrs=attrs)


@contextmanager
def running(folder: Path, trial: optuna.Trial) -> Iterator[None]:
    """Hold the lock that says that a trial runs.

    Raises:
        TrainingError: The folder cannot be written.
    """
    path, file = _new_file(folder)
    with file:
        try:
            if _take(file):
                set_trial_system_attr(trial.study, trial, attributes.LOCK, str(path))
            yield
        finally:
            path.unlink(missing_ok=True)


def _new_file(folder: Path) -> tuple[Path, IO[bytes]]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder.resolve() / f"running-{uuid.uuid4().hex}.lock"
        return path, path.open("xb")
    except OSError as error:
        raise TrainingError(
            expected="a folder for checkpoints that can be written",
            got=f"{str(folder)!r}: {error}",
            fix="give the Objective another folder as checkpoints",
        ) from error


def recover(study: optuna.Study) -> list[int]:
    """Fail the trials of a study whose process has died, and enqueue their parameters again.

    Returns:
        The numbers of these trials.
    """
    states = (TrialState.RUNNING,)
    trials = study.get_trials(deepcopy=False, states=states)
    stale = [t for t in trials if attributes.LOCK in t.system_attrs]
    return [trial.number for trial in stale if _recover(study, trial)]


def _recover(study: optuna.Study, trial: FrozenTrial) -> bool:
    path = Path(str(trial.system_attrs[attributes.LOCK]))
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
        except OSError:
            return False  # of another machine, or of a trial that has just ended
        if not _take(file):
            return False
        if stored_trial(study, trial).state is not TrialState.RUNNING:
            return False  # another process was faster
        fail_dead(study, trial)
        path.unlink(missing_ok=True)
    return True


def clear_lock(trial: FrozenTrial) -> None:
    """Remove what a dead process has left of a trial's lock, where that is on this machine."""
    path = Path(str(trial.system_attrs.get(attributes.LOCK, "")))
    if not (path.name.startswith("running-") and path.suffix == ".lock"):
        return
    with contextlib.suppress(OSError), path.open("rb") as file:
        if _take(file):
            path.unlink()


def fail_dead(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Fail a trial whose process has died, and enqueue its parameters again.

    Returns:
        Whether they are enqueued; not if too many processes have died in its training.
    """
    attempt = _attempt(trial)
    is_given_up = attempt >= _MOST_ATTEMPTS
    reason = f"its process died {attempt} times" if is_given_up else INTERRUPTED
    try:
        set_trial_user_attr(study, trial, attributes.STOP_REASON, reason)
        study.tell(trial.number, state=TrialState.FAIL)
    except (UpdateFinishedTrialError, ValueError):
        if stored_trial(study, trial).state.is_finished():
            return False  # another process was faster
        raise
    _logger.warning("The process of trial %d has died.", trial.number)
    if not trial.params or is_given_up:
        return False
    first = trial.user_attrs.get(attributes.CONTINUES_TRIAL, trial.number)
    attrs = {attributes.CONTINUES_TRIAL: first, attributes.ATTEMPT: attempt + 1}
    study.enqueue_trial(trial.params, user_attrs=attrs)
    return True


def _attempt(trial: FrozenTrial) -> int:
    attempt = trial.user_attrs.get(attributes.ATTEMPT, 1)
    return attempt if isinstance(attempt, int) else 1


def _take(file: IO[Any]) -> bool:
    """Lock a file until it is closed; False if another process has, or locks do not work here."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return os.fstat(file.fileno()).st_nlink > 0
