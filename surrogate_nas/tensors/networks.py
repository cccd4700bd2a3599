"""Lazy layers of a network, which learn their sizes from their first input."""

from __future__ import annotations

import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.tensors import Tensors


def is_lazy(network: nn.Module) -> bool:
    """Return whether a network has layers that learn their sizes from their first input."""
    return any(map(nn.parameter.is_lazy, [*network.parameters(), *network.buffers()]))


def materialize(network: nn.Module, inputs: Tensors) -> None:
    """Give the lazy layers of a network their sizes, by one pass of example inputs.

    The weights are drawn from PyTorch's global generator. Batch statistics stay as they are.

    Args:
        network: The network; without lazy layers nothing is run.
        inputs: Example inputs on the network's device.

    Raises:
        ValueError: The inputs do not go through the network, or do not reach a lazy layer.
    """
    if not is_lazy(network):
        return
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            tensors.call(network, inputs)
    except Exception as error:  # a user's network may raise anything
        raise ValueError(f"{type(error).__name__}: {error!s:.300}") from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    if is_lazy(network):
        lazy = (n for n, p in network.named_parameters() if nn.parameter.is_lazy(p))
        raise ValueError(f"{next(lazy, 'a buffer')!r}, which the input did not reach")
