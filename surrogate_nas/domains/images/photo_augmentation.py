"""Augmentation of photos, in batch and on their device, with draws of its own for each photo.

A photo is cropped at random and resized, mirrored where that is sensible, changed by one further
operation (TrivialAugment, Müller & Hutter 2021, arXiv:2103.10158), and partly erased. No shape
depends on what is drawn, so a GPU waits for nothing, and the step can be recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F

from surrogate_nas import tensors

N_DRAWS = 11
"""Random numbers for each photo."""
_LARGEST_CUT = 0.65
"""Share of a photo's area that a crop leaves out at most, at strength 1."""
_ASPECT = math.log(4 / 3)
_ANGLE = math.radians(30)
_SHEAR = 0.3
_CHANGE = 0.9
_ERASED_PHOTOS = 0.5
_ERASED_SIDE = 0.25


class Draws(NamedTuple):
    """What is drawn for each of n photos; all are tensors (n,).

    Args:
        area: Share of the area that a crop keeps.
        aspect: Logarithm of the crop's width over its height, beside that of the photo.
        x: Place of the crop along its free way, from -1 for the left to 1 for the right.
        y: The same from the top to the bottom.
        is_mirrored: Whether the photo is mirrored.
        operation: Number of an operation in OPERATIONS.
        amount: Amount of the operation, in [-1, 1]; operations without a direction take its size.
        row: Center of the erased square in [0, 1); above 1 for none.
        column: The same along the rows.
    """

    area: torch.Tensor
    aspect: torch.Tensor
    x: torch.Tensor
    y: torch.Tensor
    is_mirrored: torch.Tensor
    operation: torch.Tensor
    amount: torch.Tensor
    row: torch.Tensor
    column: torch.Tensor


def drawn(uniform: torch.Tensor, strength: float, *, may_mirror: bool) -> Draws:
    """Return what random numbers mean.

    Args:
        uniform: Uniform numbers in [0, 1), (N_DRAWS, n).
        strength: Strength of the augmentation, in [0, 1]. It shrinks all ranges.
        may_mirror: Whether photos may be mirrored.
    """
    area, aspect, x, y, mirrored, operation, amount, sign, is_erased, row, column = uniform
    nowhere = torch.full_like(row, 2.0)
    operations = (len(OPERATIONS) * operation).long()
    if _in_slices(len(area)):
        # NOTE: the rows of a batch are in random order, so a slice of it is a random choice.
        operations = _slice_of_each(len(area), area.device)
    return Draws(
        area=1 - _LARGEST_CUT * strength * area,
        aspect=_ASPECT * strength * (2 * aspect - 1),
        x=2 * x - 1,
        y=2 * y - 1,
        is_mirrored=(mirrored < 0.5) & may_mirror,
        operation=operations,
        amount=strength * amount * torch.where(sign < 0.5, -1.0, 1.0),
        row=torch.where(is_erased < _ERASED_PHOTOS, row, nowhere),
        column=column,
    )


def varied(photos: torch.Tensor, draws: Draws, strength: float) -> torch.Tensor:
    """Return photos that are cropped, mirrored, changed and partly erased.

    Args:
        photos: (n, 3, height, width) with values from 0 to 1; not modified.
        draws: What is drawn for each photo.
        strength: Strength of the augmentation: the erased square has this part of a quarter of
            the shorter side.
    """
    places = _places(photos, draws)
    moved = F.grid_sample(photos, places, padding_mode="reflection", align_corners=False)
    return _erased(_changed(moved, draws), draws, strength)


def _places(photos: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Return where each pixel of the result comes from, (n, height, width, 2)."""
    _, _, height, width = photos.shape
    wide = (torch.exp(0.5 * draws.aspect) * draws.area.sqrt()).clamp(max=1.0)
    high = (torch.exp(-0.5 * draws.aspect) * draws.area.sqrt()).clamp(max=1.0)
    rotate, shear_x, shear_y = (
        torch.where(draws.operation == place, draws.amount, torch.zeros_like(draws.amount))
        for place in (ROTATE, SHEAR_X, SHEAR_Y)
    )
    sine, cosine = torch.sin(_ANGLE * rotate), torch.cos(_ANGLE * rotate)
    # Places go from -1 to 1 along both sides, so that an angle depends on the ratio of the sides.
    ratio = height / width
    mirror = torch.where(draws.is_mirrored, -1.0, 1.0)
    xx = wide * cosine * mirror
    xy = wide * (_SHEAR * shear_x - sine * ratio)
    yx = high * (_SHEAR * shear_y + sine / ratio) * mirror
    yy = high * cosine
    columns, rows = _centers(width, photos), _centers(height, photos)
    x = (
        xx[:, None, None] * columns
        + (xy[:, None] * rows + _column(draws.x * (1 - wide)))[..., None]
    )
    y = (
        yx[:, None, None] * columns
        + (yy[:, None] * rows + _column(draws.y * (1 - high)))[..., None]
    )
    return torch.stack((x, y), dim=3)


def _centers(size: int, photos: torch.Tensor) -> torch.Tensor:
    """Return the centers of the pixels along a side, from -1 to 1, (size,)."""
    return (torch.arange(size, device=photos.device, dtype=photos.dtype) * 2 + 1) / size - 1


def _column(numbers: torch.Tensor) -> torch.Tensor:
    return numbers[:, None]


def _unchanged(photos: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    return photos


def _brightness(photos: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    return photos * (1 + _CHANGE * amount)


def _colour(photos: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    return torch.lerp(_grey(photos).expand_as(photos), photos, 1 + _CHANGE * amount)


def _contrast(photos: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    mean = _grey(photos).mean((1, 2, 3), keepdim=True)
    return torch.lerp(mean.expand_as(photos), photos, 1 + _CHANGE * amount)


def _sharpness(photos: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    soft = F.avg_pool2d(photos, 3, stride=1, padding=1, count_include_pad=False)
    return torch.lerp(soft, photos, 1 + _CHANGE * amount)


def _posterize(photos: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    levels = 2 ** (8 - 5 * amount.abs())  # from 8 bits a channel down to 3
    return (photos * levels).floor() / levels


def _solarize(photos: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    return torch.where(photos > 1 - amount.abs(), 1 - photos, photos)


def _autocontrast(photos: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    low, high = photos.amin((2, 3), keepdim=True), photos.amax((2, 3), keepdim=True)
    stretched = (photos - low) / (high - low).clamp(min=1e-3)
    return torch.lerp(photos, stretched, amount.abs())


def _grey(photos: torch.Tensor) -> torch.Tensor:
    """Return grey values, (n, 1, height, width), with the weights of ITU-R BT.601."""
    red, green, blue = photos.unbind(1)
    return (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]


OPERATIONS: Mapping[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "identity": _unchanged,
    **{"rotate": _unchanged, "shear_x": _unchanged, "shear_y": _unchanged},
    "brightness": _brightness,
    "colour": _colour,
    "contrast": _contrast,
    "sharpness": _sharpness,
    "posterize": _posterize,
    "solarize": _solarize,
    "autocontrast": _autocontrast,
}
"""Name -> function of photos and amounts (n, 1, 1, 1). The crop rotates and shears."""
ROTATE, SHEAR_X, SHEAR_Y = (
    list(OPERATIONS).index(name) for name in ("rotate", "shear_x", "shear_y")
)


def _in_slices(n: int) -> bool:
    """Return whether a batch is cut into a slice for each operation, in their order."""
    # Of a smaller batch most operations would get the same number of photos each time, or none.
    return n >= 2 * len(OPERATIONS)


def _sizes(n: int) -> list[int]:
    """Return the sizes of the slices of n photos."""
    size, longer = divmod(n, len(OPERATIONS))
    return [size + (place < longer) for place in range(len(OPERATIONS))]


def _slice_of_each(n: int, device: torch.device) -> torch.Tensor:
    """Return the number of each photo's slice, (n,)."""
    size, longer = divmod(n, len(OPERATIONS))
    # Computed on the device, as a recorded step copies nothing to it.
    place = torch.arange(n, device=device)
    in_longer = place // (size + 1)
    return torch.where(in_longer < longer, in_longer, (place - longer) // size)


def _changed(photos: torch.Tensor, draws: Draws) -> torch.Tensor:
    """Return photos whose pixels are changed by one operation each, from 0 to 1."""
    amount = draws.amount.view(-1, 1, 1, 1)
    functions = OPERATIONS.values()
    if _in_slices(len(photos)):
        sizes = _sizes(len(photos))
        parts = zip(
            functions, tensors.split(photos, sizes), tensors.split(amount, sizes), strict=True
        )
        return torch.cat([function(*part) for function, *part in parts]).clamp_(0.0, 1.0)
    found = photos
    for place, function in enumerate(functions):
        if function is not _unchanged:
            is_chosen = (draws.operation == place).view(-1, 1, 1, 1)
            found = torch.where(is_chosen, function(photos, amount), found)
    return found.clamp(0.0, 1.0)


def _erased(photos: torch.Tensor, draws: Draws, strength: float) -> torch.Tensor:
    """Return photos with a square of middle grey in some of them."""
    height, width = photos.shape[2:]
    half = _ERASED_SIDE * strength * min(height, width) / 2
    inside = [
        (torch.arange(size, device=photos.device) + 0.5 - size * center[:, None]).abs() < half
        for size, center in ((height, draws.row), (width, draws.column))
    ]
    square = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return photos.masked_fill(square, 0.5)
