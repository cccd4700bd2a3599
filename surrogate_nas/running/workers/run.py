"""run_workers: one study, many workers, each with its own connection to the storage."""

from __future__ import annotations

import copy
import logging
import operator
import secrets
import uuid
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, final

import optuna
from optuna.exceptions import StorageInternalError
from optuna.samplers import BaseSampler
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from surrogate_nas import attributes
from surrogate_nas.attributes import counts
from surrogate_nas.errors import TrainingError
from surrogate_nas.files.checked_json import finite
from surrogate_nas.results.progress import ProgressBar
from surrogate_nas.results.training_progress import training_words
from surrogate_nas.running.attached import with_attached
from surrogate_nas.running.loop import Callback, Loop
from surrogate_nas.running.processes.capacity import cores
from surrogate_nas.running.processes.messages import packed
from surrogate_nas.running.processes.worker_pool import after_words
from surrogate_nas.running.runnable import (
    Runnable,
    as_objective,
    check_direction,
    note_settings,
)
from surrogate_nas.running.workers.address import Address, address_to_share
from surrogate_nas.running.workers.budget import begin_no_more, fail_trials_of
from surrogate_nas.running.workers.coordination import Coordination, coordinate, worker_name
from surrogate_nas.running.workers.devices import check_count, chosen_devices, n_here
from surrogate_nas.running.workers.local import Local
from surrogate_nas.running.workers.placement import Placement
from surrogate_nas.running.workers.worker import WorkerExit, WorkerSpec
from surrogate_nas.storage.given import require_study
from surrogate_nas.storage.optuna_private import id_of, storage_of
from surrogate_nas.storage.recovery import recover

_logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
_GRACE_SECONDS = 15.0
"""How long a worker that is stopped has for a checkpoint."""
_PASSING = (SQLAlchemyError, StorageInternalError, ConnectionError)
"""Errors that end a worker because its storage was away for too long."""
_DEATHS = 3
"""Number of deaths a worker after which the next ones would die, too, if no trial finished."""


def run_workers(
    study: optuna.Study,
    objective: Callable[[Any], Any],
    n_trials: int,
    *,
    n_workers: int | None = None,
    devices: Sequence[str] | None = None,
    seed: int | None = None,
    dead_after: float = 120.0,
    show_progress_bar: bool = False,
    callbacks: Sequence[Callback] = (),
    placement: Placement | None = None,
) -> None:
    """Run a study with many workers until it has a number of trials.

    Each worker is a process with its own connection to the study's storage. It asks the sampler
    itself, and knows what all others train and have found. The same call on another machine, at
    the same time, adds workers to the study. Together they do not exceed `n_trials`. For a study
    in memory see :func:`optimize`.

    An error in one training fails its trial and not the study. A worker that dies is replaced, and
    another worker runs its trial again. If the :class:`Objective` has `checkpoints` that both can
    read, the training goes on from there. After three deaths an architecture is given up. On
    Ctrl-C or SIGTERM all workers stop, their trials fail and their parameters are enqueued again:
    the same lines continue the study.

    Args:
        study: Study in PostgreSQL, MySQL, a journal file or, for few workers only, SQLite.
        objective: An :class:`Objective`, or any function of a trial. Each worker gets a copy.
        n_trials: Number of trials that the study has when this returns. Trials of earlier runs and
            of other machines count, interrupted ones do not.
        n_workers: Number of workers. By default it is what the placement has room for: on this
            machine one a CUDA device, or one a core. If they do not fit into memory, fewer are
            started, with a warning.
        devices: Devices that the workers take in turn; by default all CUDA devices.
        seed: Seed of the workers' global random states, for objectives that use them; None draws
            one. An Objective's trainings and SurrogateSampler's suggestions do not depend on it.
        dead_after: Seconds without a sign of life after which a trial of another machine is given
            to others, if the storage is a database server.
        show_progress_bar: Whether to show a :class:`ProgressBar` of all workers together.
        callbacks: Functions that are called in this process for each finished trial, of any
            worker.
        placement: Placement of the workers; by default this machine.

    Raises:
        StudyError: A count is not from 1, other processes cannot open the storage, or the
            objective cannot be sent. Or the study's direction is not the task's. Or the surrogate
            that is attached to it is missing.
        StorageError: The storage cannot be reached.
        TrainingError: A device is not here, or workers die again and again.
        Exception: The error that the study's first trials all raised, or an error of its sampler.
    """
    require_study(study)
    check_count("n_trials", n_trials)
    check_count("n_workers", 1 if n_workers is None else n_workers)
    address = address_to_share(storage_of(study))
    sampler = with_attached(study.sampler, study)
    runnable = as_objective(objective)
    check_direction(runnable, study)
    recover(storage_of(study), id_of(study))
    names: Sequence[str | None] = devices or [None]  # elsewhere others may be there than here
    if placement is None:
        names = chosen_devices(runnable, devices)
    done = sum(map(counts, study.get_trials(deepcopy=False)))
    if done >= n_trials:
        return
    if placement is None:
        n_workers = n_here(runnable, n_workers, names, at_most=n_trials - done)
        placement = Local(max(1, cores() // n_workers))
    n_workers = n_workers or check_count("n_workers", placement.n_workers)
    _warn_of_sqlite(address, n_workers)
    content = _packed(study, runnable, sampler)
    first = _spec(study, address, n_trials, content, _seed(seed), dead_after)
    with coordinate(address, storage_of(study), id_of(study), None, dead_after) as coordination:
        view = _View(study, runnable, n_trials, callbacks, show_progress_bar)
        WorkerLoop(study, first, names, n_workers, placement, coordination, view).run()


def _spec(
    study: optuna.Study,
    address: Address,
    n_trials: int,
    content: bytes,
    seed: int,
    dead_after: float,
) -> WorkerSpec:
    """Return what all workers of a run share."""
    return WorkerSpec(
        name="",
        run=uuid.uuid4().hex,
        address=address,
        study_name=study.study_name,
        n_trials=n_trials,
        packed=content,
        seed=seed,
        dead_after=dead_after,
    )


def _packed(study: optuna.Study, objective: Runnable, sampler: BaseSampler) -> bytes:
    """Return what workers are given, and write the objective's settings into the study."""
    note_settings(objective, study)
    return packed((objective.for_worker(), sampler, study.pruner))


def _warn_of_sqlite(address: Address, n_workers: int) -> None:
    """Warn if many workers are to write to one SQLite file."""
    if address.is_sqlite and n_workers > 1:
        warnings.warn(
            f"SQLite writes for one worker at a time; {n_workers} will wait for each other where "
            "trainings are short. Prefer PostgreSQL, or a journal file.",
            stacklevel=3,
        )


def _seed(seed: int | None) -> int:
    """Return a seed's own number; draw one if there is none."""
    return secrets.randbits(128) if seed is None else operator.index(seed)


@final
class _View:
    """Shows what happens in the study, whoever does it, to those who look on in this process.

    Args:
        study: The study.
        objective: Objective that the workers run.
        n_trials: Number of trials that the study is to have.
        callbacks: Called for each trial that finishes.
        show_progress_bar: Whether to show a bar of all workers together.
    """

    def __init__(
        self,
        study: optuna.Study,
        objective: Runnable,
        n_trials: int,
        callbacks: Sequence[Callback],
        show_progress_bar: bool,
    ) -> None:
        self._study = study
        self.callbacks = list(callbacks)
        self._bar: ProgressBar | None = None
        self._n_epochs = 0
        if show_progress_bar:
            self._bar = ProgressBar(n_trials, in_all=True)
            self.callbacks.append(self._bar)
        if objective.training is not None:
            self._n_epochs = objective.training.trainer.epochs
        self._bar = self._bar or objective.progress
        self.callbacks += [] if objective.pages is None else [objective.pages]
        trials = study.get_trials(deepcopy=False)
        self._seen = {trial.number for trial in trials if trial.state.is_finished()}

    def look(self) -> None:
        """Call callbacks for trials that have finished, and show the progress of running ones."""
        trials = self._study.get_trials(deepcopy=False)
        for trial in trials:
            if trial.state.is_finished() and trial.number not in self._seen:
                self._seen.add(trial.number)
                for callback in self.callbacks:
                    # A copy, because the storage's own list must not be changed by a callback.
                    callback(self._study, copy.deepcopy(trial))
        if self._bar is None or not self._n_epochs:
            return
        for trial in trials:
            if trial.state is not TrialState.RUNNING:
                continue
            seconds = finite(trial.user_attrs.get(attributes.EXPECTED_SECONDS))
            if seconds is not None and self._bar.wants_words:
                words = training_words(trial.user_attrs, self._n_epochs, seconds)
                self._bar.begin(trial.number, self._n_epochs, words)
            if trial.last_step is not None:
                self._bar.epoch(trial.number, trial.last_step + 1, self._n_epochs)

    def close(self) -> None:
        """Leave the progress bar as it is."""
        if self._bar is not None:
            self._bar.close()


@final
class WorkerLoop(Loop):
    """Starts workers, watches and replaces them, until each has ended.

    Args:
        study: The study.
        first: Spec that all workers share. Each gets a name, a device and an index.
        devices: Devices that the workers take in turn.
        n_workers: Number of workers.
        placement: Placement of the workers.
        coordination: Coordination with the workers.
        view: View for those who look on in this process.
    """

    def __init__(
        self,
        study: optuna.Study,
        first: WorkerSpec,
        devices: Sequence[str | None],
        n_workers: int,
        placement: Placement,
        coordination: Coordination,
        view: _View,
    ) -> None:
        super().__init__(study, view.callbacks)
        self._first = first
        self._devices = devices
        self._n_workers = n_workers
        self._placement = placement
        self._coordination = coordination
        self._view = view
        self._living: dict[str, WorkerSpec] = {}
        self._n_deaths = 0
        self._n_seen = 0
        self._is_ending = False

    def begin(self) -> None:
        """Start the workers."""
        for index in range(self._n_workers):
            self._start(index)

    def is_over(self) -> bool:
        """Return whether no worker lives."""
        return not self._living

    def step(self) -> None:
        """Wait for ends of workers, and look what has happened in the study."""
        for ended in self._placement.ends(_LOOK_SECONDS):
            self._take(ended)
        self._view.look()

    def begin_no_more(self) -> None:
        """Let workers end after the trials that they have."""
        if not self._is_ending:
            self._is_ending = True
            begin_no_more(self.study, self._first.run)

    def give_up(self) -> None:
        """Stop the workers, fail their trials, and put them into the queue again."""
        self._placement.stop(_GRACE_SECONDS)
        fail_trials_of(self.study, self._coordination, set(self._living))
        self._view.look()

    def close(self) -> None:
        """Leave no worker."""
        self._placement.stop(_GRACE_SECONDS)
        self._view.close()

    def _start(self, index: int) -> None:
        """Start the worker of an index, the first one or another in its place."""
        device = self._devices[index % len(self._devices)]
        worker = replace(self._first, name=worker_name(), device=device, index=index)
        self._living[worker.name] = worker
        self._placement.start(worker)

    def _take(self, ended: WorkerExit) -> None:
        """Replace a worker that has ended early, unless the others would end so, too.

        Raises:
            Exception: What ended the worker, if that will meet the others, too.
        """
        worker = self._living.pop(ended.name)
        if ended.how == "done":
            return
        numbers = fail_trials_of(self.study, self._coordination, {ended.name})
        if ended.how == "failed" and not isinstance(ended.error, _PASSING):
            raise ended.error or TrainingError(
                expected="workers that can work", got=ended.words, fix="look for their words above"
            )
        which = f" in trial {numbers[0]}" if numbers else ""
        _logger.warning(
            "A worker %s%s (%s); another takes its place.", ended.how, which, ended.words
        )
        self._count_death(ended)
        self._start(worker.index)

    def _count_death(self, ended: WorkerExit) -> None:
        """Count deaths since the last trial that was completed or pruned.

        Raises:
            TrainingError: There are too many.
        """
        n_seen = sum(
            trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
            for trial in self.study.get_trials(deepcopy=False)
        )
        # A trial that finishes proves that workers can work, and the count begins again.
        self._n_deaths = 1 + (self._n_deaths if n_seen == self._n_seen else 0)
        self._n_seen = n_seen
        # NOTE: an architecture is given up after three deaths, and each worker may have one.
        if self._n_deaths >= _DEATHS * max(_DEATHS, self._n_workers):
            raise TrainingError(
                expected="workers that live as long as their trainings",
                got=f"{self._n_deaths} that ended while no trial finished, the last one by "
                f"{ended.words or ended.how}{after_words(ended.said)}",
                fix="look at these words; if there are none, out of memory is the usual reason: "
                "run fewer workers or limit the size of candidates",
            ) from ended.error
