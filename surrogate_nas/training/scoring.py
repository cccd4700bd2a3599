"""The metric of a network on a split."""

from __future__ import annotations

import math

import torch
from torch import nn

from surrogate_nas.task import Task
from surrogate_nas.training.data import Source
from surrogate_nas.training.device import forward
from surrogate_nas.training.memory import MAYBE_OUT_OF_MEMORY, is_out_of_memory, release

_BATCHES = {"cpu": 512, "cuda": 2048}
"""Rows of one forward pass; on a GPU more, as launching kernels is what takes the time there."""


def score(network: nn.Module, task: Task, data: Source, device: torch.device) -> float:
    """Return the metric of a network on a whole split; NaN if an output is not finite.

    Where memory runs out, smaller batches are tried, down to single inputs.

    Raises:
        TrainingError: The network's output has the wrong shape.
    """
    network.eval()
    outputs: torch.Tensor | None = None
    batch = min(_BATCHES.get(device.type, 512), len(data))
    while outputs is None:
        outputs = _outputs(network, task, data, batch)
        if outputs is None:
            release(device)
            batch = (batch + 1) // 2
    if not outputs.isfinite().all():
        return math.nan
    return task.score(outputs, data.targets.cpu())


def _outputs(network: nn.Module, task: Task, data: Source, batch: int) -> torch.Tensor | None:
    """All outputs, on the CPU; None if there is not enough memory for such batches."""
    try:
        with torch.inference_mode():
            return torch.cat([forward(network, x, task) for x in data.inputs(batch)]).cpu()
    except MAYBE_OUT_OF_MEMORY as error:
        if batch == 1 or not is_out_of_memory(error):
            raise
        return None
