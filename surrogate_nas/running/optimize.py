"""Run a study: one candidate after the other, or several at once in worker processes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import optuna
import torch
from tqdm.auto import tqdm

from surrogate_nas.attributes import counts
from surrogate_nas.running.concurrent import ConcurrentLoop
from surrogate_nas.running.loop import Callback
from surrogate_nas.running.processes import crew
from surrogate_nas.running.processes.capacity import cores
from surrogate_nas.running.processes.crew import NConcurrent
from surrogate_nas.running.processes.worker_pool import WorkerPool
from surrogate_nas.running.runnable import (
    ObjectiveLike,
    as_objective,
    check_direction,
    note_settings,
)
from surrogate_nas.running.set_aside import set_aside_waiting
from surrogate_nas.storage.given import require_study
from surrogate_nas.storage.optuna_private import id_of, storage_of
from surrogate_nas.storage.recovery import recover
from surrogate_nas.training.device import find_device
from surrogate_nas.training.interruption import terminable


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

    With several at once each training has a process of its own, and the study stays in this one.
    A result is told at once, and the next suggestion, which knows of all running trials, takes its
    place. Any study works, in memory or in a storage, with any sampler and pruner. A trial gives
    the same result as without concurrency, bit for bit on a CPU if PyTorch has the same number of
    threads.

    An error in one training, even the end of its process, fails its trial and not the study. On
    Ctrl-C or SIGTERM all trainings stop, their trials fail and their parameters are enqueued
    again. With `checkpoints` the same happens to the trial of a worker process that died.

    Args:
        study: The study.
        objective: An :class:`Objective`, or any function of a trial. With several at once it is
            sent to the workers once, gets a trial without ``study``, and changes nothing here.
        n_trials: Number of trials to run.
        n_concurrent: Number of candidates that are trained at the same time; 1 is
            ``study.optimize``. "auto" on a CPU is one a core. On CUDA it is measured before the
            first trial, from the memory and the speed of trainings side by side. A number that
            does not fit into memory is reduced, with a warning. Each worker on a CPU gets its
            share of the cores for PyTorch's threads.
        show_progress_bar: Whether to show a progress bar, as in ``study.optimize``.
        callbacks: Functions that are called for each finished trial, in this process.

    Raises:
        StudyError: `n_concurrent` is not a number from 1 or "auto", the objective cannot be sent
            to another process, or the study's direction is not the task's.
        TrainingError: The study's first trainings all ended with the process that they ran in.
        Exception: The error that the study's first trials all raised, or an error of its sampler
            or storage.
    """
    require_study(study)
    crew.check(n_concurrent)
    if n_trials < 1:
        return
    runnable = as_objective(objective)
    check_direction(runnable, study)
    # NOTE: before the first trial, so that what another process has left comes first.
    recover(storage_of(study), id_of(study))
    set_aside_waiting(study)
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
    # Workers share the cores. Where their number is still to be measured, each has one thread.
    n_threads = max(1, min(torch.get_num_threads(), 1 if n == "auto" else cores() // n))
    with (
        terminable(),
        WorkerPool(runnable.for_worker(), n_threads) as pool,
        _bar(show_progress_bar, n_trials) as bar,
    ):
        # NOTE: the host has settled "auto" by now; a device is asked once its workers are there.
        n_workers = crew.n_on_device(pool, n, n_trials) if n == "auto" or on_cuda else n
        callbacks = [*callbacks, lambda study, trial: _advance(bar, study)]
        ConcurrentLoop(study, runnable, n_trials, n_workers, pool, callbacks).run()


def continue_study(
    study: optuna.Study,
    objective: ObjectiveLike,
    n_trials: int,
    *,
    n_concurrent: NConcurrent = 1,
    show_progress_bar: bool = False,
    callbacks: Sequence[Callback] = (),
) -> int:
    """Run a study until it has a number of finished trials, including those of earlier runs.

    Trials that were interrupted do not count.

    Args:
        study: The study.
        objective: Objective to run.
        n_trials: Number of finished trials to reach.
        n_concurrent: Number of trainings at the same time; see :func:`optimize`.
        show_progress_bar: Whether to show a progress bar.
        callbacks: Functions that are called for each finished trial.

    Returns:
        The number of trials that were run.
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


@contextlib.contextmanager
def _bar(is_shown: bool, n_trials: int) -> Iterator[Any]:
    """Show a bar of trials, if wanted."""
    with tqdm(total=n_trials, disable=not is_shown) as bar:
        yield bar


def _advance(bar: Any, study: optuna.Study) -> None:
    """Move the bar on by one trial, and show the best one."""
    with contextlib.suppress(ValueError, RuntimeError):  # no result yet, or several objectives
        bar.set_description(f"Best trial: {study.best_trial.number}: {study.best_value:.6g}")
    bar.update()
