"""Clean arrays from users' data: images (n, channels, height, width) and vectors of labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

from surrogate_nas.arrays import Array, IntArray
from surrogate_nas.domains.images.other_forms import (
    enumerated,
    is_path,
    refuse_no_labels,
    refuse_other_forms,
    table_of_numbers,
)
from surrogate_nas.errors import TaskError

PixelType = Literal["uint8", "float32"]

_CHANNELS = (1, 3, 4)
_LARGEST = np.iinfo(np.int64).max
_MOST_RATIO = 10.0
"""Ratio of two splits' pixels above which their scales are taken to differ."""
_SAMPLE = 100_000
"""Pixels of a split that say which scale it has."""


def as_array(values: Any, what: str) -> Array:
    """Turn an array, a tensor or nested sequences into an array.

    Args:
        values: Anything that ``np.asarray`` takes, or a tensor on any device.
        what: What it is, for the message.

    Raises:
        TaskError: Its elements differ in shape.
    """
    if isinstance(values, torch.Tensor):
        # NumPy lacks bfloat16; float32 is what images become in any case.
        tensor = values.detach().cpu()
        return (tensor.float() if tensor.is_floating_point() else tensor).numpy()
    if isinstance(values, list | tuple):
        # NumPy cannot read a tensor that lies on a GPU or has a gradient.
        items = [as_array(v, what) for v in values] if _holds_arrays(values) else values
        try:
            return np.asarray(items)
        except ValueError:
            raise _ragged([_shape(item) for item in items], what) from None
    _refuse_masked(values, what)
    array = np.asarray(values)
    # Arrays of different shapes come as a vector of objects. As a list they get a clear error.
    if array.dtype == object and array.ndim == 1 and _holds_arrays(array[:1]):
        return as_array(list(array), what)
    return array


def _refuse_masked(values: Any, what: str) -> None:
    """Refuse an array with masked entries, since NumPy would read the values under the mask."""
    mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else np.zeros(1)
    if mask.any():
        first = tuple(int(i) for i in np.unravel_index(int(mask.argmax()), mask.shape))
        at = first[0] if len(first) == 1 else first
        raise TaskError(
            expected=f"{what} without missing entries",
            got=f"{int(mask.sum())} masked entries, the first at {at}",
            fix="fill them by numpy.ma.filled, or drop these rows",
        )


def _holds_arrays(values: Iterable[Any]) -> bool:
    return all(isinstance(value, torch.Tensor | np.ndarray) for value in values)


def _shape(item: Any) -> tuple[int, ...] | None:
    try:
        return tuple(np.shape(item))
    except ValueError:  # ragged in itself
        return None


def _ragged(shapes: Sequence[tuple[int, ...] | None], what: str) -> TaskError:
    seen = sorted({str(shape or "ragged") for shape in shapes})
    return TaskError(
        expected=f"{what} of one shape",
        got=f"{len(seen)} shapes: {enumerated(seen)}",
        fix="resize the images to one height and width",
    )


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


def _require_finite(images: Array, what: str) -> None:
    # What float32 cannot hold would become infinite later on.
    limit = np.finfo(np.float32).max
    # NaN is not smaller than any number, so this finds it as well.
    bad = ~(np.abs(images) <= limit) if images.dtype.kind == "f" else np.zeros(1, dtype=bool)
    if bad.any():
        first = tuple(int(i) for i in np.unravel_index(int(bad.argmax()), images.shape))
        raise TaskError(
            expected=f"finite pixels in {what}",
            got=f"{int(bad.sum())} that are NaN, infinite or beyond float32, the first at {first}",
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
    is_byte = all(part.dtype.kind == "b" or 0 <= part.min() <= part.max() <= 255 for part in parts)
    return "uint8" if is_byte else "float32"


def require_one_scale(parts: Mapping[str, Array]) -> None:
    """Refuse splits whose pixels are on different scales, such as 0 to 1 and 0 to 255.

    Args:
        parts: The images (n, channels, height, width) of each split, by its argument's name.

    Raises:
        TaskError: Large pixels of one split are more than ten times those of another one.
    """
    scales = {}
    for name, images in parts.items():
        flat = images.reshape(-1)
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


def to_tensor(images: Array, pixel_type: PixelType) -> torch.Tensor:
    """Copy images into a contiguous tensor; True becomes 255."""
    # NOTE: always a copy, or the tensor would follow later changes of the user's array.
    pixels = np.array(images, dtype=pixel_type, order="C")
    return torch.from_numpy(pixels * np.uint8(255) if images.dtype.kind == "b" else pixels)


def as_labels(values: Any, what: str) -> Array:
    """Return labels as a vector (n,) of int64, bool or str.

    A column (n, 1) and floats that are whole numbers are accepted. Whole numbers beyond int64 stay
    uint64.

    Raises:
        TaskError: They are something else, or some label is missing.
    """
    refuse_no_labels(values, what)
    if isinstance(values, list | tuple) and any(_keeps_its_type(value) for value in values):
        labels = np.array([None, *values], dtype=object)[1:]  # None keeps each label's own type
    else:
        labels = as_array(values, what)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise TaskError(
            expected=f"{what} of shape (n,), one label an image",
            got=f"shape {labels.shape}",
            fix="use argmax(axis=1) if the labels are one-hot",
        )
    if labels.dtype.kind == "O":
        _refuse_missing(labels, what)
        labels = _from_objects(labels)
    if labels.dtype.kind == "f":
        labels = _from_floats(labels, what)
    if labels.dtype.kind == "S":
        labels = _decoded(labels, what)
    if labels.dtype.kind not in "biuU":
        raise TaskError(
            expected=f"{what} as integers, strings or bools",
            got=f"an array of type {labels.dtype}",
            fix="convert the labels to one of these",
        )
    is_wide = labels.dtype.kind == "u" and labels.size > 0 and labels.max() > _LARGEST
    return labels.astype(np.int64) if labels.dtype.kind in "iu" and not is_wide else labels


def _keeps_its_type(value: Any) -> bool:
    """Whether NumPy's choice of one type for all labels would change this one.

    A NaN among texts would become "nan", and whole numbers beyond int64 would become floats that
    several of them share.
    """
    is_large = isinstance(value, int) and abs(value) > _LARGEST
    return value is None or isinstance(value, str | bytes) or is_large


def _refuse_missing(labels: Array, what: str) -> None:
    """Refuse labels among which some are None, NaN or pandas' missing values."""
    missing = [
        k
        for k, label in enumerate(labels.tolist())
        if label is None
        or type(label).__name__ in ("NAType", "NaTType")
        or (isinstance(label, float) and label != label)
    ]
    if missing:
        raise TaskError(
            expected=f"a label for each image in {what}",
            got=f"{len(missing)} missing labels, the first at index {missing[0]}",
            fix="drop these images, or give each of them the class it belongs to",
        )


def _decoded(labels: Array, what: str) -> Array:
    """Decode labels (n,) of bytes as UTF-8."""
    texts = []
    for k, label in enumerate(labels.tolist()):
        try:
            texts.append(label.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise TaskError(
                expected=f"{what} as text, or as bytes in UTF-8",
                got=f"{label!r} at index {k}",
                fix="decode the labels in the encoding that they were written in",
            ) from error
    return np.array(texts)


def _from_objects(labels: Array) -> Array:
    """Find the type that all objects share; leave a mixture as it is."""
    # In this order: a bool is an int to Python, and whole numbers are floats as well.
    kinds: tuple[tuple[type, tuple[type, ...]], ...] = (
        (str, (str,)),
        (bool, (bool, np.bool_)),
        (np.int64, (int, np.integer)),
        (bytes, (bytes,)),
        (np.float64, (float, int, np.floating, np.integer)),
    )
    for kind, accepted in kinds:
        if all(isinstance(label, accepted) for label in labels):
            is_number = kind is np.int64
            try:
                return labels.astype(kind)
            except OverflowError:
                # NOTE: beyond int64 whole numbers are kept apart as uint64, or as their text.
                is_unsigned = is_number and min(labels) >= 0 and max(labels) < 2**64
                return labels.astype(np.uint64) if is_unsigned else labels.astype(str)
    return labels


def _from_floats(labels: Array, what: str) -> IntArray:
    # Above 2**53 not every whole number is a float, so different labels may have become one.
    whole = np.isfinite(labels) & (np.abs(labels) < 2**53)
    whole[whole] = labels[whole] == np.round(labels[whole])
    if not whole.all():
        first = int((~whole).argmax())
        raise TaskError(
            expected=f"{what} as whole numbers, strings or bools",
            got=f"{labels[first]} at index {first}, and {int((~whole).sum()) - 1} more such",
            fix="give each image the class it belongs to",
        )
    return labels.astype(np.int64)


def class_names(values: Array, names: Sequence[str] | None) -> tuple[str, ...]:
    """Name each of the label values (k,): by `names` where they are indices into it.

    Raises:
        TaskError: A value is no index into `names`.
    """
    if names is None or values.dtype.kind != "i":
        return tuple(str(value) for value in values.tolist())
    if values.min() < 0 or values.max() >= len(names):
        raise TaskError(
            expected=f"labels in 0..{len(names) - 1}, as there are {len(names)} class names",
            got=f"labels from {values.min()} to {values.max()}",
            fix="complete `classes`, or number the classes from 0",
        )
    return tuple(str(names[value]) for value in values.tolist())
