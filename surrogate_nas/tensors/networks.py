"""What ``build`` of a search space returns: checked, and its lazy layers given their sizes."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.errors import SpaceError
from surrogate_nas.tensors import Tensors


def checked_network(network: object, source: str) -> nn.Module:
    """Return a network if it is one.

    Args:
        network: What a user's code has returned.
        source: Name of that code, for the error.

    Raises:
        SpaceError: It is no torch module.
    """
    if isinstance(network, nn.Module):
        return network
    fix = f"return the network from {source}"
    if inspect.isclass(network):
        got = f"the class {network.__name__}"
        if issubclass(network, nn.Module):
            fix = f"return an instance, {network.__name__}(...), from {source}"
    elif network is None:
        got = "None"
    elif isinstance(network, Mapping | list | tuple):
        got = f"a {type(network).__name__} of {len(network)} items"
    else:
        got = f"{network!r:.100} of type {type(network).__name__}"
    raise SpaceError(expected=f"a torch.nn.Module from {source}", got=got, fix=fix)


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
        SpaceError: The inputs do not go through the network, or do not reach a lazy layer.
    """
    if not is_lazy(network):
        return
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():
            tensors.call(network, inputs)
    except Exception as error:  # a user's network may raise anything
        raise _not_sized(f"{type(error).__name__}: {error!s:.300}") from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    if is_lazy(network):
        lazy = (n for n, p in network.named_parameters() if nn.parameter.is_lazy(p))
        raise _not_sized(f"{next(lazy, 'a buffer')!r}, which the input did not reach")


def _not_sized(got: str) -> SpaceError:
    return SpaceError(
        expected="one input of the task to give every lazy layer its size",
        got=got,
        fix="build the network with layers of known sizes, such as Linear for LazyLinear",
    )
