"""PyTorch modules of CellSpace. Images are (batch, channels, height, width)."""

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
    """The live part of a cell, whose output has the shape of its input.

    Args:
        graph: The graph that the cell computes.
        channels: Channels of its input, its output and all layers between.
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
    """Return the sum of the terms; zeros if there is none."""
    # NOTE: pooling is linear. Terms with more poolings are summed first, and their sum is pooled
    # together with the next ones, so each level is pooled once and not each term by itself.
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
        channels: Channels of its input.
        stride: 2, or 1 if the feature map is too small to be halved.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            relu_conv_norm(channels, 2 * channels, 3, stride),
            relu_conv_norm(2 * channels, 2 * channels, 3),
        )
        # NOTE: a strided convolution rounds an odd side up, and the shortcut has to fit it.
        pool = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.shortcut = nn.Sequential(pool, nn.Conv2d(channels, 2 * channels, 1, bias=False))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (b, c, h, w) to (b, 2c, ceil(h / stride), ceil(w / stride))."""
        out: torch.Tensor = self.shortcut(x) + self.main(x)
        return out
