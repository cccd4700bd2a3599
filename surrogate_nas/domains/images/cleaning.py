"""From what users have to clean arrays: images (n, channels, height, width), labels 0..k-1."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from surrogate_nas.errors import TaskError

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]
PixelType = Literal["uint8", "float32"]

_CHANNELS = (1, 3, 4)


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
        items = [as_array(v, what) for v in values] if _holds_arrays(values) else values
        try:
            return np.asarray(items)
        except ValueError:
            raise _ragged([_shape(item) for item in items], what) from None
    array = np.asarray(values)
    if array.dtype == object and array.ndim == 1 and _holds_arrays(array[:1]):
        return as_array(list(array), what)
    return array


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


def enumerated(names: Sequence[str], at_most: int = 5) -> str:
    """Join the first names and count the others."""
    rest = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + rest


def as_images(values: Any, what: str) -> Array:
    """Return images as an array (n, channels, height, width) of numbers, none of them missing.

    Grey images may be (n, height, width). Channels, 1, 3 or 4 of them, may come first or last; if
    both the second and the last axis could be channels, the second is taken.

    Raises:
        TaskError: It is something else, empty, or some pixel is not finite.
    """
    images = as_array(values, what)
    if images.dtype.kind not in "biuf":
        raise TaskError(
            expected=f"{what} as an array of integers, floats or bools",
            got=f"an array of type {images.dtype}",
            fix="convert the pixels to numbers, such as uint8",
        )
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


def to_tensor(images: Array, pixel_type: PixelType) -> torch.Tensor:
    """Copy images into a contiguous tensor; True becomes 255."""
    pixels = np.array(images, dtype=pixel_type, order="C")
    return torch.from_numpy(pixels * np.uint8(255) if images.dtype.kind == "b" else pixels)


def as_labels(values: Any, what: str) -> Array:
    """Return labels as a vector (n,) of int64, bool or str.

    A column (n, 1) and floats that are whole numbers are accepted.

    Raises:
        TaskError: They are something else.
    """
    if isinstance(values, list | tuple) and any(isinstance(value, str) for value in values):
        labels = np.array(values, dtype=object)  # NumPy would turn a NaN among them into "nan"
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
        labels = _from_objects(labels)
    if labels.dtype.kind == "f":
        labels = _from_floats(labels, what)
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "replace")
    if labels.dtype.kind not in "biuU":
        raise TaskError(
            expected=f"{what} as integers, strings or bools",
            got=f"an array of type {labels.dtype}",
            fix="convert the labels to one of these",
        )
    return labels.astype(np.int64) if labels.dtype.kind in "iu" else labels


def _from_objects(labels: Array) -> Array:
    """Find the type that all objects share; leave a mixture as it is."""
    kinds: tuple[tuple[type, tuple[type, ...]], ...] = (
        (str, (str,)),
        (bool, (bool, np.bool_)),
        (np.int64, (int, np.integer)),
        (np.float64, (float, int, np.floating, np.integer)),
    )
    for kind, accepted in kinds:
        if all(isinstance(label, accepted) for label in labels):
            return labels.astype(kind)
    return labels


def _from_floats(labels: Array, what: str) -> Ints:
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
