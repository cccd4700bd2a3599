"""Put interrupted trials into the queue again, and find trials whose process has died.

All functions write to the storage directly, without a call of the sampler.
"""

from __future__ import annotations

import logging

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from surrogate_nas.attributes import (
    ACQUISITION,
    ATTEMPT,
    CONTINUES_TRIAL,
    FIXED_PARAMS,
    INTERRUPTED,
    LOCK,
    N_CANDIDATES,
    N_DUPLICATES,
    N_INFEASIBLE,
    PLANNED_PARAMS,
    PREDICTED_RANK,
    PREDICTED_STD,
    PREDICTED_VALUE,
    STOP_REASON,
    TRANSFER,
    WORKER,
)
from surrogate_nas.storage.optuna_private import id_of
from surrogate_nas.storage.process_locks import lock_paths, taken_from_dead
from surrogate_nas.storage.repeats import has_repeat, named, origin, planned

_logger = logging.getLogger(__name__)

_MOST_ATTEMPTS = 3
"""Deaths of processes in the evaluation of an architecture, after which it is given up."""

_GIVEN_UP = "its process died "
"""Beginning of the stop_reason of a trial whose architecture is given up."""

_OF_ONE_ATTEMPT = (
    *(FIXED_PARAMS, LOCK, WORKER, "completed_rung", "constraints", "artifacts:", "dashboard:"),
    *("tpe:relative_params", "gp:relative_params"),
)
"""Beginnings of the names of system attributes that belong to one attempt alone. All others, such
as the generation of a genetic algorithm, belong to the suggestion, so the repeat has them."""

_SUGGESTED = (
    *(N_CANDIDATES, N_DUPLICATES, N_INFEASIBLE, TRANSFER),
    *(PREDICTED_VALUE, PREDICTED_STD, PREDICTED_RANK, ACQUISITION),
)
"""User attributes of the suggestion, which the repeat has, too. The sampler writes the first of
them last."""


def requeue(storage: BaseStorage, study_id: int, trial: FrozenTrial, attempt: int = 0) -> None:
    """Put the repeat of a trial first in the queue of its study.

    The repeat has the trial's parameters, and also the parameters that the sampler has chosen but
    the objective has not asked for. If the trial has none yet, the repeat draws them.

    Args:
        storage: Storage of the study.
        study_id: Identity of the study in it.
        trial: Interrupted trial.
        attempt: Number of the repeat among the attempts, if processes have died in them. 0 keeps
            the trial's own count.
    """
    count = attempt or trial.user_attrs.get(ATTEMPT)
    user_attrs = {k: trial.user_attrs[k] for k in _SUGGESTED if k in trial.user_attrs}
    user_attrs[CONTINUES_TRIAL] = origin(trial)
    if count is not None:
        user_attrs[ATTEMPT] = count
    system_attrs = {
        k: v for k, v in trial.system_attrs.items() if not k.startswith(_OF_ONE_ATTEMPT)
    }
    params = planned(trial)
    if PLANNED_PARAMS in system_attrs and N_CANDIDATES not in user_attrs:
        # NOTE: the sampler was interrupted after its choice, before all of it was written.
        system_attrs = {}
        params = {**named(trial.system_attrs.get(FIXED_PARAMS)), **trial.params}
    if params:
        system_attrs[FIXED_PARAMS] = params
    repeat = create_trial(
        state=TrialState.WAITING, user_attrs=user_attrs, system_attrs=system_attrs
    )
    storage.create_new_trial(study_id, template_trial=repeat)


def fail_dead(storage: BaseStorage, study_id: int, trial: FrozenTrial) -> bool:
    """Fail a trial whose process has died, and put its repeat into the queue.

    Returns:
        Whether the trial is repeated. It is not if another process was faster, or if three
        processes have died in its evaluation.
    """
    attempt = _attempt(trial)
    is_last = attempt >= _MOST_ATTEMPTS
    reason = f"{_GIVEN_UP}{attempt} times" if is_last else INTERRUPTED
    try:
        storage.set_trial_user_attr(id_of(trial), STOP_REASON, reason)
        storage.set_trial_state_values(id_of(trial), TrialState.FAIL)
    except UpdateFinishedTrialError:
        return False
    _logger.warning("The process of trial %d has died.", trial.number)
    if is_last:
        return False
    # NOTE: a process may die between putting a repeat into the queue and failing its trial.
    if not has_repeat(trial, storage.get_all_trials(study_id, deepcopy=False)):
        requeue(storage, study_id, trial, attempt + 1)
    return True


def is_given_up(trial: FrozenTrial) -> bool:
    """Return whether a trial is not repeated, since too many processes have died in it."""
    reason = str(trial.user_attrs.get(STOP_REASON, ""))
    return trial.state is TrialState.FAIL and reason.startswith(_GIVEN_UP)


def _attempt(trial: FrozenTrial) -> int:
    """Return the number of a trial's attempt, from 1."""
    attempt = trial.user_attrs.get(ATTEMPT, 1)
    return attempt if isinstance(attempt, int) else 1


def recover(storage: BaseStorage, study_id: int) -> list[int]:
    """Fail the trials of a study whose process has died, and put their repeats into the queue.

    Returns:
        Numbers of the trials that had been running.
    """
    trials = storage.get_all_trials(study_id, deepcopy=False)
    suspects = [t for t in trials if _is_unfinished(t) and lock_paths(t)]
    return [trial.number for trial in suspects if _recover(storage, study_id, trial)]


def _is_unfinished(trial: FrozenTrial) -> bool:
    """Return whether a trial runs, or was interrupted and may be waiting for a repeat."""
    is_interrupted = trial.user_attrs.get(STOP_REASON) == INTERRUPTED
    return trial.state is TrialState.RUNNING or (trial.state is TrialState.FAIL and is_interrupted)


def _recover(storage: BaseStorage, study_id: int, trial: FrozenTrial) -> bool:
    """Fail a trial and put its repeat into the queue, if its process has died."""
    # NOTE: one process at a time holds the lock of a dead trial. It reads the state once more.
    with taken_from_dead(trial) as is_dead:
        if not is_dead:
            return False
        now = storage.get_trial(id_of(trial))
        if now.state is TrialState.RUNNING:
            fail_dead(storage, study_id, now)
            return True
        # NOTE: a process may die between failing a trial and putting its repeat into the queue.
        if not has_repeat(now, storage.get_all_trials(study_id, deepcopy=False)):
            requeue(storage, study_id, now)
    return False
