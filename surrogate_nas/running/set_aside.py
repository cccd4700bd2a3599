"""Set enqueued architectures aside that are beyond the limits of the present sampler."""

from __future__ import annotations

import logging

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas.attributes import FIXED_PARAMS, SET_ASIDE, STOP_REASON
from surrogate_nas.samplers.strategy import StrategySampler
from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.storage.optuna_private import id_of, latest_trial, storage_of
from surrogate_nas.storage.repeats import planned

_logger = logging.getLogger(__name__)


def set_aside_waiting(study: optuna.Study) -> list[int]:
    """Fail the waiting trials of a study that are beyond the limits, before they are trained.

    A limit may have been set after a trial was enqueued, or interrupted and enqueued again.

    Returns:
        Numbers of these trials.
    """
    if not _has_limits(study):
        return []
    storage = storage_of(study)
    found = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        words = _beyond(study, trial)
        if not words:
            continue
        try:
            storage.set_trial_user_attr(id_of(trial), STOP_REASON, f"{SET_ASIDE}: {words}")
            storage.set_trial_state_values(id_of(trial), TrialState.FAIL)
        except UpdateFinishedTrialError:
            continue  # another process was faster
        _say(trial.number, words)
        found.append(trial.number)
    return found


def is_set_aside(trial: optuna.Trial) -> bool:
    """Return whether a trial that has begun is beyond the limits, and write the reason down."""
    if not _has_limits(trial.study):
        return False
    words = _beyond(trial.study, latest_trial(trial))
    if words:
        trial.set_user_attr(STOP_REASON, f"{SET_ASIDE}: {words}")
        _say(trial.number, words)
    return bool(words)


def _has_limits(study: optuna.Study) -> bool:
    """Return whether the sampler keeps to limits."""
    sampler = study.sampler
    return isinstance(sampler, SurrogateSampler | StrategySampler) and sampler.has_limits


def _beyond(study: optuna.Study, trial: FrozenTrial) -> str:
    """Return in words which limits an enqueued trial exceeds; nothing for other trials."""
    sampler = study.sampler
    if FIXED_PARAMS not in trial.system_attrs:
        return ""
    if not isinstance(sampler, SurrogateSampler | StrategySampler):
        return ""
    return sampler.beyond_limits(planned(trial))


def _say(number: int, words: str) -> None:
    """Tell the user that a trial is not trained."""
    _logger.warning(
        "Trial %d is set aside: its architecture was enqueued and exceeds a limit (%s).",
        number,
        words,
    )
