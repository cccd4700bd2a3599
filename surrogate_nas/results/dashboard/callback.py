"""DashboardCallback: keeps a study's page in optuna-dashboard up to date while it runs."""

from __future__ import annotations

import atexit
import copy
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas.errors import MissingExtraError
from surrogate_nas.results.dashboard import publish as pages
from surrogate_nas.results.dashboard.pictures import add_picture, artifact_folder, has_picture
from surrogate_nas.results.recorded_space import picture, space_of, words_of
from surrogate_nas.space import SearchSpace

_logger = logging.getLogger(__name__)

_SHARE = 0.02
_FIRST_COST_SECONDS = 1.0
"""A guess, for the import of plotly and the first figures, before a refresh was timed."""
_FIRST_PICTURE_SECONDS = 0.01
"""A guess, before a picture was timed."""

_ATTEMPTS = 5
"""How often the last figures are written where other workers' trials end meanwhile."""

_stale: dict[int, tuple[DashboardCallback, optuna.Study]] = {}
"""Studies whose last trials are not in their figures yet, by callback."""


@final
class DashboardCallback:
    """Figures, a note and pictures of a study, refreshed after its trials.

    :class:`~surrogate_nas.Objective` has one of its own; for any other objective pass it to
    ``study.optimize(callbacks=[...])``. A picture is drawn as a trial's training begins, figures
    and note when trials have finished since the last time, all of them as long as they together
    take at most `share` of the time. What was too early then is written at the end of the program,
    pictures of at most 200 trials, the best ones. Errors are logged once and never end a trial.
    Several workers may share a study: what nobody has written yet, one of them writes.

    Studies in memory are left alone, as no dashboard can read them; see
    :func:`~surrogate_nas.publish`.

    Args:
        space: The search space; by default what the study has recorded, or its parameters.
        artifacts: The folder for pictures; by default a folder beside the storage's file, named
            like it with ``-artifacts``. Start optuna-dashboard with ``--artifact-dir`` on it.
        share: Largest share of the study's time that goes into pictures, figures and note.
    """

    def __init__(
        self,
        space: SearchSpace | None = None,
        *,
        artifacts: str | os.PathLike[str] | None = None,
        share: float = _SHARE,
    ) -> None:
        self.space = space
        self.artifacts = None if artifacts is None else Path(artifacts)
        self.share = share
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._began: float | None = None
        self.spent_seconds = 0.0
        """Seconds that figures, notes and pictures have taken in this process."""
        self._last_cost = _FIRST_COST_SECONDS
        self._picture_cost = _FIRST_PICTURE_SECONDS
        self._undrawn: dict[int, Callable[[], str]] = {}
        self._left_some_out = False
        self._is_outdone = False
        """Whether trials ended as figures were written; another worker's may be lost to them."""
        self._has_complained = False

    def __getstate__(self) -> dict[str, Any]:
        return {"space": self.space, "artifacts": self.artifacts, "share": self.share}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __call__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Add a picture to a trial that has none, and refresh if it is time."""
        self.begin()
        try:
            if trial.params and trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                self._add_late(study, trial)
        except Exception as error:
            self._complain(error)
        self.refresh(study)

    def begin(self) -> None:
        """Start the clock with the first trial."""
        if self._began is None:
            self._began = time.monotonic()

    def _affords(self, seconds: float) -> bool:
        """Whether so much more is within the share of the time since the first trial."""
        elapsed = time.monotonic() - (self._began or 0.0)
        return self.spent_seconds + seconds <= self.share * elapsed

    def _add_late(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Add a picture to a finished trial, unless its objective has done so."""
        if _is_in_memory(study) or has_picture(study, trial):
            return
        if not self._affords(self._picture_cost):
            self._left_some_out = True
            return

        def draw() -> str:
            return picture(space_of(study, self.space), trial.params, words_of(trial))

        self._keep(study, trial, draw)

    def show(self, trial: optuna.trial.BaseTrial, draw: Callable[[], str]) -> None:
        """Add the picture of its architecture to a running trial, if it is time.

        Args:
            trial: The trial; without a study nothing is done.
            draw: Makes the picture.
        """
        if not isinstance(trial, optuna.Trial) or _is_in_memory(trial.study):
            return
        self.begin()
        if self._affords(self._picture_cost):
            self._keep(trial.study, trial, draw)
        else:
            self._undrawn[trial._trial_id] = draw

    def _keep(
        self, study: optuna.Study, trial: optuna.Trial | FrozenTrial, draw: Callable[[], str]
    ) -> None:
        began = time.monotonic()
        try:
            folder = artifact_folder(study, self.artifacts)
            if folder is not None:
                if self.artifacts is not None:
                    pages.remember_folder(study, folder)
                add_picture(study, trial, draw(), folder)
        except Exception as error:
            self._complain(error)
        self._picture_cost = time.monotonic() - began
        self.spent_seconds += self._picture_cost

    def trained(self, trial: optuna.trial.BaseTrial) -> None:
        """Add the picture of a trial whose training has ended, if it was too early before."""
        draw = self._undrawn.pop(getattr(trial, "_trial_id", -1), None)
        if draw is None or not isinstance(trial, optuna.Trial):
            return
        if self._affords(self._picture_cost):
            self._keep(trial.study, trial, draw)
        else:
            self._left_some_out = True

    def completed(self, trial: optuna.trial.BaseTrial, value: float) -> None:
        """Refresh after a trial whose value is known, but not yet to its study."""
        if isinstance(trial, optuna.Trial):
            self.refresh(trial.study, (trial._trial_id, value))

    def refresh(self, study: optuna.Study, just_now: tuple[int, float] | None = None) -> None:
        """Write figures and note, if something is new and it is time.

        Args:
            study: The study.
            just_now: Identity and value of a trial that is about to be completed.
        """
        self.begin()
        if _is_in_memory(study):
            return
        _stale[id(self)] = (self, study)
        if self._affords(self._last_cost):
            self._is_outdone |= not self._write(study, just_now)
            if not self._left_some_out and not self._is_outdone:
                _stale.pop(id(self), None)

    def flush(self, study: optuna.Study, *, anew: bool = False) -> None:
        """Write figures and note now, if something is new, and the pictures that are missing.

        Args:
            study: The study.
            anew: Even if nothing is new.
        """
        self._left_some_out = False
        _stale.pop(id(self), None)
        if _is_in_memory(study):
            return
        anew = anew or self._is_outdone
        for _ in range(_ATTEMPTS):
            if self._write(study, anew=anew, waits=True):
                break
            anew = True
        self._is_outdone = False
        began = time.monotonic()
        try:
            space, trials = space_of(study, self.space), study.get_trials(deepcopy=False)
            pages.add_late_pictures(study, space, trials, self.artifacts)
        except Exception as error:
            self._complain(error)
        self.spent_seconds += time.monotonic() - began

    def _write(
        self,
        study: optuna.Study,
        just_now: tuple[int, float] | None = None,
        *,
        anew: bool = False,
        waits: bool = False,
    ) -> bool:
        """Write figures and note, if something is new, after other workers if it waits for them.

        Args:
            study: The study.
            just_now: As in :meth:`refresh`.
            anew: Even if nothing is new.
            waits: For another worker that writes; else there is nothing to do.

        Returns:
            Whether no trial has ended meanwhile. Otherwise another worker may have written more
            than this one knew, and lost it to this one.
        """
        if _is_in_memory(study) or not self._lock.acquire(blocking=False):
            return True  # another thread of this worker is at it
        began = time.monotonic()
        try:
            if waits:
                pages.wait_for_others(study)
            trials = _with_result(study.get_trials(deepcopy=False), just_now)
            n_finished = pages.n_finished(trials)
            if anew or pages.is_new(study, n_finished):
                pages.require_dashboard()
                pages.claim(study)
                pages.write(study, space_of(study, self.space), trials)
                pages.release(study, n_finished)
            now = _with_result(study.get_trials(deepcopy=False), just_now)
            return pages.n_finished(now) <= n_finished
        except Exception as error:
            self._complain(error)
            return True
        finally:
            self._last_cost = time.monotonic() - began
            self.spent_seconds += self._last_cost
            self._lock.release()

    def _complain(self, error: Exception) -> None:
        """Log the first error; a study goes on without its figures."""
        if self._has_complained:
            return
        self._has_complained = True
        if isinstance(error, MissingExtraError):
            _logger.info("No figures for optuna-dashboard: %s", error)
            return
        _logger.warning(
            "Figures, note or pictures for optuna-dashboard could not be written; the study goes "
            "on, and further errors of this kind are not logged. %s: %s",
            type(error).__name__,
            error,
        )
        _logger.debug("Where it happened:", exc_info=error)


@atexit.register
def flush_stale() -> None:
    """Write what was too early to be written, at the end of the program."""
    for callback, study in list(_stale.values()):
        callback.flush(study)


def _is_in_memory(study: optuna.Study) -> bool:
    return isinstance(study._storage, InMemoryStorage)


def _with_result(
    trials: Sequence[FrozenTrial], just_now: tuple[int, float] | None
) -> list[FrozenTrial]:
    """Trials, one of them as if it were completed with its value."""
    if just_now is None:
        return list(trials)
    found = list(trials)
    for place, trial in enumerate(found):
        if trial._trial_id == just_now[0] and trial.state == TrialState.RUNNING:
            done = copy.copy(trial)
            done.state = TrialState.COMPLETE
            done.values = [just_now[1]]
            found[place] = done
    return found
