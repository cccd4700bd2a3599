"""PyTorch modules of ConvNetSpace. Images are (batch, channels, height, width)."""

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
    """Return a group normalization; the number of groups has to divide the channels."""
    return nn.GroupNorm(math.gcd(channels, 4), channels)


NORMALIZATIONS: dict[str, Callable[[int], nn.Module]] = {
    "batch": nn.BatchNorm2d,
    "group": _group_norm,
}


def gate_width(channels: int) -> int:
    """Return the hidden width of squeeze-excitation for a number of channels."""
    return max(channels // 4, 1)


@final
@dataclass(frozen=True)
class Kind:
    """The choices that all blocks of a stage share.

    Args:
        kernel: Side of the spatial convolutions.
        expansion: 1 for plain blocks, else the expansion of inverted bottlenecks.
        has_gate: Whether blocks have squeeze-excitation (Hu et al. 2018).
        activation: Function that makes an activation.
        normalization: Function from a number of channels to a normalization.
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
    # The normalization has a shift of its own, so a bias would be redundant.
    convolution = nn.Conv2d(
        inputs, outputs, kernel, stride, padding=padding, groups=groups, bias=False
    )
    return [convolution, kind.normalization(outputs)]


@final
class Gate(nn.Module):
    """Squeeze-excitation: scales each channel by a function of all channels' means.

    Args:
        kind: Choices of the stage, whose activation is used between the two layers.
        channels: Channels of its input and output.
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
    """A plain or inverted-bottleneck block, residual if its input has the shape of its output.

    Args:
        kind: Choices that all blocks of the stage share.
        inputs: Channels of its input.
        outputs: Channels of its output.
        stride: 2 halves the resolution, 1 keeps it.
    """

    def __init__(self, kind: Kind, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        make = _plain if kind.expansion == 1 else _inverted
        self.main = nn.Sequential(*make(kind, inputs, outputs, stride))
        self.is_residual = inputs == outputs and stride == 1
        # NOTE: an inverted bottleneck is linear at its end (Sandler et al. 2018, section 3.2).
        self.after = kind.activation() if kind.expansion == 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (b, inputs, h, w) to (b, outputs, ceil(h / stride), ceil(w / stride))."""
        main: torch.Tensor = self.main(x)
        out: torch.Tensor = self.after(x + main if self.is_residual else main)
        return out


def _plain(kind: Kind, inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    """Return the layers of a plain block: two spatial convolutions."""
    return [
        *conv_norm(kind, inputs, outputs, kind.kernel, stride),
        kind.activation(),
        *conv_norm(kind, outputs, outputs, kind.kernel),
        *([Gate(kind, outputs)] if kind.has_gate else []),
    ]


def _inverted(kind: Kind, inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    """Return the layers of an inverted bottleneck: widen, convolve each channel, narrow."""
    wide = inputs * kind.expansion
    return [
        *conv_norm(kind, inputs, wide, 1),
        kind.activation(),
        *conv_norm(kind, wide, wide, kind.kernel, stride, groups=wide),
        kind.activation(),
        *([Gate(kind, wide)] if kind.has_gate else []),
        *conv_norm(kind, wide, outputs, 1),
    ]
