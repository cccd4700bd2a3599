"""PyTorch modules of PatchSpace. Between stem and head tensors are (batch, rows, columns, width).

A position there is a patch of the image. Only mixing by an MLP fixes their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import nn

ATTENTION, CONVOLUTION, MLP = MIXINGS = ("attention", "convolution", "mlp")
_LEAST_STEM_WIDTH = 8


@final
@dataclass(frozen=True)
class Mixing:
    """How blocks mix positions.

    Args:
        kind: "attention" of several heads (Vaswani et al. 2017), a depthwise "convolution"
            (Trockman & Kolter 2022), or an "mlp" over positions (Tolstikhin et al. 2021).
        size: Number of heads, side of the kernel, or hidden width of the MLP in positions.
    """

    kind: str
    size: int


def stem_widths(patch: int, width: int) -> list[int]:
    """Return the channels of the convolutions that halve an image down to its patches."""
    n_halvings = patch.bit_length() - 1
    widths = [width // 2 ** (n_halvings - 1 - place) for place in range(n_halvings)]
    # A patch of one pixel halves nothing, and has one convolution all the same.
    return [max(one, _LEAST_STEM_WIDTH) for one in widths] or [width]


def linear_stem(inputs: int, width: int, patch: int, sides: tuple[int, int]) -> nn.Module:
    """Return a linear map of each patch of pixels (Dosovitskiy et al. 2021).

    Args:
        inputs: Channels of the image.
        width: Numbers of each patch.
        patch: Side of a patch in pixels.
        sides: Height and width of the image, which are padded to whole patches.
    """
    missing = [-side % patch for side in sides]
    padding = ((missing[0] + 1) // 2, (missing[1] + 1) // 2)
    return nn.Conv2d(inputs, width, patch, patch, padding=padding)


def convolutional_stem(inputs: int, width: int, patch: int) -> nn.Module:
    """Return convolutions that halve the image down to its patches (Xiao et al. 2021).

    Args:
        inputs: Channels of the image.
        width: Numbers of each patch.
        patch: Side of a patch in pixels, a power of 2.
    """
    layers: list[nn.Module] = []
    stride = 1 if patch == 1 else 2
    for channels in stem_widths(patch, width):
        convolution = nn.Conv2d(inputs, channels, 3, stride, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(channels), nn.ReLU()]
        inputs = channels
    return nn.Sequential(*layers, nn.Conv2d(inputs, width, 1))


@final
class Positions(nn.Module):
    """Turns feature maps into positions, and tells them where they are.

    A depthwise convolution that knows the border gives each position its place, whatever the
    number of positions is (Chu et al. 2023, arXiv:2102.10882).

    Args:
        width: Numbers of each position.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.place = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Map (batch, width, rows, columns) to (batch, rows, columns, width)."""
        placed: torch.Tensor = maps + self.place(maps)
        return placed.permute(0, 2, 3, 1)


@final
class Attention(nn.Module):
    """Attention between all positions.

    Args:
        width: Numbers of each position.
        heads: Number of heads, which divides the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.both = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, rows, columns, width) to the same shape."""
        each = self.both(x).flatten(1, 2).unflatten(2, (3 * self.heads, -1)).transpose(1, 2)
        query, key, value = each.chunk(3, dim=1)
        mixed = F.scaled_dot_product_attention(query, key, value)
        out: torch.Tensor = self.out(mixed.transpose(1, 2).flatten(2)).view_as(x)
        return out


@final
class Convolution(nn.Module):
    """A depthwise convolution over neighbouring positions, then a linear map of each.

    Args:
        width: Numbers of each position.
        kernel: Side of the kernel.
    """

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.near = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.out = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, rows, columns, width) to the same shape."""
        mixed: torch.Tensor = self.out(self.near(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        return mixed


@final
class PositionMLP(nn.Module):
    """Two linear maps over all positions, equal for each number of a position.

    Args:
        positions: Number of positions.
        expansion: Hidden width as a multiple of them.
    """

    def __init__(self, positions: int, expansion: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(positions, expansion * positions),
            nn.GELU(),
            nn.Linear(expansion * positions, positions),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, rows, columns, width) to the same shape."""
        mixed: torch.Tensor = self.layers(x.flatten(1, 2).transpose(1, 2)).transpose(1, 2)
        return mixed.reshape_as(x)


@final
class Block(nn.Module):
    """Mixes positions, then the numbers of each position, each beside a residual.

    Args:
        mixing: How positions are mixed.
        width: Numbers of each position.
        positions: Number of positions.
        expansion: Hidden width of the second part as a multiple of `width`.
    """

    def __init__(self, mixing: Mixing, width: int, positions: int, expansion: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix: nn.Module
        if mixing.kind == ATTENTION:
            self.mix = Attention(width, mixing.size)
        elif mixing.kind == CONVOLUTION:
            self.mix = Convolution(width, mixing.size)
        else:
            self.mix = PositionMLP(positions, mixing.size)
        self.channels = nn.Sequential(
            nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, rows, columns, width) to the same shape."""
        x = x + self.mix(self.first(x))
        out: torch.Tensor = x + self.channels(self.second(x))
        return out


@final
class Head(nn.Module):
    """The mean of all positions, then a linear map to the outputs.

    Args:
        width: Numbers of each position.
        outputs: Number of outputs.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, rows, columns, width) to (batch, outputs)."""
        out: torch.Tensor = self.out(self.norm(x).mean((1, 2)))
        return out
