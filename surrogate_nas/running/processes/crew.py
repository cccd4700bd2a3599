"""Start as many workers as should train at the same time."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Literal, TypeAlias

import torch

from surrogate_nas.errors import StudyError
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
from surrogate_nas.running.processes.messages import Ended, Ready
from surrogate_nas.running.processes.worker_pool import Worker, WorkerPool
from surrogate_nas.running.runnable import Runnable

NConcurrent: TypeAlias = int | Literal["auto"]

_logger = logging.getLogger(__name__)

_PROBE_SECONDS = 4.0


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
    workers = [_ready(pool)]
    # A large architecture says how many fit into memory, and typical ones below how fast they are.
    probed = _probe(pool, workers, quantile=1.0)
    if not probed:
        warnings.warn(
            "A probe of the device failed; one candidate is trained at a time.", stacklevel=3
        )
        return 1
    (large,) = probed
    each = float(CONTEXT_BYTES + large.reserved_bytes)
    # The probe has counted its own context as taken, and is one of those that shall fit.
    fits = fitting(large.free_bytes + CONTEXT_BYTES, each)
    if wanted != "auto":
        n = _reduced(min(wanted, at_most), fits, f"{each / 2**20:,.0f} MiB on the device each")
        workers += [_ready(pool) for _ in range(n - 1)]
        return n
    limit = min(fits, at_most, cores())
    rates: dict[int, float] = {}
    n = 1
    while True:
        workers += [_ready(pool) for _ in range(n - len(workers))]
        probed = _probe(pool, workers, quantile=0.5)
        # A failed probe gets the rate 0, so that a smaller number wins.
        rates[n] = sum(one.steps_per_second for one in probed)
        if not probed or 2 * n > limit or not worth_doubling(rates, n):
            break
        # Each number costs seconds, so only powers of two are tried, as long as they pay.
        n *= 2
    n = best_rate(rates)
    for worker in workers[n:]:
        pool.remove(worker)
    shown = ", ".join(f"{rate:.0f} steps/s with {k}" for k, rate in rates.items())
    _logger.info("%d candidates at once: %s; %d fit into memory.", n, shown, fits)
    return n


def _ready(pool: WorkerPool) -> Worker:
    """Start a worker and wait until it has its objective."""
    worker = pool.add()
    event = pool.next(None)
    if event is None or not isinstance(event[1], Ready):
        raise not_started(f"exit code {pool.remove(worker, seconds=10.0)}")
    return worker


def not_started(how: str) -> StudyError:
    """Return the error of a worker that ended before it had its objective."""
    return StudyError(
        expected="an objective that a process of its own can be given",
        got=f"{how} of that process; its message is above",
        fix="make sure that everything in the objective can be imported or copied there, or train "
        "with n_concurrent=1",
    )


def _probe(pool: WorkerPool, workers: Sequence[Worker], quantile: float) -> list[Probed]:
    """Let workers train for a moment, all at once; return nothing if one of them fails."""
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
