"""The time of a search: when no more trainings begin, and how large networks may be for it."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, final

import surrogate_nas as sn

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from surrogate_nas.running.loop import Callback


@final
class Deadline:
    """Stops a study after a time, when the next of its trials has finished.

    Args:
        seconds: The time, from now; None for none.
    """

    def __init__(self, seconds: float | None) -> None:
        self._end = math.inf if seconds is None else time.monotonic() + seconds
        self.is_over = False

    def __call__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Stop the study if the time is up."""
        del trial
        if time.monotonic() >= self._end:
            self.is_over = True
            study.stop()


def limit_epochs(
    study: optuna.Study,
    task: sn.Task,
    space: sn.SearchSpace,
    trainer: sn.Trainer,
    seconds: float | None,
) -> list[Callback]:
    """Return what keeps trainings within a share of the search's time, where it has one."""
    from surrogate_nas.running import epoch_limit

    if seconds is None:
        return []
    limit = epoch_limit.limit_epochs(study, task, space, trainer, seconds)
    if limit is None:
        return []
    print(
        f"Networks have at most {limit.limit:.3g} multiply-accumulates, so that ten trainings fit "
        f"into {seconds:g} s; --limit sets another limit."
    )
    return [limit]
