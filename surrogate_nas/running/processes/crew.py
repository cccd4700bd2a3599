"""Start as many workers as should train at the same time."""

from __future__ import annotations

import logging
import warnings
from typing import Literal, TypeAlias

import torch

from surrogate_nas.errors import StudyError, TrainingError
from surrogate_nas.running.processes.capacity import (
    CONTEXT_BYTES,
    Probe,
    Probed,
    best_rate,
    cores,
    fitting,
    free_memory,
    worker_bytes,
    worth_doubling,
)
from surrogate_nas.running.processes.messages import Ended, Ready, Refused
from surrogate_nas.running.processes.worker_pool import WorkerPool, after_words
from surrogate_nas.running.runnable import Runnable

NConcurrent: TypeAlias = int | Literal["auto"]

_logger = logging.getLogger(__name__)

_PROBE_SECONDS = 4.0

MOST_DEATHS = 3
"""Number of processes that die in a row before they have their objective, for one worker, after
which the next ones would die, too."""


def check(n_concurrent: NConcurrent) -> None:
    """Refuse a value that is neither a number from 1 nor "auto".

    Raises:
        StudyError: The value is neither.
    """
    is_number = isinstance(n_concurrent, int) and not isinstance(n_concurrent, bool)
    if n_concurrent != "auto" and not (is_number and n_concurrent >= 1):
        raise StudyError(
            expected="n_concurrent from 1, or 'auto'",
            got=repr(n_concurrent),
            fix="give the number of candidates to train at once",
        )


def trains_on_cuda(objective: Runnable) -> bool:
    """Return whether an objective trains on CUDA, as far as that is known."""
    if objective.training is None:
        return False
    device = objective.device
    return torch.cuda.is_available() if device is None else torch.device(device).type == "cuda"


def n_on_host(objective: Runnable, wanted: NConcurrent, at_most: int) -> int:
    """Return how many workers this host has cores and memory for, as far as that is known.

    Args:
        objective: Objective that the workers run.
        wanted: A number, or "auto" for one worker a core.
        at_most: Number beyond which workers have nothing to do.
    """
    each = worker_bytes(objective)
    fits = fitting(free_memory(), each)
    n = min(cores() if wanted == "auto" else wanted, at_most)
    return _reduced(n, fits, f"{each / 2**20:,.0f} MiB of memory each")


def n_on_device(pool: WorkerPool, wanted: NConcurrent, at_most: int) -> int:
    """Return how many trainings a CUDA device has memory for; fewer if that is as fast.

    As many workers as it returns are in the pool afterwards, all of them ready.

    Args:
        pool: Pool without workers.
        wanted: A number, or "auto" for the fastest one.
        at_most: Number beyond which workers have nothing to do.
    """
    # A large architecture says how many fit into memory, and typical ones below how fast they are.
    _fill(pool, 1)
    probed = _probe(pool, quantile=1.0)
    if not probed:
        warnings.warn(
            "A probe of the device failed; one candidate is trained at a time.", stacklevel=3
        )
        return 1
    (large,) = probed
    each = float(CONTEXT_BYTES + large.reserved_bytes)
    # NOTE: the probe measured the free memory beside its own context. The context is added, as the
    # probe is one of the workers that have to fit.
    fits = fitting(large.free_bytes + CONTEXT_BYTES, each)
    if wanted != "auto":
        n = _reduced(min(wanted, at_most), fits, f"{each / 2**20:,.0f} MiB on the device each")
        _fill(pool, n)
        return n
    limit = min(fits, at_most, cores())
    rates: dict[int, float] = {}
    n = 1
    while True:
        _fill(pool, n)
        probed = _probe(pool, quantile=0.5)
        # A failed probe gets the rate 0, so that a smaller number wins.
        rates[n] = sum(one.steps_per_second for one in probed)
        if not probed or 2 * n > limit or not worth_doubling(rates, n):
            break
        # Each number costs seconds, so only powers of two are tried, as long as they pay.
        n *= 2
    n = best_rate(rates)
    for worker in pool.workers[n:]:
        pool.remove(worker)
    shown = ", ".join(f"{rate:.0f} steps/s with {k}" for k, rate in rates.items())
    _logger.info("%d candidates at once: %s; %d fit into memory.", n, shown, fits)
    return n


def _fill(pool: WorkerPool, n: int) -> None:
    """Start workers until n are in the pool, each with its objective; replace any that dies."""
    n_deaths = 0
    starting = {pool.add() for _ in range(n - len(pool.workers))}
    while starting:
        event = pool.next(None)
        if event is None:
            continue
        worker, message = event
        if isinstance(message, Refused):
            raise refused(message)
        if isinstance(message, Ready):
            starting.discard(worker)
            n_deaths = 0
        elif message is None:
            how = pool.remove(worker, seconds=10.0)
            if worker in starting:
                starting.remove(worker)
                n_deaths += 1
                check_deaths(n_deaths, n, how, worker.last_words())
            starting.add(pool.add())


def check_deaths(n_deaths: int, n_workers: int, how: str, said: str) -> None:
    """Warn of a worker that has died before it was ready, unless too many have.

    Args:
        n_deaths: Number of such deaths in a row.
        n_workers: Number of workers that are wanted.
        how: How the last one ended.
        said: Last words of that one.

    Raises:
        TrainingError: There are too many.
    """
    if n_deaths < MOST_DEATHS * max(MOST_DEATHS, n_workers):
        _logger.warning("A worker died before it was ready (%s); another takes its place.", how)
        return
    raise TrainingError(
        expected="worker processes that live until they have their objective",
        got=f"{n_deaths} in a row that died before, the last one by {how}{after_words(said)}",
        fix="look at these words; if there are none, out of memory is the usual reason: train "
        "fewer candidates at once",
    )


def refused(message: Refused) -> StudyError:
    """Return the error of an objective that no worker can be given."""
    error = StudyError(
        expected="an objective that a process of its own can be given",
        got=f"{type(message.error).__name__}: {message.error}",
        fix="make sure that everything in the objective can be imported or copied there, or train "
        "with n_concurrent=1",
    )
    error.__cause__ = message.error
    return error


def _probe(pool: WorkerPool, quantile: float) -> list[Probed]:
    """Let all workers train for a moment, at once; return nothing if one of them fails."""
    workers = list(pool.workers)
    # All orders go out before an answer is awaited, or the probes would not run side by side.
    for worker in workers:
        worker.send(Probe(_PROBE_SECONDS, quantile))
    found: list[Probed] = []
    for _ in workers:
        event = pool.next(None)
        said = None if event is None else event[1]
        if isinstance(said, Probed):
            found.append(said)
        elif isinstance(said, Ended):
            _logger.warning("A probe failed.", exc_info=said.error)
        elif event is not None:
            pool.remove(event[0])
    return found if len(found) == len(workers) else []


def _reduced(wanted: int, fits: int, why: str) -> int:
    """Return the wanted number; if fewer fit, return their number, with a warning."""
    if wanted > fits:
        warnings.warn(
            f"Expected room for {wanted} candidates at once; {fits} fit at {why}. "
            f"Going on with {fits}.",
            stacklevel=4,
        )
    return min(wanted, fits)
