"""Clean arrays from users' data: images (n, channels, height, width) of numbers.

Nothing here copies a whole data set: large arrays are looked at in parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

from surrogate_nas.arrays import Array, IntArray
from surrogate_nas.domains.given import as_array, enumerated
from surrogate_nas.domains.images.other_forms import (
    is_path,
    refuse_other_forms,
    table_of_numbers,
)
from surrogate_nas.errors import TaskError

PixelType = Literal["uint8", "float32"]

_CHANNELS = (1, 3, 4)
_MOST_RATIO = 10.0
"""Ratio of two splits' pixels above which their scales are taken to differ."""
_SAMPLE = 100_000
"""Pixels of a split that say which scale it has."""
_SAMPLED_IMAGES = 256
"""Images that these pixels come from."""
_PART_BYTES = 2**23
"""Bytes of an array that are looked at together."""


def as_images(values: Any, what: str) -> Array:
    """Return images as an array (n, channels, height, width) of numbers, none of them missing.

    Grey images may be (n, height, width). Channels, 1, 3 or 4 of them, may come first or last; if
    both the second and the last axis could be channels, the second is taken.

    Raises:
        TaskError: It is something else, empty, or some pixel is not finite.
    """
    refuse_other_forms(values, what)
    images = as_array(values, what)
    if images.dtype.kind in "USO" and images.size and is_path(images.flat[0]):
        raise TaskError(
            expected=f"{what} as an array of pixels",
            got=f"paths of files, such as {str(images.flat[0])!r}",
            fix="read the files into one array, or put them into one folder a class and call "
            "from_folder",
        )
    if images.dtype.kind not in "biuf":
        raise TaskError(
            expected=f"{what} as an array of integers, floats or bools",
            got=f"an array of type {images.dtype}",
            fix="convert the pixels to numbers, such as uint8",
        )
    if images.ndim == 2 and images.shape[1] > 1:
        raise table_of_numbers(images.shape, what)
    is_single = images.ndim == 3
    if not is_single and (
        images.ndim != 4 or not {images.shape[1], images.shape[3]} & {*_CHANNELS}
    ):
        raise TaskError(
            expected=f"{what} of shape (n, height, width), (n, channels, height, width) or "
            "(n, height, width, channels) with 1, 3 or 4 channels",
            got=f"shape {images.shape}",
            fix="reshape the array",
        )
    if images.size == 0:
        raise TaskError(
            expected=f"at least one image in {what}",
            got=f"an empty array of shape {images.shape}",
            fix="check how the data were read",
        )
    _require_finite(images, what)
    if is_single:
        return images[:, None]
    return images if images.shape[1] in _CHANNELS else np.moveaxis(images, 3, 1)


def in_parts(images: Array) -> Iterator[Array]:
    """Yield consecutive images, a few megabytes at a time, without a copy."""
    n = max(1, _PART_BYTES // max(images[:1].nbytes, 1))
    yield from (images[start : start + n] for start in range(0, len(images), n))


def _require_finite(images: Array, what: str) -> None:
    if images.dtype.kind != "f":
        return
    # What float32 cannot hold would become infinite later on.
    limit = np.finfo(np.float32).max
    count, before = 0, 0
    first: tuple[int, ...] = (0,)
    for part in in_parts(images):
        # NaN is not smaller than any number, so this finds it as well.
        bad = ~(np.abs(part) <= limit)
        if bad.any():
            at = np.unravel_index(int(bad.argmax()), part.shape)
            first = first if count else (before + int(at[0]), *(int(i) for i in at[1:]))
            count += int(bad.sum())
        before += len(part)
    if count:
        raise TaskError(
            expected=f"finite pixels in {what}",
            got=f"{count} that are NaN, infinite or beyond float32, the first at {first}",
            fix="replace them, for example by numpy.nan_to_num, or drop these images",
        )


def common_type(parts: Sequence[Array]) -> PixelType:
    """Choose one pixel type for all parts of a data set.

    uint8 where all are bool, or all are integers from 0 to 255; float32 otherwise.

    Raises:
        TaskError: They mix floats, integers and bools, so that their scales may differ.
    """
    kinds = {part.dtype.kind.replace("u", "i") for part in parts}
    if len(kinds) > 1:
        raise TaskError(
            expected="images of one kind in all splits",
            got=f"types {enumerated(sorted({str(part.dtype) for part in parts}))}",
            fix="convert all splits alike, to uint8 or to float32",
        )
    if kinds == {"f"}:
        return "float32"
    return "uint8" if all(map(_is_byte, parts)) else "float32"


def _is_byte(images: Array) -> bool:
    """Whether all pixels are bools, or whole numbers from 0 to 255."""
    if images.dtype.kind == "b" or images.dtype == np.uint8:
        return True
    return all(0 <= part.min() <= part.max() <= 255 for part in in_parts(images))


def require_one_scale(parts: Mapping[str, Array]) -> None:
    """Refuse splits whose pixels are on different scales, such as 0 to 1 and 0 to 255.

    Args:
        parts: The images (n, channels, height, width) of each split, by its argument's name.

    Raises:
        TaskError: Large pixels of one split are more than ten times those of another one.
    """
    scales = {}
    for name, images in parts.items():
        some = images[:: -(-len(images) // _SAMPLED_IMAGES)]
        flat = some.reshape(-1)
        step = max(1, flat.size // _SAMPLE)
        # NOTE: a quantile, as one outlier says nothing about the scale of the others.
        scales[name] = float(np.quantile(np.abs(flat[::step].astype(np.float64)), 0.999))
    low, high = min(scales, key=scales.__getitem__), max(scales, key=scales.__getitem__)
    # A split of zeros alone has no scale that could be compared.
    if scales[high] > _MOST_RATIO * scales[low] > 0:
        raise TaskError(
            expected="pixels of one scale in all splits",
            got=f"pixels up to {scales[low]:.4g} in {low} and up to {scales[high]:.4g} in {high}",
            fix="scale all splits alike, for example to 0 to 255 or to 0 to 1",
        )


def to_tensor(images: Array, rows: IntArray, pixel_type: PixelType) -> torch.Tensor:
    """Copy some images into a contiguous tensor; True becomes 255.

    Args:
        images: Images (n, channels, height, width).
        rows: Numbers (m,) of the images to copy.
        pixel_type: Type of the tensor.
    """
    # NOTE: always a copy, or the tensor would follow later changes of the user's array. It is
    # filled in parts, so that the data are in memory twice and never three times.
    made = np.empty((len(rows), *images.shape[1:]), dtype=pixel_type)
    n = max(1, _PART_BYTES // max(made[:1].nbytes, 1))
    for start in range(0, len(rows), n):
        made[start : start + n] = images[rows[start : start + n]]
    if images.dtype.kind == "b":
        made *= np.uint8(255)
    return torch.from_numpy(made)
