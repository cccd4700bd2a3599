"""What is written down of a trial that fails, and whether the failure would hit every trial."""

from __future__ import annotations

import logging

import optuna
from optuna.trial import TrialState

from surrogate_nas import attributes
from surrogate_nas.errors import TrainingError
from surrogate_nas.running.processes.remote_trial import RemoteTrial
from surrogate_nas.storage.passwords import without_passwords
from surrogate_nas.training.outcome import StopReason

_logger = logging.getLogger(__name__)

ERROR = "error: "
"""Beginning of the stop_reason of a trial that failed by an exception."""

_TOLERATED_ERRORS = 2
"""Number of failed trials of a study without a good one, after which an error is a bug."""


def note_error(trial: optuna.trial.BaseTrial, error: BaseException) -> None:
    """Write down by which error a trial failed, unless that is known."""
    if attributes.STOP_REASON not in trial.user_attrs:
        text = without_passwords(f"{ERROR}{type(error).__name__}: {error}")
        trial.set_user_attr(attributes.STOP_REASON, text[:500])


def infeasible(trial: optuna.trial.BaseTrial) -> Exception:
    """Mark a trial that ran out of memory, and return the exception that ends it."""
    reason = StopReason.OUT_OF_MEMORY.value
    trial.set_user_attr(attributes.STOP_REASON, reason)
    trial.set_user_attr(attributes.INFEASIBLE, reason)
    if is_bug(trial):
        return TrainingError(
            expected="memory for two inputs at a time of at least one architecture",
            got="none in which a trial of this study could run",
            fix="free memory on the device, or search smaller architectures on smaller inputs",
        )
    _logger.warning("Trial %d ran out of memory, with two inputs at a time.", trial.number)
    return optuna.TrialPruned(reason)


def is_bug(trial: optuna.trial.BaseTrial) -> bool:
    """Return whether a failure would hit every trial.

    It would if three trials have failed, and no trial of the study got further.
    """
    if isinstance(trial, RemoteTrial):
        return trial.is_bug()
    if not isinstance(trial, optuna.Trial):
        return True
    n_errors = 0
    for other in trial.study.get_trials(deepcopy=False):
        # The trial itself is marked by now, and must not count as one of those before it.
        is_infeasible = attributes.INFEASIBLE in other.user_attrs and other.number != trial.number
        if other.state in (TrialState.COMPLETE, TrialState.PRUNED) and not is_infeasible:
            return False
        by_error = str(other.user_attrs.get(attributes.STOP_REASON, "")).startswith(ERROR)
        n_errors += is_infeasible or (other.state is TrialState.FAIL and by_error)
    return n_errors >= _TOLERATED_ERRORS
