"""An estimate of the time that a training takes, before it begins."""

from __future__ import annotations

import copy
import math
import time

import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.task import Task
from surrogate_nas.tensors.counting import tried
from surrogate_nas.training.device import find_device, predict, prepare
from surrogate_nas.training.seeding import seeded
from surrogate_nas.training.trainer import Trainer

_MOST_ROWS = 64
"""Largest batch that is timed."""
_PASSES_A_STEP = 3
"""Cost of a training step in forward passes: the backward pass takes about two."""


def expected_seconds(network: nn.Module, task: Task, trainer: Trainer) -> float:
    """Return about how many seconds a training takes; NaN where that cannot be told.

    A copy of the network runs a batch twice, and the second pass is timed. The network and all
    random generators stay as they are.

    Args:
        network: The network to be trained.
        task: The task that it is trained for.
        trainer: Settings of the training.
    """
    with seeded(0):
        seconds = tried(lambda: _seconds_of_a_row(copy.deepcopy(network), task, trainer))
    if isinstance(seconds, Exception):  # some networks cannot be copied, or two are too large
        return math.nan
    rows = _PASSES_A_STEP * len(task.train) * trainer.full_epochs
    rows += len(task.validation) * trainer.epochs
    limit = trainer.time_limit_seconds
    return min(rows * seconds, math.inf if limit is None else limit)


def _seconds_of_a_row(network: nn.Module, task: Task, trainer: Trainer) -> float:
    """Time a forward pass of a network that may be spoilt, and return the seconds for one row."""
    device = find_device(trainer.device)
    prepare(network, task, device)
    network.eval()
    n_rows = min(trainer.batch_size, len(task.train), _MOST_ROWS)
    inputs = tensors.to_device(task.example(n_rows), device)
    seconds = math.nan
    with torch.inference_mode():
        for _ in range(2):
            began = time.perf_counter()
            predict(network, inputs, task)
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds = time.perf_counter() - began
    return seconds / n_rows
