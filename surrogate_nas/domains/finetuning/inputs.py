"""From the prepared inputs of a task to the inputs of a backbone: scale, channels, resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, final, runtime_checkable

import torch
from torch import nn
from torch.nn import functional

from surrogate_nas.errors import SpaceError
from surrogate_nas.space import TaskShape
from surrogate_nas.task import Task

Scale: TypeAlias = tuple[Sequence[float], Sequence[float]]
"""Mean and standard deviation, for each channel or for all, of inputs from 0 to 1."""

_SAMPLE = 64
_STRAIGHT = 1e-3
"""Largest deviation from a straight line of a preparation that can be undone."""


@runtime_checkable
class _Shaped(Protocol):
    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input."""


@final
@dataclass(frozen=True)
class Size:
    """The size at which images enter a backbone.

    Args:
        height: Height in pixels.
        width: Width in pixels.
        inner: Height and width of the image, before bars are added to fill the size up.
    """

    height: int
    width: int
    inner: tuple[int, int]


def size_of(image: tuple[int, int], resolution: int, *, is_square: bool) -> Size:
    """Return the size of images at a resolution, which is that of their shorter side.

    Args:
        image: Height and width of the task's images.
        resolution: Length of the shorter side in pixels.
        is_square: Whether the backbone takes squares alone. Bars then fill the shorter side up.
    """
    height, width = image
    short, long = min(image), max(image)
    if is_square:
        inner = (max(height * resolution // long, 1), max(width * resolution // long, 1))
        return Size(resolution, resolution, inner)
    other = round(long * resolution / short)
    found = (resolution, other) if height <= width else (other, resolution)
    return Size(*found, found)


@final
class ImageInputs(nn.Module):
    """Turns prepared images of a task into what a backbone takes.

    Args:
        factor: What each channel is multiplied by, (channels,).
        shift: What is added then, (channels,).
        channels: Number of channels that the backbone takes. A single grey one is repeated.
        size: Size of the images there; None leaves it.
    """

    factor: torch.Tensor
    shift: torch.Tensor

    def __init__(
        self, factor: torch.Tensor, shift: torch.Tensor, channels: int, size: Size | None
    ) -> None:
        super().__init__()
        self.register_buffer("factor", factor.view(1, -1, 1, 1).clone())
        self.register_buffer("shift", shift.view(1, -1, 1, 1).clone())
        self.channels = channels
        self.size = size

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return images (n, channels, height, width) as the backbone takes them."""
        out = images * self.factor + self.shift
        if self.factor.shape[1] != self.channels:
            out = out.repeat(1, self.channels, 1, 1)
        size = self.size
        if size is None:
            return out
        # NOTE: antialias is what keeps thin lines where images become smaller.
        out = functional.interpolate(out, size=size.inner, mode="bilinear", antialias=True)
        if size.inner == (size.height, size.width):
            return out
        top, left = (size.height - size.inner[0]) // 2, (size.width - size.inner[1]) // 2
        bottom, right = size.height - size.inner[0] - top, size.width - size.inner[1] - left
        return functional.pad(out, (left, right, top, bottom))


def image_inputs(
    task: TaskShape, channels: int, scale: Scale, resolution: int, *, is_square: bool
) -> ImageInputs:
    """Return what turns the prepared images of a task into inputs of a backbone.

    Without a task's data, its numbers are those of images that are prepared already.

    Args:
        task: The task, or its shape.
        channels: Number of channels that the backbone takes.
        scale: Mean and standard deviation that the backbone expects.
        resolution: Length of the shorter side in pixels.
        is_square: Whether the backbone takes squares alone.

    Raises:
        SpaceError: The task has no images, or other channels than the backbone.
    """
    own, height, width = image_shape(task)
    if own not in (1, channels):
        raise SpaceError(
            expected=f"images of 1 or {channels} channels for this backbone",
            got=f"images of {own}",
            fix="convert the images, or use a backbone that takes them",
        )
    size: Size | None = size_of((height, width), resolution, is_square=is_square)
    if size is not None and (size.height, size.width) == (height, width):
        size = None
    factor, shift = torch.ones(own), torch.zeros(own)
    straight = _unit_scale(task) if isinstance(task, Task) else None
    if straight is not None:
        mean, std = (torch.tensor(tuple(numbers)) for numbers in scale)
        if own == 1 and len(mean) > 1:
            # A grey channel is repeated after this step, so the mean over colours stands for all.
            mean, std = mean.mean(0, keepdim=True), std.mean(0, keepdim=True)
        factor, shift = straight[0] / std, (straight[1] - mean) / std
    return ImageInputs(factor, shift, channels, size)


def image_shape(task: TaskShape) -> tuple[int, int, int]:
    """Return the channels, the height and the width of a task's images.

    Raises:
        SpaceError: Its inputs are no images.
    """
    shape = tuple(task.input_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise SpaceError(
            expected="images of shape (channels, height, width), which resolutions are for",
            got=f"inputs of shape {shape}",
            fix="use a task of images, or write FineTuneSpace(..., resolutions=None)",
        )
    return shape[0], shape[1], shape[2]


def _unit_scale(task: Task) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return the factor and the shift (channels,) that give prepared images a scale of 0 to 1.

    None says that the task's preparation is no straight line, and cannot be undone.
    """
    raw, _ = task.train.take(torch.arange(min(_SAMPLE, len(task.train))))
    if not isinstance(raw, torch.Tensor):
        return None
    low, high = 0.0, 255.0
    if raw.is_floating_point():
        low, high = float(raw.min()), float(raw.max())
        low, high = (0.0, 1.0) if low >= 0 and high <= 1 else (low, max(high, low + 1e-6))
    levels = [low, (low + high) // 2 if high > 2 else (low + high) / 2, high]
    at = [_prepared_mean(task, torch.full_like(raw[:1], level)) for level in levels]
    slope = (at[2] - at[0]) / (levels[2] - levels[0])
    middle = at[0] + slope * (levels[1] - levels[0])
    span = (at[2] - at[0]).abs()
    if bool((span < 1e-12).any()) or bool(((middle - at[1]).abs() > _STRAIGHT * span).any()):
        return None
    factor = 1 / (at[2] - at[0])
    return factor, -at[0] * factor


def _prepared_mean(task: Task, raw: torch.Tensor) -> torch.Tensor:
    """Return the mean of each channel of prepared images, (channels,), in float32."""
    prepared: Any = task.prepare(raw)
    found: torch.Tensor = prepared.double().mean((0, 2, 3)).float()
    return found


def own_scale(module: nn.Module) -> Scale | None:
    """Return the scale of a backbone that normalizes its inputs by itself; None for others.

    This kind of backbone has tensors ``mean`` and ``std``, one number a channel.
    """
    mean, std = (getattr(module, name, None) for name in ("mean", "std"))
    if not isinstance(mean, torch.Tensor) or not isinstance(std, torch.Tensor):
        return None
    if mean.numel() not in (1, 3) or std.numel() not in (1, 3):
        return None
    # NOTE: pixels from 0 to 255 have a mean of about 100, pixels from 0 to 1 one of about 0.5.
    is_bytes = float(mean.abs().max()) > 2 or float(std.max()) > 2
    return ((0.0,), (1 / 255,)) if is_bytes else ((0.0,), (1.0,))
