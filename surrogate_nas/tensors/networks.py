"""Lazy layers of a network, which learn their sizes from their first input."""

from __future__ import annotations

import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.tensors import Tensors


def is_lazy(network: nn.Module) -> bool:
    """Return whether a network has layers that learn their sizes from their first input."""
    return any(map(nn.parameter.is_lazy, [*network.parameters(), *network.buffers()]))


def materialize(network: nn.Module, inputs: Tensors) -> str | None:
    """Give the lazy layers of a network their sizes, by one pass of example inputs.

    The weights are drawn from PyTorch's global generator. Batch statistics stay as they are.

    Args:
        network: The network; without lazy layers nothing is run.
        inputs: Example inputs on the network's device.

    Returns:
        Name of a parameter or buffer that the inputs did not reach; None if all have a size.

    Raises:
        Exception: The error of the network, if the inputs do not go through it.
    """
    if not is_lazy(network):
        return None
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            tensors.call(network, inputs)
    finally:
        for module, mode in modes.items():
            module.training = mode
    named = [*network.named_parameters(), *network.named_buffers()]
    return next((name for name, tensor in named if nn.parameter.is_lazy(tensor)), None)
