"""What tells photos from other images, and how they may be normalized."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch

from surrogate_nas.errors import TaskError

AugmentAs: TypeAlias = Literal["photos", "shifts"]
NormalizationName: TypeAlias = Literal["own", "imagenet"]

_LEAST_SIDE = 32
"""Shorter side of a photo in pixels, at least."""
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
"""Statistics of ImageNet's training split, for channels from 0 to 1."""


def is_photo(image: torch.Tensor, augment_as: AugmentAs | None) -> bool:
    """Return whether images are augmented as photos.

    Args:
        image: A raw image, (1, channels, height, width).
        augment_as: What was asked for. None takes images with three bytes a pixel and sides of at
            least 32 pixels for photos.

    Raises:
        TaskError: They are to be photos and have no three bytes a pixel, or nothing such is known.
    """
    has_bytes = image.dtype == torch.uint8 and image.shape[1] == 3
    if augment_as is None:
        return has_bytes and min(image.shape[2:]) >= _LEAST_SIDE
    if augment_as not in ("photos", "shifts"):
        raise TaskError(
            expected="augment_as of 'photos', 'shifts' or None",
            got=repr(augment_as),
            fix="leave it out to decide by the images",
        )
    if augment_as == "photos" and not has_bytes:
        raise TaskError(
            expected="images with three bytes a pixel, as photos have",
            got=f"{image.shape[1]} channels as {image.dtype}",
            fix="leave out augment_as",
        )
    return augment_as == "photos"


def checked_normalization(name: NormalizationName, image: torch.Tensor) -> NormalizationName:
    """Return the name of a normalization that fits the images.

    Raises:
        TaskError: There is no such normalization, or it is for other images.
    """
    if name not in ("own", "imagenet"):
        raise TaskError(
            expected="normalization 'own' or 'imagenet'", got=repr(name), fix="write 'own'"
        )
    if name == "imagenet" and (image.dtype != torch.uint8 or image.shape[1] != 3):
        raise TaskError(
            expected="images with three bytes a pixel for normalization 'imagenet'",
            got=f"{image.shape[1]} channels as {image.dtype}",
            fix="write normalization='own'",
        )
    return name


def imagenet_statistics() -> tuple[torch.Tensor, torch.Tensor]:
    """Return ImageNet's mean and inverse standard deviation of bytes, (1, 3, 1, 1)."""
    mean = 255 * torch.tensor(_MEAN).view(1, 3, 1, 1)
    return mean, 1 / (255 * torch.tensor(_STD).view(1, 3, 1, 1))
