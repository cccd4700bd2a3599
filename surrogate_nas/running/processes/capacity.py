"""How many candidates to train at once on one device.

On a CPU: one for each core, as many as fit into memory. On CUDA that follows from what a few
probes measure, trainings cut short by a time limit: how much memory one takes, and how the number
of steps a second grows with the number of trainings. The choice itself is arithmetic
(:func:`fitting`, :func:`best_rate`), apart from what it is made of.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from surrogate_nas.draw import Draw, random_chooser
from surrogate_nas.running.objective import Objective
from surrogate_nas.space import Architecture, SearchSpace
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
    """Train a random architecture for a moment.

    Args:
        seconds: How long.
        quantile: Its place among random architectures by size: 0.5 is a typical, 1 a large one.
    """

    seconds: float
    quantile: float


@final
@dataclass(frozen=True)
class Probed:
    """What a probe measured.

    Args:
        steps_per_second: Optimizer steps.
        reserved_bytes: The most device memory that PyTorch reserved; 0 on a CPU.
        free_bytes: Device memory that was free before, this process's context counted as taken.
    """

    steps_per_second: float
    reserved_bytes: int = 0
    free_bytes: int = 0


def fitting(free_bytes: float, bytes_each: float) -> int:
    """Return how many trainings fit into free memory, at least one.

    Args:
        free_bytes: Memory that all of them may share; infinite if unknown.
        bytes_each: What one takes, its process included.
    """
    fits = _SHARE * free_bytes / bytes_each
    return max(int(min(fits, 2**31)), 1)


def best_rate(rates: Mapping[int, float]) -> int:
    """Return the smallest number of trainings at once that is nearly as fast as any.

    Args:
        rates: Steps a second of all together, by how many train at once.
    """
    most = max(rates.values())
    return min(n for n, rate in rates.items() if rate * _GAIN >= most)


def worth_doubling(rates: Mapping[int, float], n: int) -> bool:
    """Whether twice as many may be faster still: n were faster than half as many."""
    before = rates.get(n // 2)
    return before is None or rates[n] >= _GAIN * before


def cores() -> int:
    """Return the CPU cores that this process may use, whole ones."""
    try:
        allowed = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        allowed = os.cpu_count() or 1
    return max(min(allowed, int(_quota())), 1)


def _quota() -> float:
    """Cores that a container is limited to."""
    try:
        quota, period = _QUOTA.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return float(2**31)


def free_memory() -> float:
    """Return the host's available memory in bytes; infinite where it is not known."""
    try:
        lines = _MEMORY_INFO.read_text().splitlines()
        (line,) = (line for line in lines if line.startswith("MemAvailable:"))
        return 1024.0 * int(line.split()[1])
    except (OSError, ValueError):
        return math.inf


def data_bytes(task: Task) -> int:
    """Return what a worker on a CPU holds of a task: the raw splits, and two of them prepared."""
    splits = [task.train, task.validation]
    raw = sum(split.n_bytes for split in (*splits, task.test))
    return raw + sum(prepared_bytes(split, task) for split in splits)


def probe(objective: Callable[[Any], Any], order: Probe) -> Probed:
    """Train one architecture of an :class:`Objective` for a moment, and say what that took."""
    assert isinstance(objective, Objective)
    task, space = objective.task, objective.space
    chosen = _architecture(space.for_task(task), order.quantile)
    trainer = replace(objective.trainer, time_limit_seconds=order.seconds, epochs=10**6)
    device = torch.device(trainer.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
    with seeded(0):
        network = space.build(chosen, task)
    outcome = trainer.train(network, task, seed=0, groups=space.parameter_groups(network))
    reserved = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0
    del network
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return Probed(outcome.n_steps / outcome.train_seconds, reserved, free)


def _architecture(space: SearchSpace, quantile: float) -> Architecture:
    """The architecture at a place among random ones, ordered by what the space counts first."""
    rng = np.random.default_rng(0)
    drawn = [space.suggest(Draw(random_chooser(rng))) for _ in range(_DRAWS)]
    drawn.sort(key=lambda one: next(iter(space.describe(one).values()), 0.0))
    return drawn[round(quantile * (len(drawn) - 1))]
