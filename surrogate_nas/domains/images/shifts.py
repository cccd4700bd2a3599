"""Augmentation of images that are no photos, in batch: shifts, mirror images, an erased square."""

from __future__ import annotations

import torch


def shifted(
    images: torch.Tensor, strength: float, shifts: torch.Tensor, flipped: torch.Tensor
) -> torch.Tensor:
    """Return images moved by whole pixels, with repeated edges, and some of them mirrored.

    Args:
        images: Prepared images, (n, channels, height, width).
        strength: Strength of the augmentation, see ``ImageTask.augment``.
        shifts: Uniform numbers in [0, 1), (2, n).
        flipped: Whether each image is mirrored, (n,).
    """
    # NOTE: positions are computed first, so one gather moves and mirrors the whole batch.
    n, channels, height, width = images.shape
    rows = _shifted_positions(height, strength, shifts[0])
    columns = _shifted_positions(width, strength, shifts[1])
    columns = torch.where(flipped[:, None], width - 1 - columns, columns)
    source = (rows[:, :, None] * width + columns[:, None, :]).view(n, 1, height * width)
    flat = images.reshape(n, channels, height * width)
    return flat.gather(2, source.expand(-1, channels, -1)).view(images.shape)


def _shifted_positions(size: int, strength: float, uniform: torch.Tensor) -> torch.Tensor:
    """Return the source of each position along one axis, for each image, (n, size)."""
    reach = round(strength * size / 8)
    shift = (uniform * (2 * reach + 1)).long() - reach
    return (torch.arange(size, device=uniform.device) + shift[:, None]).clamp_(0, size - 1)


def erased(images: torch.Tensor, strength: float, centers: torch.Tensor) -> torch.Tensor:
    """Return images with a square set to 0, the mean of prepared pixels; centers are (2, n)."""
    height, width = images.shape[2:]
    side = round(strength * min(height, width) / 4)
    if side == 0:
        return images
    rows = _within(height, side, centers[0])
    columns = _within(width, side, centers[1])
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def _within(size: int, side: int, uniform: torch.Tensor) -> torch.Tensor:
    """Return whether the square covers each position along one axis, for each image, (n, size)."""
    start = (uniform * size).long() - side // 2
    offset = torch.arange(size, device=uniform.device) - start[:, None]
    return (offset >= 0) & (offset < side)
