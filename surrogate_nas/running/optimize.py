"""Run a study: one candidate after the other, or several at once in worker processes."""

from __future__ import annotations

import contextlib
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias, final

import optuna
import torch
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState
from tqdm.auto import tqdm

from surrogate_nas.attributes import counts
from surrogate_nas.errors import TrainingError
from surrogate_nas.running.failures import is_bug, note_error
from surrogate_nas.running.processes import crew
from surrogate_nas.running.processes.capacity import cores
from surrogate_nas.running.processes.crew import NConcurrent
from surrogate_nas.running.processes.messages import Ended, Ready, Start, portable
from surrogate_nas.running.processes.pool import Pool, Worker
from surrogate_nas.running.processes.remote_trial import IS_BUG, Call, Epoch, answer
from surrogate_nas.running.resuming import begin, interrupt, random_number
from surrogate_nas.running.runnable import (
    ObjectiveLike,
    Runnable,
    as_objective,
    check_direction,
    note_settings,
)
from surrogate_nas.storage.optuna_private import (
    as_database,
    id_of,
    in_loop,
    is_stopped,
    storage_of,
    stored_trial,
)
from surrogate_nas.storage.recovery import fail_dead
from surrogate_nas.training.device import find_device
from surrogate_nas.training.interruption import terminable

Callback: TypeAlias = Callable[[optuna.Study, FrozenTrial], None]

_logger = logging.getLogger(__name__)
_trials_logger = optuna.logging.get_logger("optuna.surrogate_nas")


def optimize(
    study: optuna.Study,
    objective: ObjectiveLike,
    n_trials: int,
    *,
    n_concurrent: NConcurrent = 1,
    show_progress_bar: bool = False,
    callbacks: Sequence[Callback] = (),
) -> None:
    """Run a number of trials of a study, several at once if wanted.

    With several at once each training has a process of its own, and the study stays in this one:
    a result is told as soon as it is there, and the next suggestion, which knows of all running
    trials, takes its place. Any study works, in memory or in a storage, with any sampler and
    pruner. The same trial, with the same number, gives the same result as one after the other, bit
    for bit on a CPU if PyTorch has the same number of threads.

    What goes wrong in one training, even the end of its process, fails its trial and not the
    study. On Ctrl-C, or SIGTERM, all trainings stop, their trials fail and their parameters are
    enqueued again, as :class:`Objective` does; with `checkpoints` the training of a process that
    died is begun again, too.

    Args:
        study: The study.
        objective: An :class:`Objective`, or any function of a trial. With several at once it is
            sent to the workers once, gets a trial without ``study``, and changes nothing here.
        n_trials: How many trials to run.
        n_concurrent: How many candidates are trained at once; 1 is ``study.optimize``. "auto" is
            one a core on a CPU; on CUDA it is measured before the first trial, from the memory and
            the speed of trainings side by side. More than fit into memory are reduced, with a
            warning. Each worker on a CPU gets its share of the cores for PyTorch's threads.
        show_progress_bar: As in ``study.optimize``.
        callbacks: As in ``study.optimize``; called in this process.

    Raises:
        StudyError: `n_concurrent` is not a number from 1 or "auto", the objective cannot be sent
            to another process, or the study's direction is not the task's.
        TrainingError: The study's first trainings all ended with the process that they ran in.
        Exception: What the study's first trials all raised; what its sampler or storage raises.
    """
    crew.check(n_concurrent)
    if n_trials < 1:
        return
    runnable = as_objective(objective)
    check_direction(runnable, study)
    n = n_concurrent
    on_cuda = crew.trains_on_cuda(runnable)
    if runnable.training is not None and not (on_cuda and torch.cuda.is_available()):
        find_device(runnable.device)  # NOTE: on CUDA that would take memory in this process
    if n != 1 and not on_cuda:
        n = crew.n_on_host(runnable, n, n_trials)
    if n == 1 or n_trials == 1:
        study.optimize(
            runnable, n_trials, show_progress_bar=show_progress_bar, callbacks=list(callbacks)
        )
        return
    note_settings(runnable, study)
    callbacks = [*callbacks, *([] if runnable.pages is None else [runnable.pages])]
    n_threads = max(1, min(torch.get_num_threads(), 1 if n == "auto" else cores() // n))
    with (
        terminable(),
        Pool(runnable.for_worker(), n_threads) as pool,
        _bar(show_progress_bar, n_trials) as bar,
    ):
        if on_cuda:
            n = crew.n_on_device(pool, n, n_trials)
        assert n != "auto"
        callbacks = [*callbacks, lambda study, trial: _advance(bar, study)]
        _Run(study, runnable, n_trials, n, pool, callbacks).run()


def continue_study(
    study: optuna.Study,
    objective: ObjectiveLike,
    n_trials: int,
    *,
    n_concurrent: NConcurrent = 1,
    show_progress_bar: bool = False,
    callbacks: Sequence[Callback] = (),
) -> int:
    """Run a study until it has a number of finished trials, those of earlier runs included.

    Trials that were interrupted by their user do not count.

    Args:
        study: The study.
        objective: What to run.
        n_trials: Finished trials to reach.
        n_concurrent: See :func:`optimize`.
        show_progress_bar: As in ``study.optimize``.
        callbacks: As in ``study.optimize``.

    Returns:
        How many trials were run.
    """
    missing = max(n_trials - sum(map(counts, study.get_trials(deepcopy=False))), 0)
    optimize(
        study,
        objective,
        missing,
        n_concurrent=n_concurrent,
        show_progress_bar=show_progress_bar,
        callbacks=callbacks,
    )
    return missing


@final
class _Run:
    """The loop around a study: ask, let workers train, tell."""

    def __init__(
        self,
        study: optuna.Study,
        objective: Runnable,
        n_trials: int,
        n_workers: int,
        pool: Pool,
        callbacks: Sequence[Callback],
    ) -> None:
        self._study, self._pool, self._callbacks = study, pool, callbacks
        self._n_to_start = n_trials
        self._n_workers = n_workers
        self._idle = list(pool.workers)
        self._starting: set[Worker] = set()
        self._training: dict[Worker, optuna.Trial] = {}
        self._deadlines: dict[Worker, float] = {}
        self._patience = _patience(objective)
        self._checkpoints = objective.checkpoint_folder
        self._progress = objective.progress
        self._beats = _heartbeat_seconds(study)
        self._next_beat = 0.0

    def run(self) -> None:
        """Run all trials; when anything stops that, leave none of them running."""
        with in_loop(self._study):
            try:
                while self._n_to_start or self._training:
                    self._step()
            except BaseException:
                for trial in self._training.values():
                    with contextlib.suppress(Exception):  # the first error is the one to show
                        interrupt(trial)
                        self._study.tell(trial, state=TrialState.FAIL)
                raise

    def _step(self) -> None:
        """Give every idle worker a trial, then wait for the next thing that happens."""
        if is_stopped(self._study):
            self._n_to_start = 0
        while self._idle and self._n_to_start:
            self._start(self._idle.pop(0))
        n_wanted = min(self._n_workers, self._n_to_start + len(self._training))
        while len(self._training) + len(self._starting) < n_wanted:
            self._starting.add(self._pool.add())
        event = self._pool.next(self._seconds_to_wait())
        self._beat()
        if event is None:
            self._end_overdue()
        elif isinstance(event[1], Call):
            event[0].send(_reply(self._training[event[0]], event[1]))
        elif isinstance(event[1], Epoch):
            if self._progress is not None:
                now = event[1]
                number = self._training[event[0]].number
                self._progress.epoch(number, now.epoch, now.n_epochs, now.loss)
        elif isinstance(event[1], Ready):
            self._starting.remove(event[0])
            self._idle.append(event[0])
        elif isinstance(event[1], Ended):
            self._tell(self._end(event[0]), event[1])
            self._idle.append(event[0])
        else:
            self._bury(event[0], f"exit code {self._pool.remove(event[0], seconds=10.0)}")

    def _start(self, worker: Worker) -> None:
        if self._beats:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                optuna.storages.fail_stale_trials(self._study)
        self._n_to_start -= 1
        trial = self._study.ask()
        self._training[worker] = trial
        self._deadlines[worker] = time.monotonic() + self._patience
        begin(trial, self._checkpoints)
        worker.send(Start(trial.number, self._study.study_name, random_number(trial)))

    def _end(self, worker: Worker) -> optuna.Trial:
        """Take the trial from a worker that no longer trains it."""
        return self._training.pop(worker)

    def _tell(self, trial: optuna.Trial, ended: Ended) -> None:
        """Tell the study how a trial ended, and everybody who wants to know."""
        if ended.error is not None:
            note_error(trial, ended.error)
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
        frozen = self._study.tell(trial, value, state=state)
        shown = "" if frozen.value is None else f" with value: {frozen.value}"
        _trials_logger.info(
            f"Trial {frozen.number} {frozen.state.name.lower()}{shown} and parameters: "
            f"{frozen.params}."
        )
        for callback in self._callbacks:
            callback(self._study, frozen)

    def _bury(self, worker: Worker, how: str, *, may_go_on: bool = True) -> None:
        """Fail the trial of a worker that is gone; the next step starts another one."""
        if worker in self._starting:
            self._starting.remove(worker)
            raise crew.not_started(how)
        if worker in self._idle:
            self._idle.remove(worker)
            return
        trial = self._end(worker)
        if may_go_on and self._checkpoints is not None:
            frozen = stored_trial(self._study, trial)
            storage, study_id = storage_of(self._study), id_of(self._study)
            self._n_to_start += fail_dead(storage, study_id, frozen)
            return
        error = TrainingError(
            expected="a worker process that lives as long as its training",
            got=how,
            fix="look for its last words above; out of memory is the usual reason: train fewer "
            "candidates at once or limit their size",
        )
        self._tell(trial, Ended(error=error))

    def _seconds_to_wait(self) -> float | None:
        """Until when nothing needs to be done unless a worker says something."""
        overdue = [self._deadlines[worker] - time.monotonic() for worker in self._training]
        wait = min([*overdue, self._beats or math.inf])
        return None if math.isinf(wait) else max(wait, 0.0)

    def _beat(self) -> None:
        """Record that the running trials are alive, where the storage wants to know."""
        database, now = as_database(storage_of(self._study)), time.monotonic()
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
            self._bury(worker, how, may_go_on=False)


def _reply(trial: optuna.Trial, call: Call) -> tuple[Any] | Exception:
    """Answer a worker; what it has asked wrongly is an error there.

    Raises:
        Exception: The sampler cannot suggest anything.
    """
    if call.name == IS_BUG:
        return (is_bug(trial),)
    try:
        return (answer(trial, call),)
    except Exception as error:
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


@contextlib.contextmanager
def _bar(is_shown: bool, n_trials: int) -> Iterator[Any]:
    with tqdm(total=n_trials, disable=not is_shown) as bar:
        yield bar


def _advance(bar: Any, study: optuna.Study) -> None:
    with contextlib.suppress(ValueError, RuntimeError):  # no result yet, or several objectives
        bar.set_description(f"Best trial: {study.best_trial.number}: {study.best_value:.6g}")
    bar.update()
