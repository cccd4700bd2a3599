"""The torch modules of ConvNetSpace. Images are (batch, channels, height, width)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import nn

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
}


def _group_norm(channels: int) -> nn.Module:
    return nn.GroupNorm(math.gcd(channels, 4), channels)


NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": _group_norm,
}


def gate_width(channels: int) -> int:
    """Return the hidden width of squeeze-excitation on so many channels."""
    return max(channels // 4, 1)


@final
@dataclass(frozen=True)
class Kind:
    """What the blocks of a stage have in common.

    Args:
        kernel: Side of the spatial convolutions.
        expansion: 1 for plain blocks, else the expansion of inverted bottlenecks.
        has_gate: Whether blocks end with squeeze-excitation (Hu et al. 2018).
        activation: Makes an activation.
        normalization: Makes a normalization of so many channels.
    """

    kernel: int
    expansion: int
    has_gate: bool
    activation: Callable[[], nn.Module]
    normalization: Callable[[int], nn.Module]


def conv_norm(
    kind: Kind, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Return a convolution and its normalization."""
    padding = kernel // 2
    convolution = nn.Conv2d(
        inputs, outputs, kernel, stride, padding=padding, groups=groups, bias=False
    )
    return [convolution, kind.normalization(outputs)]


@final
class Gate(nn.Module):
    """Squeeze-excitation: scales each channel by what the whole image shows.

    Args:
        kind: The stage's activation is used between its two layers.
        channels: Width of its input and output.
    """

    def __init__(self, kind: Kind, channels: int) -> None:
        super().__init__()
        hidden = gate_width(channels)
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            kind.activation(),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, channels, height, width) to the same shape."""
        scale: torch.Tensor = self.scale(x)
        return x * scale


@final
class Block(nn.Module):
    """A plain or inverted-bottleneck block, residual where its input has its output's shape.

    Args:
        kind: What its stage's blocks have in common.
        inputs: Channels in.
        outputs: Channels out.
        stride: 2 halves the resolution.
    """

    def __init__(self, kind: Kind, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        make = _plain if kind.expansion == 1 else _inverted
        self.main = nn.Sequential(*make(kind, inputs, outputs, stride))
        self.is_residual = inputs == outputs and stride == 1
        # A linear bottleneck (Sandler et al. 2018) keeps its sum as it is.
        self.after = kind.activation() if kind.expansion == 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (b, inputs, h, w) to (b, outputs, ceil(h / stride), ceil(w / stride))."""
        main: torch.Tensor = self.main(x)
        out: torch.Tensor = self.after(x + main if self.is_residual else main)
        return out


def _plain(kind: Kind, inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [
        *conv_norm(kind, inputs, outputs, kind.kernel, stride),
        kind.activation(),
        *conv_norm(kind, outputs, outputs, kind.kernel),
        *([Gate(kind, outputs)] if kind.has_gate else []),
    ]


def _inverted(kind: Kind, inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    wide = inputs * kind.expansion
    return [
        *conv_norm(kind, inputs, wide, 1),
        kind.activation(),
        *conv_norm(kind, wide, wide, kind.kernel, stride, groups=wide),
        kind.activation(),
        *([Gate(kind, wide)] if kind.has_gate else []),
        *conv_norm(kind, wide, outputs, 1),
    ]
