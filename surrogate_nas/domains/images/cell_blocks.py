"""The torch modules of a network of cells. Images are (batch, channels, height, width)."""

from __future__ import annotations

from typing import final

import torch
import torch.nn.functional as F
from torch import nn

from surrogate_nas.domains.images.cell_graph import KERNELS, CellGraph, Sum


def relu_conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return ReLU, convolution, batch normalization, in this order."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


@final
class Cell(nn.Module):
    """The live part of a cell, with as many channels out as in.

    Args:
        graph: What it computes.
        channels: Width of its input, its output and all between.
    """

    def __init__(self, graph: CellGraph, channels: int) -> None:
        super().__init__()
        self.graph = graph
        self.layers = nn.ModuleList(
            relu_conv_norm(channels, channels, KERNELS[layer.op]) for layer in graph.layers
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to the same shape; zeros where the cell is dead."""
        sources = [x]
        for layer, module in zip(self.graph.layers, self.layers, strict=True):
            sources.append(module(_total(layer.inputs, sources)))
        return _total(self.graph.output, sources)


def _total(terms: Sum, sources: list[torch.Tensor]) -> torch.Tensor:
    """Add up the terms, those that are pooled more often first, so that each sum pools once."""
    total: torch.Tensor | None = None
    for pools in range(max((pools for pools, _ in terms), default=0), -1, -1):
        if total is not None:
            total = F.avg_pool2d(total, 3, stride=1, padding=1, count_include_pad=False)
        for source in (sources[s] for p, s in terms if p == pools):
            total = source if total is None else total + source
    return torch.zeros_like(sources[0]) if total is None else total


@final
class Reduction(nn.Module):
    """The residual block between two stages: twice the channels, half the resolution.

    Args:
        channels: Width of its input.
        stride: 2, or 1 where the feature map is too small to be halved.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            relu_conv_norm(channels, 2 * channels, 3, stride),
            relu_conv_norm(2 * channels, 2 * channels, 3),
        )
        # Rounding up fits the strided convolution where a side is odd.
        pool = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.shortcut = nn.Sequential(pool, nn.Conv2d(channels, 2 * channels, 1, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (b, c, h, w) to (b, 2c, ceil(h / stride), ceil(w / stride))."""
        out: torch.Tensor = self.shortcut(x) + self.main(x)
        return out
