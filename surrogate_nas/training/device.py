"""Where a network lives, and one forward pass of it there."""

from __future__ import annotations

from contextlib import nullcontext
from functools import lru_cache

import torch
from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.task import Task


def find_device(name: str | None) -> torch.device:
    """Return a device that can be used here; by default CUDA if there is a GPU, else the CPU.

    Raises:
        TrainingError: There is no such device.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise TrainingError(
            expected="a device that can be used here, such as 'cpu' or 'cuda'",
            got=f"{name!r}: {str(error).splitlines()[0]}",
            fix="give the Trainer another device, or None for the GPU if there is one",
        ) from error
    if device.type == "cuda" and ":" not in name:
        return torch.device("cuda", torch.cuda.current_device())
    return device


@lru_cache
def _autocasts(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 by itself; older GPUs would emulate it slowly."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def place(network: nn.Module, device: torch.device) -> None:
    """Move a network to its device, in the memory layout that is fast there."""
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def forward(network: nn.Module, inputs: torch.Tensor, task: Task) -> torch.Tensor:
    """Return a network's outputs (n, n_outputs) in float32.

    Raises:
        TrainingError: They have another shape.
    """
    if inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    is_cast = _autocasts(inputs.device)
    with torch.autocast("cuda", dtype=torch.bfloat16) if is_cast else nullcontext():
        outputs = network(inputs)
    shape = (len(inputs), task.n_outputs)
    got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
    if got != shape:
        raise TrainingError(
            expected=f"a network whose output has shape {shape}",
            got=f"{got}",
            fix="end the network with a layer of task.n_outputs outputs",
        )
    result: torch.Tensor = outputs.float()
    return result
