"""Where the time of a training step goes: data, forward, backward, optimizer, and what is idle."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from studies.training_speed.workloads import build
from surrogate_nas.task import Task
from surrogate_nas.training.data import source
from surrogate_nas.training.device import find_device, forward, place
from surrogate_nas.training.network_step import NetworkStep
from surrogate_nas.training.trainer import Trainer

PARTS = ("data", "forward", "backward", "optimizer")
STEPS = 60
WARM_UP = 10


def profile(name: str, task: Task, trainer: Trainer) -> dict[str, Any]:
    """Time the parts of a step one by one, and whole steps as the Trainer makes them.

    Parts are timed with a wait for the device after each, from end to end; on a GPU they are also
    measured by the device's own clock (events), which leaves launching out.

    Returns:
        Milliseconds a step: of each part, of the whole step ("step"), and the processor's ("cpu").
    """
    device = find_device(trainer.device)
    network = build(name, task)
    place(network, device)
    data = source(task.train, task, device)
    generator = torch.Generator().manual_seed(0)
    step = NetworkStep(network, task, data, trainer._step_settings, generator, 0, device)
    rows = data.rows(torch.randperm(len(data), generator=generator))[: trainer.batch_size]
    step.begin_epoch()
    parts = _Parts(device)
    for number in range(STEPS):
        if number == WARM_UP:
            parts.seconds.clear()
            parts.device_seconds.clear()
        with parts.timed("data"):
            inputs, targets = step._varied(data.take(rows))
        with parts.timed("forward"):
            step._updater.optimizer.zero_grad()
            outputs = forward(network, inputs, task)
            loss = task.loss(outputs, targets, trainer.label_smoothing)
        with parts.timed("backward"):
            loss.backward()  # type: ignore[no-untyped-call]
        with parts.timed("optimizer"):
            step._updater.step()
    for _ in range(WARM_UP):
        step(1e-3, 1.0, rows)
    _wait(device)
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(STEPS):
        step(1e-3, 1.0, rows)
    _wait(device)
    n = STEPS - WARM_UP
    return {
        "network": name,
        "device": device.type,
        **{part: 1000 * parts.seconds[part] / n for part in PARTS},
        **{f"{part}_on_device": 1000 * parts.device_seconds[part] / n for part in PARTS},
        "step": 1000 * (time.perf_counter() - wall) / STEPS,
        "processor": 1000 * (time.process_time() - processor) / STEPS,
    }


class _Parts:
    """Adds up the time of each part."""

    def __init__(self, device: torch.device) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.device_seconds: dict[str, float] = defaultdict(float)
        self._device = device

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        _wait(self._device)
        began = time.perf_counter()
        if self._device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()
            yield
            end.record()
            _wait(self._device)
            self.device_seconds[part] += start.elapsed_time(end) / 1000
        else:
            yield
        self.seconds[part] += time.perf_counter() - began


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
