"""What users give in place of arrays, as arrays; shared by domains."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from surrogate_nas.arrays import Array
from surrogate_nas.errors import TaskError


def as_array(values: Any, what: str) -> Array:
    """Turn an array, a tensor or nested sequences into an array, without a copy where possible.

    Args:
        values: Anything that ``np.asarray`` takes, or a tensor on any device.
        what: Its name in error messages.

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
        fix="bring all of them to one shape: resize images to one height and width",
    )


def enumerated(names: Sequence[str], at_most: int = 5) -> str:
    """Join the first names and count the others."""
    rest = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return ", ".join(names[:at_most]) + rest
