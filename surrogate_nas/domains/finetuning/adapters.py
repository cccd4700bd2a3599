"""Low-rank adapters: a layer's weight is its pretrained one plus a product of two thin matrices.

The method is LoRA (Hu et al. 2022), for linear layers and for convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import final

import torch
from torch import nn
from torch.nn.utils import parametrize


@final
class LowRank(nn.Module):
    """Adds a product of two thin matrices to a weight (outputs, ...). It starts at 0.

    Args:
        shape: Shape of the weight.
        rank: Rank of the product.
    """

    def __init__(self, shape: torch.Size, rank: int) -> None:
        super().__init__()
        outputs, rest = shape[0], math.prod(shape[1:])
        rank = min(rank, outputs, rest)
        self.down = nn.Parameter(torch.randn(rank, rest) / math.sqrt(rest))
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the adapted weight."""
        return weight + (self.up @ self.down).view(weight.shape)


def add_adapters(body: nn.Module, names: Iterable[str], rank: int) -> None:
    """Put adapters onto the weights of some modules of a body, in place.

    Args:
        body: The body.
        names: Names of linear layers or convolutions in it.
        rank: Rank of each adapter.
    """
    for name in names:
        module = body.get_submodule(name)
        shape = module.get_parameter("weight").shape
        # NOTE: a parametrization, since code of a user's own may read a layer's weight.
        parametrize.register_parametrization(module, "weight", LowRank(shape, rank), unsafe=True)


def merge_adapters(network: nn.Module) -> None:
    """Put the adapted weights in the place of weights and adapters, in place."""
    for module in list(network.modules()):
        found = getattr(module, "parametrizations", None)
        if isinstance(found, nn.ModuleDict) and "weight" in found:
            adapters = found["weight"]
            if all(isinstance(one, LowRank) for one in adapters.children()):
                parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def n_adapter_parameters(shapes: Iterable[tuple[int, ...]], rank: int) -> int:
    """Return the number of parameters of adapters for weights of these shapes."""
    total = 0
    for shape in shapes:
        outputs, rest = shape[0], math.prod(shape[1:])
        total += min(rank, outputs, rest) * (outputs + rest)
    return total
