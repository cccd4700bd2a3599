"""Decide how many candidates to train at the same time on one device.

On a CPU it is one for each core, as many as fit into memory. On CUDA a few probes, trainings cut
short by a time limit, measure the memory of one training and the speed of several side by side.
The decision itself is arithmetic, in :func:`fitting` and :func:`best_rate`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import torch

from surrogate_nas.running.runnable import Runnable, Training
from surrogate_nas.space import Architecture, SearchSpace, build_network
from surrogate_nas.space.draw import accepted, random_chooser
from surrogate_nas.task import Task
from surrogate_nas.training.data import prepared_bytes
from surrogate_nas.training.trainer import seeded

WORKER_BYTES = 500 * 2**20
"""Host memory of a worker without its data: Python, PyTorch and a small network's training."""
CONTEXT_BYTES = 600 * 2**20
"""Device memory that CUDA takes for a process beside what PyTorch reserves."""
_SHARE = 0.9
"""Part of the free memory that is counted on."""
_GAIN = 1.05
"""By how much the rate must grow for more trainings at once to be worth it."""
_DRAWS = 16
"""Random architectures among which a probe looks for a typical and for a large one."""
_MEMORY_INFO = Path("/proc/meminfo")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@final
@dataclass(frozen=True)
class Probe:
    """An order to train a random architecture for a moment.

    Args:
        seconds: Duration of the training.
        quantile: Place of the architecture among random ones by size: 0.5 is a typical one, 1 a
            large one.
    """

    seconds: float
    quantile: float


@final
@dataclass(frozen=True)
class Probed:
    """What a probe measured.

    Args:
        steps_per_second: Number of optimizer steps per second.
        reserved_bytes: Largest device memory that PyTorch reserved; 0 on a CPU.
        free_bytes: Device memory that was free before. This process's context is counted as taken.
    """

    steps_per_second: float
    reserved_bytes: int = 0
    free_bytes: int = 0


def fitting(free_bytes: float, bytes_each: float) -> int:
    """Return how many trainings fit into free memory, at least one.

    Args:
        free_bytes: Memory that all of them may share; infinite if unknown.
        bytes_each: Memory of one training, its process included.
    """
    fits = _SHARE * free_bytes / bytes_each
    return max(int(min(fits, 2**31)), 1)


def best_rate(rates: Mapping[int, float]) -> int:
    """Return the smallest number of trainings at once that is nearly as fast as any.

    Args:
        rates: Steps per second of all trainings together, by their number.
    """
    most = max(rates.values())
    return min(n for n, rate in rates.items() if rate * _GAIN >= most)


def worth_doubling(rates: Mapping[int, float], n: int) -> bool:
    """Return whether twice as many may be faster still, because n were faster than n / 2."""
    before = rates.get(n // 2)
    return before is None or rates[n] >= _GAIN * before


def cores() -> int:
    """Return the number of whole CPU cores that this process may use."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        allowed = os.cpu_count() or 1
    return max(min(allowed, int(_quota())), 1)


def _quota() -> float:
    """Return the number of cores that a container is limited to."""
    try:
        # Where there is no limit, the quota is the word "max", which is no number.
        quota, period = _QUOTA.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return float(2**31)


def free_memory() -> float:
    """Return the host's available memory in bytes; infinite if it is unknown."""
    try:
        lines = _MEMORY_INFO.read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("MemAvailable:"))
        return 1024.0 * int(line.split()[1])
    except (OSError, ValueError):
        return math.inf


def data_bytes(task: Task) -> int:
    """Return the memory of a task's data in a worker: all raw splits, and two prepared ones."""
    splits = [task.train, task.validation]
    raw = sum(split.n_bytes for split in (*splits, task.test))
    return raw + sum(prepared_bytes(split, task) for split in splits)


def worker_bytes(objective: Runnable) -> float:
    """Return the host memory that a worker on a CPU takes."""
    training = objective.training
    return float(WORKER_BYTES + (0 if training is None else data_bytes(training.task)))


def probe(training: Training, order: Probe) -> Probed:
    """Train one architecture for a moment, and return what that took."""
    task, space = training.task, training.space
    chosen = _architecture(space.for_task(task), order.quantile)
    # More epochs than can be trained, so that the time alone ends the probe.
    trainer = replace(training.trainer, time_limit_seconds=order.seconds, epochs=10**6)
    device = torch.device(trainer.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    with seeded(0):
        network = build_network(space, chosen, task)
    part, view = space.training_view(network, task, device)
    outcome = trainer.train(part, view, seed=0, groups=space.parameter_groups(part))
    # Memory that PyTorch keeps is lost to other processes, even if no tensor lies in it.
    reserved = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0
    # The worker lives on and trains, or is probed again beside others.
    del network, part, view
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return Probed(outcome.n_steps / outcome.train_seconds, reserved, free)


def _architecture(space: SearchSpace, quantile: float) -> Architecture:
    """Return the architecture at a place among random ones.

    They are ordered by the first quantity that the space counts.
    """
    rng = np.random.default_rng(0)
    drawn = [accepted(space.suggest, random_chooser(rng))[1] for _ in range(_DRAWS)]
    drawn.sort(key=lambda one: next(iter(space.describe(one).values()), 0.0))
    return drawn[round(quantile * (len(drawn) - 1))]
