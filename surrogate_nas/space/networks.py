"""What ``build`` of a search space returns: checked, and its lazy layers given their sizes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

import torch
from torch import nn

from surrogate_nas.errors import SpaceError
from surrogate_nas.tensors import Tensors
from surrogate_nas.tensors.networks import is_lazy, materialize


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


def with_sizes(network: nn.Module, inputs: Callable[[torch.device], Tensors]) -> nn.Module:
    """Return a network after its lazy layers have got their sizes.

    Args:
        network: The network.
        inputs: Gives one input of the task on a device. Without lazy layers it is not called.

    Raises:
        SpaceError: The input does not reach a lazy layer.
        Exception: The error of the network, if the input does not go through it.
    """
    if is_lazy(network):
        device = next((p.device for p in network.parameters()), torch.device("cpu"))
        unreached = materialize(network, inputs(device))
        if unreached is not None:
            raise SpaceError(
                expected="one input of the task to give every lazy layer its size",
                got=f"{unreached!r}, which the input did not reach",
                fix="build the network with layers of known sizes, such as Linear for LazyLinear",
            )
    return network
