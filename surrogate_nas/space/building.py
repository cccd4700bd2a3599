"""Build the network of an architecture: what a user's ``build`` returns, ready to be trained."""

from __future__ import annotations

import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.space.networks import checked_network, with_sizes
from surrogate_nas.space.search_space import Architecture, Exemplary, SearchSpace, TaskShape
from surrogate_nas.tensors import AnyTensors


def build_network(space: SearchSpace, architecture: Architecture, task: TaskShape) -> nn.Module:
    """Return the network of an architecture, its lazy layers with their sizes.

    Random numbers come from PyTorch's global generator.

    Args:
        space: The search space.
        architecture: An architecture of it.
        task: The task, or its shape. Lazy layers get their sizes from one input of the task, or
            from zeros of its ``input_shape`` where there is no task.

    Raises:
        SpaceError: ``build`` returned no network, or an input does not reach a lazy layer.
    """

    def inputs(device: torch.device) -> AnyTensors:
        if isinstance(task, Exemplary):
            return tensors.to_device(task.example(1), device)
        return torch.zeros(1, *task.input_shape, device=device)

    built = space.build(architecture, task)
    return with_sizes(checked_network(built, f"{type(space).__name__}.build"), inputs)
