"""Labels that users give, as a vector (n,) of one type, and names of classes; for all domains."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from surrogate_nas.arrays import Array, IntArray
from surrogate_nas.domains.given import as_array, enumerated
from surrogate_nas.errors import TaskError

_LARGEST = np.iinfo(np.int64).max


def refuse_no_labels(values: Any, what: str) -> None:
    """Refuse a path or a whole table in the place of labels."""
    names = list(getattr(values, "columns", ())) if not isinstance(values, Mapping) else [*values]
    if isinstance(values, str | os.PathLike):
        got = f"the text {os.fsdecode(values)!r}"
        fix = "read the labels from it first, and pass them as a list or an array"
    elif len(names) > 1 or isinstance(values, Mapping):
        got = f"a {type(values).__name__} with {enumerated([repr(name) for name in names])}"
        fix = f"pass one column: {what}=table[{str(names[-1] if names else 'label')!r}]"
    else:
        return
    raise TaskError(expected=f"{what} of shape (n,), one label a row", got=got, fix=fix)


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
            expected=f"{what} of shape (n,), one label a row",
            got=f"shape {labels.shape}",
            fix="use argmax(axis=1) if the labels are one-hot, or pass kind='multilabel' or "
            "kind='regression'",
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
            expected=f"a label for each row in {what}",
            got=f"{len(missing)} missing labels, the first at index {missing[0]}",
            fix="drop these rows, or give each of them the class it belongs to",
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
            fix="give each row the class it belongs to, or pass kind='regression' if these are "
            "numbers to predict",
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
