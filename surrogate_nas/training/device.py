"""Where a network lives, and one forward pass of it there."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from typing import Any

import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.errors import TrainingError
from surrogate_nas.space.networks import with_sizes
from surrogate_nas.task import Task
from surrogate_nas.tensors import AnyTensors, Tensors


def find_device(name: str | None) -> torch.device:
    """Return a device that can be used here; by default CUDA if there is a GPU, else the CPU.

    Raises:
        TrainingError: There is no such device.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        # A name may be valid without the device being there.
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise no_such_device(name, error) from error
    # With its number, as what is stored on "cuda" would not be found on "cuda:0".
    if device.type == "cuda" and ":" not in name:
        return torch.device("cuda", torch.cuda.current_device())
    return device


def no_such_device(name: str, error: Exception) -> TrainingError:
    """Return the error for a device that PyTorch does not know or cannot use here."""
    return TrainingError(
        expected="a device that can be used here, such as 'cpu' or 'cuda'",
        got=f"{name!r:.100}: {str(error).splitlines()[0]}",
        fix="give the Trainer another device, or None for the GPU if there is one",
    )


@lru_cache
def _autocasts(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 by itself; older GPUs would emulate it slowly."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def place(network: nn.Module, device: torch.device) -> None:
    """Move a network to its device, in the memory layout that is fast there."""
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def prepare(network: nn.Module, task: Task, device: torch.device) -> None:
    """Place a network on its device. Lazy layers get their sizes from one input of the task.

    Raises:
        TrainingError: It is no network.
        SpaceError: A lazy layer does not get its size.
    """
    if not isinstance(network, nn.Module):
        raise TrainingError(
            expected="a torch.nn.Module as the network",
            got=f"{network!r:.100} of type {type(network).__name__}",
            fix="pass an instance of the network's class",
        )
    with_sizes(network, lambda where: tensors.to_device(task.example(1), where))
    place(network, device)


def forward(
    network: nn.Module, inputs: Tensors, task: Task, targets: Tensors | None = None
) -> AnyTensors:
    """Return what a task's ``forward`` gives in training, floating-point numbers in float32.

    Raises:
        TrainingError: It does not fit the task.
    """
    inputs = tensors.channels_last(inputs)
    with _precision(inputs):
        outputs = task.forward(network, inputs, targets)
    return _checked(outputs, inputs, task)


def predict(network: nn.Module, inputs: Tensors, task: Task) -> AnyTensors:
    """Return what a task's ``predict`` gives in evaluation, as :func:`forward` does.

    Raises:
        TrainingError: It does not fit the task.
    """
    inputs = tensors.channels_last(inputs)
    with _precision(inputs):
        outputs = task.predict(network, inputs)
    return _checked(outputs, inputs, task)


def _precision(inputs: Tensors) -> AbstractContextManager[None]:
    """Compute in bfloat16 where the device does that by itself."""
    is_cast = _autocasts(tensors.device_of(inputs))
    return torch.autocast("cuda", dtype=torch.bfloat16) if is_cast else nullcontext()


def _checked(outputs: Any, inputs: Tensors, task: Task) -> AnyTensors:
    task.check_outputs(outputs, tensors.n_rows(inputs))
    if not tensors.is_tensors(outputs):
        raise TrainingError(
            expected="a tensor, or named tensors, as outputs",
            got=type(outputs).__name__,
            fix=f"return them from {type(task).__name__}.forward and .predict",
        )
    return tensors.in_float32(outputs)
