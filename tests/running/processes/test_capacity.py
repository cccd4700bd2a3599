"""How many candidates at once: the arithmetic, and what it is made of."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from surrogate_nas.running.objective import Objective
from surrogate_nas.running.processes import capacity
from surrogate_nas.running.processes.capacity import (
    Probe,
    best_rate,
    cores,
    data_bytes,
    fitting,
    free_memory,
    probe,
    worth_doubling,
)
from surrogate_nas.space.draw import Draw, random_chooser
from surrogate_nas.task import Task
from surrogate_nas.training.trainer import Outcome, Trainer
from tests.helpers.toys import ToySpace, ToyTask

GIB = 2**30


@pytest.mark.parametrize(
    ("free", "each", "n"),
    [
        (80 * GIB, 2 * GIB, 36),
        (80 * GIB, 100 * GIB, 1),
        (10 * GIB, 9 * GIB, 1),
        (0, GIB, 1),
        (math.inf, GIB, 2**31),
    ],
)
def test_a_tenth_of_the_memory_is_left_free_and_one_always_tries(
    free: float, each: float, n: int
) -> None:
    """From free memory and what one training takes."""
    assert fitting(free, each) == n


@pytest.mark.parametrize(
    ("rates", "n"),
    [
        ({1: 100.0}, 1),
        ({1: 100.0, 2: 104.0}, 1),
        ({1: 100.0, 2: 190.0, 4: 300.0}, 4),
        ({1: 100.0, 2: 190.0, 4: 195.0}, 2),
        ({1: 100.0, 2: 190.0, 4: 150.0}, 2),
        ({1: 100.0, 2: 60.0}, 1),
    ],
)
def test_the_fewest_that_are_nearly_as_fast_as_any(rates: dict[int, float], n: int) -> None:
    """More trainings at once take longer each, and know less of each other."""
    assert best_rate(rates) == n


def test_doubling_goes_on_while_it_gains() -> None:
    """By a twentieth at least."""
    assert worth_doubling({1: 100.0}, 1)
    assert worth_doubling({1: 100.0, 2: 106.0}, 2)
    assert not worth_doubling({1: 100.0, 2: 104.0}, 2)


def test_cores_are_those_that_this_process_may_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less where a container has a quota; one at least; nothing breaks where files are odd."""
    allowed = len(os.sched_getaffinity(0))
    for text, wanted in (
        ("max 100000", allowed),
        ("100000 100000", 1),
        ("50000 100000", 1),
        ("junk", allowed),
        ("6400000 100000", allowed),
    ):
        quota = tmp_path / "cpu.max"
        quota.write_text(text)
        monkeypatch.setattr(capacity, "_QUOTA", quota)
        assert cores() == wanted
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert cores() == 12


def test_free_memory_is_what_the_system_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no bound where it says nothing."""
    assert 10 * 2**20 < free_memory() < 2**50
    info = tmp_path / "meminfo"
    monkeypatch.setattr(capacity, "_MEMORY_INFO", info)
    assert free_memory() == math.inf
    info.write_text("MemTotal: 5 kB\nMemAvailable:   2048 kB\n")
    assert free_memory() == 2 * 2**20


def test_data_are_counted_raw_and_prepared() -> None:
    """uint8 images and int64 labels, and train and validation in float32."""
    task = ToyTask()
    assert data_bytes(task) == 240 * (64 + 8) + 192 * 64 * 4


def test_a_probe_trains_for_a_moment() -> None:
    """Steps are counted; a CPU has no memory of its own to be counted."""
    objective = Objective(ToyTask(), ToySpace(), Trainer(batch_size=32, device="cpu"))
    probed = probe(objective.training, Probe(0.5, 0.5))
    assert probed.steps_per_second > 0
    assert (probed.reserved_bytes, probed.free_bytes) == (0, 0)


def test_a_probe_trains_a_small_a_typical_or_a_large_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the first number that the space counts."""
    trained: list[int] = []

    def train(self: Trainer, network: nn.Module, task: Task, **settings: Any) -> Outcome:
        trained.append(sum(p.numel() for p in network.parameters()))
        return original(self, network, task, **settings)

    original = Trainer.train
    monkeypatch.setattr(Trainer, "train", train)
    objective = Objective(ToyTask(), ToySpace(), Trainer(batch_size=32, device="cpu"))
    for quantile in (0.0, 0.5, 1.0):
        probe(objective.training, Probe(0.01, quantile))

    small, typical, large = trained
    assert small < typical < large
    # The same sixteen architectures as the probe draws.
    space, rng = ToySpace().for_task(ToyTask()), np.random.default_rng(0)
    drawn = [space.suggest(Draw(random_chooser(rng))) for _ in range(16)]
    sizes = sorted(space.describe(one)["parameters"] for one in drawn)
    assert (small, large) == (sizes[0], sizes[-1])
    assert sizes[4] <= typical <= sizes[11]
