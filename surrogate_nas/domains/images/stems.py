"""Stems of the spaces of convolutions: what lies before the first stage.

A stem halves large images, so that the stages work on 25 to 48 pixels whatever the size of the
images is. Images of up to 48 pixels keep theirs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

from torch import nn

from surrogate_nas.domains.images import parts
from surrogate_nas.errors import SpaceError

StemName: TypeAlias = Literal["auto", "plain"]

_LARGEST = 48
"""Largest shorter side in pixels that a stem does not halve."""
_LEAST_WIDTH = 8


def checked_stem(stem: str) -> StemName:
    """Return the name of a stem that a constructor was given.

    Raises:
        SpaceError: There is no such stem.
    """
    if stem == "auto":
        return "auto"
    if stem == "plain":
        return "plain"
    raise SpaceError(
        expected="stem 'auto' or 'plain'",
        got=repr(stem),
        fix="leave it out for a stem that follows the size of the images",
    )


def body_size(stem: StemName, height: int, width: int) -> tuple[int, int]:
    """Return the (height, width) of the feature maps that a stem gives for an image."""
    for _ in range(_n_halvings(stem, height, width)):
        # A convolution of stride 2 rounds up.
        height, width = (height + 1) // 2, (width + 1) // 2
    return height, width


def stem_layers(
    stem: StemName,
    image: tuple[int, int, int],
    channels: int,
    normalization: Callable[[int], nn.Module],
    activation: Callable[[], nn.Module],
) -> list[nn.Module]:
    """Return the convolutions of a stem, the last one without normalization and activation.

    Args:
        stem: Its name.
        image: (channels, height, width) of the images.
        channels: Channels of its output.
        normalization: Function from a number of channels to a normalization.
        activation: Function that makes an activation.
    """
    inputs, height, width = image
    layers: list[nn.Module] = []
    stride = 2 if _n_halvings(stem, height, width) else 1
    for outputs in _widths(stem, height, width, channels):
        if layers:
            layers += [normalization(inputs), activation()]
        layers.append(nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False))
        inputs = outputs
    return layers


def tally_stem(
    tally: parts.Tally, stem: StemName, image: tuple[int, int, int], channels: int
) -> int:
    """Add a stem, with the normalization after it, and return the number of its layers."""
    inputs, height, width = image
    is_halving = _n_halvings(stem, height, width) > 0
    widths = _widths(stem, height, width, channels)
    for outputs in widths:
        if is_halving:
            height, width = (height + 1) // 2, (width + 1) // 2
        tally.convolution(inputs, outputs, 3, height * width)
        tally.norm(outputs)
        inputs = outputs
    return len(widths)


def _n_halvings(stem: StemName, height: int, width: int) -> int:
    """Return how often a stem halves an image."""
    found, side = 0, min(height, width)
    while stem == "auto" and side > _LARGEST:
        found, side = found + 1, (side + 1) // 2
    return found


def _widths(stem: StemName, height: int, width: int, channels: int) -> list[int]:
    """Return the channels after each convolution of a stem."""
    before = range(_n_halvings(stem, height, width) - 1, 0, -1)
    return [*(max(channels // 2**n, min(channels, _LEAST_WIDTH)) for n in before), channels]
