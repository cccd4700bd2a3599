"""Trials of a study side by side: the study is in this process, each training in its own."""

from __future__ import annotations

import contextlib
import logging
import math
import time
import warnings
from collections.abc import Sequence
from typing import Any, final

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState

from surrogate_nas import attributes
from surrogate_nas.errors import TrainingError
from surrogate_nas.running.failures import is_bug, note_error
from surrogate_nas.running.loop import Callback, Loop
from surrogate_nas.running.processes import crew
from surrogate_nas.running.processes.messages import Ended, Ready, Refused, StartTrial, portable
from surrogate_nas.running.processes.remote_trial import IS_BUG, Begun, Call, Epoch, answer
from surrogate_nas.running.processes.worker_pool import Worker, WorkerPool
from surrogate_nas.running.resuming import (
    begin,
    forget_checkpoint,
    forget_checkpoints,
    interrupt,
    random_number,
)
from surrogate_nas.running.runnable import Runnable, note_settings
from surrogate_nas.running.set_aside import set_aside_waiting
from surrogate_nas.storage.optuna_private import as_database, id_of, storage_of, stored_trial
from surrogate_nas.storage.recovery import fail_dead

_logger = logging.getLogger(__name__)
_trials_logger = optuna.logging.get_logger("optuna.surrogate_nas")


@final
class ConcurrentLoop(Loop):
    """Asks a study for trials, lets worker processes train them, and tells the study.

    Args:
        study: The study. It stays in this process.
        objective: What the workers run.
        n_trials: Number of trials to run.
        n_workers: Number of trials that run at the same time.
        pool: Worker processes, or none yet.
        callbacks: Called for each trial that finishes.
    """

    def __init__(
        self,
        study: optuna.Study,
        objective: Runnable,
        n_trials: int,
        n_workers: int,
        pool: WorkerPool,
        callbacks: Sequence[Callback],
    ) -> None:
        super().__init__(study, callbacks)
        self._pool = pool
        self._objective = objective
        self._n_to_start = n_trials
        self._n_workers = n_workers
        self._idle = list(pool.workers)
        self._starting: set[Worker] = set()
        self._n_deaths = 0
        self._training: dict[Worker, optuna.Trial] = {}
        self._deadlines: dict[Worker, float] = {}
        self._patience = _patience(objective)
        self._checkpoints = objective.checkpoint_folder
        self._progress = objective.progress
        self._beats = _heartbeat_seconds(study)
        self._next_beat = 0.0

    def is_over(self) -> bool:
        """Return whether no trial runs and none is to begin."""
        return not (self._n_to_start or self._training)

    def begin_no_more(self) -> None:
        """Begin no more trials."""
        self._n_to_start = 0

    def step(self) -> None:
        """Give every idle worker a trial, then wait for the next thing that happens."""
        while self._idle and self._n_to_start:
            self._start(self._idle.pop(0))
        # No more workers than trials to come. One that starts takes seconds, and counts already.
        n_wanted = min(self._n_workers, self._n_to_start + len(self._training))
        while len(self._training) + len(self._starting) < n_wanted:
            self._starting.add(self._pool.add())
        event = self._pool.next(self._seconds_to_wait())
        self._beat()
        if event is None:
            self._end_overdue()
        else:
            self._react(*event)

    def _react(self, worker: Worker, message: object) -> None:
        """Do what a worker's message asks for; None says that the worker has ended."""
        if isinstance(message, Call):
            worker.send(_reply(self._training[worker], message))
        elif isinstance(message, Begun | Epoch):
            self._show(self._training[worker].number, message)
        elif isinstance(message, Ready):
            self._starting.remove(worker)
            self._n_deaths = 0
            self._idle.append(worker)
        elif isinstance(message, Refused):
            raise crew.refused(message)
        elif isinstance(message, Ended):
            self._tell(self._training.pop(worker), message)
            self._idle.append(worker)
        else:
            self._replace(worker, self._pool.remove(worker, seconds=10.0))

    def _show(self, number: int, news: Begun | Epoch) -> None:
        """Tell the progress bar of a training, if there is one."""
        if self._progress is None:
            return
        if isinstance(news, Begun):
            self._progress.begin(number, news.n_epochs, news.words)
        else:
            self._progress.epoch(number, news.epoch, news.n_epochs, news.loss)

    def give_up(self) -> None:
        """Fail the running trials, and put them into the queue again."""
        for trial in self._training.values():
            with contextlib.suppress(Exception):  # NOTE: the others still have to be told
                interrupt(trial)
                self.study.tell(trial, state=TrialState.FAIL)

    def _start(self, worker: Worker) -> None:
        """Ask the study for a trial, and give it to a worker."""
        if self._beats:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                # As in `study.optimize`, which does this before each trial.
                optuna.storages.fail_stale_trials(self.study)
        self._n_to_start -= 1
        set_aside_waiting(self.study)
        trial = self.study.ask()
        changes = note_settings(self._objective, self.study)
        if changes:
            trial.set_user_attr(attributes.TRAINER_CHANGES, changes)
        self._training[worker] = trial
        self._deadlines[worker] = time.monotonic() + self._patience
        begin(trial, self._checkpoints)
        worker.send(StartTrial(trial.number, self.study.study_name, random_number(trial)))

    def _tell(self, trial: optuna.Trial, ended: Ended) -> None:
        """Tell the study how a trial ended.

        Raises:
            BaseException: What the trial raised, if it would hit every trial.
        """
        if ended.error is not None:
            note_error(trial, ended.error)
            # NOTE: asked before the study is told, or the trial would count among earlier ones.
            is_hopeless = is_bug(trial)
            self._finish(trial, state=TrialState.FAIL)
            if is_hopeless:
                raise ended.error
            _logger.warning("Trial %d failed by an error.", trial.number, exc_info=ended.error)
        elif ended.pruned is not None:
            self._finish(trial, state=TrialState.PRUNED)
        elif _is_value(ended.value):
            self._finish(trial, ended.value)
        else:
            self._finish(trial, state=TrialState.FAIL)

    def _finish(
        self, trial: optuna.Trial, value: Any = None, state: TrialState | None = None
    ) -> None:
        """Tell the study a trial's value or state, then the log and the callbacks."""
        frozen = self.study.tell(trial, value, state=state)
        shown = "" if frozen.value is None else f" with value: {frozen.value}"
        _trials_logger.info(
            f"Trial {frozen.number} {frozen.state.name.lower()}{shown} and parameters: "
            f"{frozen.params}."
        )
        self.told(frozen)

    def _replace(self, worker: Worker, how: str, *, may_go_on: bool = True) -> None:
        """Fail the trial of a worker that has ended; the next step starts another worker.

        Args:
            worker: Worker that has ended.
            how: How it ended, in words.
            may_go_on: Whether its training may go on from a checkpoint in another worker.

        Raises:
            TrainingError: Worker after worker has died before it had its objective.
        """
        if worker in self._starting:
            self._starting.remove(worker)
            self._n_deaths += 1
            crew.check_deaths(self._n_deaths, self._n_workers, how, worker.last_words())
            return
        if worker in self._idle:
            self._idle.remove(worker)
            return
        trial = self._training.pop(worker)
        if may_go_on and self._checkpoints is not None:
            frozen = stored_trial(self.study, trial)
            storage, study_id = storage_of(self.study), id_of(self.study)
            # The trial has used its place, so its repeat needs another one.
            self._n_to_start += fail_dead(storage, study_id, frozen)
            forget_checkpoints(self._checkpoints, self.study)
            return
        forget_checkpoint(self._checkpoints, trial)
        error = TrainingError(
            expected="a worker process that lives as long as its training",
            got=how,
            fix="look for its last words above; out of memory is the usual reason: train fewer "
            "candidates at once or limit their size",
        )
        self._tell(trial, Ended(error=error))

    def _seconds_to_wait(self) -> float | None:
        """Return the seconds until something is to be done even if no worker says anything."""
        overdue = [self._deadlines[worker] - time.monotonic() for worker in self._training]
        wait = min([*overdue, self._beats or math.inf])
        return None if math.isinf(wait) else max(wait, 0.0)

    def _beat(self) -> None:
        """Record that the running trials are alive, where the storage wants to know."""
        database, now = as_database(storage_of(self.study)), time.monotonic()
        is_due = self._beats is not None and now >= self._next_beat
        if is_due and database is not None:
            self._next_beat = now + (self._beats or 0)
            for trial in self._training.values():
                database.record_heartbeat(id_of(trial))

    def _end_overdue(self) -> None:
        """End workers that hang: their training should have ended itself by now."""
        now = time.monotonic()
        for worker in [w for w in self._training if self._deadlines[w] <= now]:
            self._pool.remove(worker)
            how = f"no end {self._patience:.0f} s after its beginning"
            self._replace(worker, how, may_go_on=False)


def _reply(trial: optuna.Trial, call: Call) -> tuple[Any] | Exception:
    """Answer a worker; what it has asked wrongly is an error there.

    Raises:
        Exception: The sampler cannot suggest anything.
    """
    if call.name == IS_BUG:
        return (is_bug(trial),)
    try:
        return (answer(trial, call),)
    except Exception as error:  # a worker's question may be as wrong as it likes
        # NOTE: an error of the sampler belongs to the study, so it ends the study here.
        if call.name.startswith("suggest_"):
            raise
        return portable(error)


def _patience(objective: Runnable) -> float:
    """Return the seconds after which a training hangs: more than its own limit ever takes."""
    training = objective.training
    limit = None if training is None else training.trainer.time_limit_seconds
    return math.inf if limit is None else 2.0 * limit + 60.0


def _is_value(value: Any) -> bool:
    """Whether Optuna takes it for a result; anything else fails the trial."""
    try:
        return not math.isnan(float(value))
    except (TypeError, ValueError):
        return isinstance(value, Sequence) and all(_is_value(one) for one in value)


def _heartbeat_seconds(study: optuna.Study) -> int | None:
    database = as_database(storage_of(study))
    return None if database is None else database.get_heartbeat_interval()
