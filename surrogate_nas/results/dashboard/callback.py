"""DashboardCallback: keeps a study's page in optuna-dashboard up to date while it runs."""

from __future__ import annotations

import atexit
import copy
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas.errors import MissingExtraError, visible
from surrogate_nas.results.dashboard import publish as pages
from surrogate_nas.results.dashboard.pictures import add_picture, artifact_folder, has_picture
from surrogate_nas.results.recorded_space import picture, space_of, words_of
from surrogate_nas.space import SearchSpace
from surrogate_nas.storage.optuna_private import id_of, storage_of
from surrogate_nas.storage.passwords import without_passwords

_logger = logging.getLogger(__name__)

_SHARE = 0.02
_FIRST_COST_SECONDS = 1.0
"""Assumed cost of the first refresh, which imports plotly, before any refresh was timed."""
_FIRST_PICTURE_SECONDS = 0.01
"""Assumed cost of the first picture, before any picture was timed."""

_ATTEMPTS = 5
"""Times that the last figures are written again because trials of other workers ended."""

_stale: dict[int, tuple[DashboardCallback, optuna.Study]] = {}
"""Identity of a callback -> itself and a study whose last trials are not in its figures yet."""


@final
class DashboardCallback:
    """Keeps figures, a note and pictures of a study up to date while it runs.

    :class:`~surrogate_nas.Objective` has a callback of its own. For any other objective pass one
    to ``study.optimize(callbacks=[...])``. A picture is drawn when a trial's training begins.
    Figures and note are written when trials have finished since the last time. All of it together
    takes at most `share` of the study's time; the rest is written when the program ends, with
    pictures of at most 200 trials, the best ones.

    Errors are logged once and never end a trial. Several workers may share a study: one of them
    writes for all. Studies in memory are left alone, because no dashboard can read them; see
    :func:`~surrogate_nas.publish`.

    Args:
        space: The search space. By default it is the space that the study has recorded, or a
            space of its parameters.
        artifacts: Folder for pictures. By default it lies beside the storage's file, with its
            name and ``-artifacts``. Start optuna-dashboard with ``--artifact-dir`` on it.
        share: Largest share of the study's time for pictures, figures and note.
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
        """Set the state that belongs to one process and is not sent to workers."""
        self._lock = threading.Lock()
        self._began: float | None = None
        self.spent_seconds = 0.0
        """Seconds that this process has spent on figures, notes and pictures."""
        self._last_cost = _FIRST_COST_SECONDS
        self._picture_cost = _FIRST_PICTURE_SECONDS
        self._undrawn: dict[int, Callable[[], str]] = {}
        self._left_some_out = False
        self._is_outdone = False
        """Whether trials ended while figures were written, which may lack another worker's."""
        self._has_complained = False

    def __getstate__(self) -> dict[str, Any]:
        return {"space": self.space, "artifacts": self.artifacts, "share": self.share}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def __call__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Add a picture to a trial that has none, and refresh if it is time."""
        self.begin()
        with self._forgiven():
            if trial.params and trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                self._add_late(study, trial)
        self.refresh(study)

    def begin(self) -> None:
        """Start the clock with the first trial."""
        if self._began is None:
            self._began = time.monotonic()

    def _affords(self, seconds: float) -> bool:
        """Return whether `seconds` more stay within the share of the time since `begin`."""
        elapsed = time.monotonic() - (self._began or 0.0)
        return self.spent_seconds + seconds <= self.share * elapsed

    def _add_late(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Add a picture to a finished trial that has none, if time allows."""
        if _is_in_memory(study) or has_picture(study, trial):
            return
        if not self._affords(self._picture_cost):
            self._left_some_out = True
            return

        def draw() -> str:
            return picture(space_of(study, self.space), trial.params, words_of(trial))

        self._keep(study, trial, draw)

    def show(self, trial: optuna.trial.BaseTrial, draw: Callable[[], str]) -> None:
        """Add a picture to a running trial, now or when its training has ended.

        Args:
            trial: The running trial. One without a study is left alone.
            draw: Function that returns the picture as SVG.
        """
        if not isinstance(trial, optuna.Trial) or _is_in_memory(trial.study):
            return
        self.begin()
        if self._affords(self._picture_cost):
            self._keep(trial.study, trial, draw)
        else:
            self._undrawn[id_of(trial)] = draw

    def _keep(
        self, study: optuna.Study, trial: optuna.Trial | FrozenTrial, draw: Callable[[], str]
    ) -> None:
        """Draw a picture and keep it, and remember the seconds that it took."""
        began = time.monotonic()
        with self._forgiven():
            folder = artifact_folder(study, self.artifacts)
            if folder is not None:
                if self.artifacts is not None:
                    pages.remember_folder(study, folder)
                add_picture(study, trial, draw(), folder)
        self._picture_cost = time.monotonic() - began
        self.spent_seconds += self._picture_cost

    def trained(self, trial: optuna.trial.BaseTrial) -> None:
        """Add the picture of a trial whose training has ended, if :meth:`show` had no time."""
        if not isinstance(trial, optuna.Trial):
            return
        draw = self._undrawn.pop(id_of(trial), None)
        if draw is None:
            return
        if self._affords(self._picture_cost):
            self._keep(trial.study, trial, draw)
        else:
            self._left_some_out = True

    def completed(self, trial: optuna.trial.BaseTrial, value: float) -> None:
        """Refresh after a training has ended, before Optuna has stored its value."""
        # NOTE: an objective has no hook after that, and the page would lag one trial behind.
        if isinstance(trial, optuna.Trial):
            self.refresh(trial.study, (id_of(trial), value))

    def refresh(self, study: optuna.Study, just_now: tuple[int, float] | None = None) -> None:
        """Write figures and note, if trials have finished since the last time and time allows.

        Args:
            study: The study.
            just_now: Identity and value of a trial that is about to be completed.
        """
        self.begin()
        if _is_in_memory(study):
            return
        _import_what_figures_need()
        # NOTE: the study is noted before the time is looked at. So its figures are written at the
        # end of the program if there is no time for them now.
        _stale[id(self)] = (self, study)
        if self._affords(self._last_cost):
            self._is_outdone |= not self._write(study, just_now)
            if not self._left_some_out and not self._is_outdone:
                _stale.pop(id(self), None)

    def flush(self, study: optuna.Study, *, anew: bool = False) -> None:
        """Write figures and note now, if trials have finished since, and missing pictures.

        Args:
            study: The study.
            anew: Whether to write even if no trial has finished since.
        """
        self._left_some_out = False
        _stale.pop(id(self), None)
        if _is_in_memory(study):
            return
        anew = anew or self._is_outdone
        # NOTE: another worker may have written figures with more trials in between, which this
        # one has replaced by its own. Then it writes again, with the trials of now.
        for _ in range(_ATTEMPTS):
            if self._write(study, anew=anew, waits=True):
                break
            anew = True
        self._is_outdone = False
        began = time.monotonic()
        with self._forgiven():
            space, trials = space_of(study, self.space), study.get_trials(deepcopy=False)
            pages.add_late_pictures(study, space, trials, self.artifacts)
        self.spent_seconds += time.monotonic() - began

    def _write(
        self,
        study: optuna.Study,
        just_now: tuple[int, float] | None = None,
        *,
        anew: bool = False,
        waits: bool = False,
    ) -> bool:
        """Write figures and note, if trials have finished since the last time.

        Args:
            study: The study.
            just_now: Identity and value of a trial that is about to be completed.
            anew: Whether to write even if no trial has finished since.
            waits: Whether to wait while another worker writes. Otherwise that worker's figures
                have to do.

        Returns:
            Whether no trial has ended meanwhile. If one has, another worker may have written
            figures with it, and these have replaced them.
        """
        # NOTE: a lock that is taken means that another thread of this worker writes already.
        if _is_in_memory(study) or not self._lock.acquire(blocking=False):
            return True
        began = time.monotonic()
        is_last = True
        try:
            with self._forgiven():
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
                is_last = pages.n_finished(now) <= n_finished
        finally:
            self._last_cost = time.monotonic() - began
            self.spent_seconds += self._last_cost
            self._lock.release()
        return is_last

    @contextmanager
    def _forgiven(self) -> Iterator[None]:
        """Log an error of what is done for the page, in place of raising it."""
        try:
            yield
        except Exception as error:  # storages, plotly and a space's own pictures raise anything
            self._complain(error)

    def _complain(self, error: Exception) -> None:
        """Log the first error. The study goes on without its figures."""
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
            visible(without_passwords(str(error))),
        )
        _logger.debug("Where it happened:", exc_info=error)


@atexit.register
def flush_stale() -> None:
    """Write the figures that were put off, when the program ends."""
    # A copy, as each `flush` removes its entry.
    for callback, study in list(_stale.values()):
        callback.flush(study)


def _import_what_figures_need() -> None:
    """Import scikit-learn, which figures that are put off until the end of the program need."""
    # NOTE: at the end it can no longer be imported for the first time, because its pools of
    # processes register functions for the end themselves. Processes that only train spare it.
    from sklearn import base

    del base


def _is_in_memory(study: optuna.Study) -> bool:
    """Return whether a study is in memory, where no dashboard can read it."""
    return isinstance(storage_of(study), InMemoryStorage)


def _with_result(
    trials: Sequence[FrozenTrial], just_now: tuple[int, float] | None
) -> list[FrozenTrial]:
    """Return the trials, with the one of `just_now` as if it were completed."""
    if just_now is None:
        return list(trials)
    found = list(trials)
    for place, trial in enumerate(found):
        if id_of(trial) == just_now[0] and trial.state == TrialState.RUNNING:
            # A copy, because the trial belongs to the storage.
            done = copy.copy(trial)
            done.state = TrialState.COMPLETE
            done.values = [just_now[1]]
            found[place] = done
    return found
