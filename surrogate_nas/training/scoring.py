"""The metric of a network on a split."""

from __future__ import annotations

import math
import numbers

import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.errors import TrainingError
from surrogate_nas.metric import Scorer
from surrogate_nas.task import Collecting, Task
from surrogate_nas.training.data import Source
from surrogate_nas.training.device import predict
from surrogate_nas.training.memory import MAYBE_OUT_OF_MEMORY, is_out_of_memory, release

_BATCHES = {"cpu": 512, "cuda": 2048}
"""Rows of one forward pass; on a GPU more, as launching kernels is what takes the time there."""


def score(network: nn.Module, task: Task, data: Source, device: torch.device) -> float:
    """Return the metric of a network on a whole split; NaN if an output is not finite.

    Where memory runs out, smaller batches are tried, down to single inputs.

    Raises:
        TrainingError: The network's outputs do not fit the task, or the scorer gives no number.
    """
    network.eval()
    batch = min(data.most_rows or _BATCHES.get(device.type, 512), len(data))
    while True:
        try:
            with torch.inference_mode():
                return _scored(network, task, data, batch)
        except MAYBE_OUT_OF_MEMORY as error:
            if batch == 1 or not is_out_of_memory(error):
                raise
        # NOTE: outside the handler, where the error no longer keeps the failed pass in memory.
        release(device)
        batch = (batch + 1) // 2


def _scored(network: nn.Module, task: Task, data: Source, batch: int) -> float:
    """Score batch by batch; NaN at the first output that is not finite."""
    scorer = task.scorer()
    for inputs, targets in data.in_order(batch):
        outputs = predict(network, inputs, task)
        if not tensors.are_finite(outputs):
            return math.nan
        scorer.update(outputs, targets)
    return _number(scorer, task)


def _number(scorer: Scorer, task: Task) -> float:
    """Ask a scorer for its number.

    Raises:
        TrainingError: It gives something else.
    """
    value = scorer.compute()
    if isinstance(value, torch.Tensor) and value.ndim == 0:
        value = value.item()
    if isinstance(value, numbers.Real):
        return float(value)
    name = scorer.name if isinstance(scorer, Collecting) else type(scorer).__qualname__
    raise TrainingError(
        expected=f"a number as the {task.metric.name} of a split",
        got=f"{value!r:.100} of type {type(value).__name__} from {name}",
        fix=f"return a float from {name}{'' if isinstance(scorer, Collecting) else '.compute'}",
    )
