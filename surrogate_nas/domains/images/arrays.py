"""Tasks from arrays: they are cleaned, split and their labels encoded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias, TypedDict, Unpack

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from surrogate_nas.arrays import Array, IntArray
from surrogate_nas.domains.classification import named
from surrogate_nas.domains.images.cleaning import (
    as_images,
    as_labels,
    class_names,
    common_type,
    require_one_scale,
    to_tensor,
)
from surrogate_nas.domains.images.images import ClassWeights, ImageTask
from surrogate_nas.domains.images.other_forms import enumerated
from surrogate_nas.errors import TaskError
from surrogate_nas.metric import Metric
from surrogate_nas.task import Split, Task

Labeled: TypeAlias = tuple[Array, IntArray]
"""Images (n, channels, height, width) with class indices (n,)."""


class Options(TypedDict, total=False):
    """Options that every function that makes a task passes on to :func:`from_arrays`."""

    metric: str | Metric
    validation_share: float
    test_share: float
    flip: bool
    class_weights: ClassWeights
    seed: int


def from_arrays(
    x: Any,
    y: Any,
    *,
    name: str,
    x_test: Any = None,
    y_test: Any = None,
    x_val: Any = None,
    y_val: Any = None,
    classes: Sequence[str] | None = None,
    metric: str | Metric = "accuracy",
    validation_share: float = 0.2,
    test_share: float = 0.2,
    flip: bool = False,
    class_weights: ClassWeights = None,
    seed: int = 0,
) -> Task:
    """Make a task from images and their labels.

    Splits that are not given are taken from `x`, stratified by class. The same data and seed give
    the same split.

    Args:
        x: Images, as arrays, tensors or anything ``np.asarray`` takes: grey (n, height, width), or
            with 1, 3 or 4 channels, (n, channels, height, width) or (n, height, width, channels).
            If both the second and the last axis could be channels, the second is taken. Integers
            from 0 to 255 stay uint8, bools become 0 and 255, and other numbers become float32.
        y: Labels (n,): integers, strings, bools or whole floats. Classes are their sorted values.
        name: How past tasks and reports call the task.
        x_test: Images of the test split; by default a part of `x`.
        y_test: Labels of `x_test`.
        x_val: Images of the validation split; by default a part of `x`.
        y_val: Labels of `x_val`.
        classes: Names of the classes if labels are indices; by default the labels themselves.
        metric: A metric of your own, or the name of one: see
            :func:`surrogate_nas.domains.classification.named`.
        validation_share: Share of the rows of `x` that becomes the validation split.
        test_share: Share of the rows of `x` that becomes the test split.
        flip: Whether augmentation may mirror images: right for photos, wrong for digits.
        class_weights: "balanced" weighs classes in the loss by the inverse of their share.
        seed: Seed of the splits.

    Raises:
        TaskError: The data, the labels or the shares are unusable.
        MetricError: The metric is unknown, or undefined on the validation or the test split.
    """
    chosen = metric if isinstance(metric, Metric) else named(metric)
    images, labels = _read(x, y, "x", "y")
    values, targets = np.unique(labels, return_inverse=True)
    if len(values) < 2:
        raise TaskError(
            expected="at least two classes",
            got=f"only class {str(values[0])!r} in y",
            fix="check how the labels were read",
        )
    names, shares = class_names(values, classes), {"val": validation_share, "test": test_share}
    given = {
        part: _encoded(_read(its_x, its_y, f"x_{part}", f"y_{part}"), values, f"y_{part}")
        for part, its_x, its_y in (("val", x_val, y_val), ("test", x_test, y_test))
        if its_x is not None or its_y is not None
    }
    wanted = {part: share for part, share in shares.items() if part not in given}
    parts = {**_split((images, targets), wanted, names, seed), **given}
    pixel_type = common_type([part[0] for part in parts.values()])
    if given:
        require_one_scale({"x": images, **{f"x_{part}": data[0] for part, data in given.items()}})
    train, validation, test = (
        Split(to_tensor(parts[part][0], pixel_type), _targets(parts[part][1]))
        for part in ("train", "val", "test")
    )
    return ImageTask(
        name,
        train,
        validation,
        test,
        metric=chosen,
        classes=names,
        flip=flip,
        class_weights=class_weights,
    )


def _read(x: Any, y: Any, x_name: str, y_name: str) -> tuple[Array, Array]:
    """Return clean images and labels of one part of the data."""
    if x is None or y is None:
        raise TaskError(
            expected=f"both {x_name} and {y_name}",
            got=f"only {y_name if x is None else x_name}",
            fix="give images and labels together, or neither",
        )
    images, labels = as_images(x, x_name), as_labels(y, y_name)
    if len(images) != len(labels):
        raise TaskError(
            expected=f"as many images in {x_name} as labels in {y_name}",
            got=f"{len(images)} images and {len(labels)} labels",
            fix="give each image one label",
        )
    return images, labels


def _encoded(data: tuple[Array, Array], values: Array, what: str) -> Labeled:
    """Return images, and labels as positions among the sorted values (k,) of training."""
    images, labels = data
    # Labels beyond int64 are uint64. Another split may hold only small ones, and be int64.
    if values.dtype.kind == "u" and labels.dtype.kind == "i" and labels.min() >= 0:
        labels = labels.astype(np.uint64)
    # NOTE: NumPy takes True for 1, so only labels of one kind are compared.
    is_comparable = labels.dtype.kind == values.dtype.kind
    is_known = np.isin(labels, values) if is_comparable else np.zeros(len(labels), dtype=bool)
    if not is_known.all():
        unknown = [repr(value) for value in np.unique(labels[~is_known]).tolist()]
        raise TaskError(
            expected=f"only classes in {what} that y has too",
            got=f"unknown {enumerated(unknown)}",
            fix="drop these rows, or add some of them to the training data",
        )
    # Numbered by the classes of `x`, so all splits agree about what a number means.
    return images, np.searchsorted(values, labels)


def _split(
    data: Labeled, shares: dict[str, float], names: tuple[str, ...], seed: int
) -> dict[str, Labeled]:
    """Return stratified parts of the given shares, and the remaining rows as "train"."""
    if not all(0 < share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise TaskError(
            expected="shares between 0 and 1 that leave rows for training",
            got=", ".join(f"{part} share {share}" for part, share in shares.items()),
            fix="write for example validation_share=0.2, test_share=0.2",
        )
    images, targets = data
    rows = {"train": np.arange(len(targets))}
    for part, share in shares.items():
        rest = rows["train"]
        # Of all rows, and not of what the part before has left over.
        size = math.ceil(share * len(targets))
        # NOTE: scikit-learn's errors about rare classes name no class, so these come first.
        can_be_split = min(size, len(rest) - size) >= len(names)
        if not can_be_split or np.bincount(targets[rest], minlength=len(names)).min() < 2:
            raise _too_few_rows(targets, names, len(shares) + 1)
        rows["train"], rows[part] = train_test_split(
            rest, test_size=size, stratify=targets[rest], random_state=seed
        )
    # Stratification rounds to whole rows, so a rare class may still miss in a part.
    if any(len(np.unique(targets[taken])) < len(names) for taken in rows.values()):
        raise _too_few_rows(targets, names, len(shares) + 1)
    return {part: (images[taken], targets[taken]) for part, taken in rows.items()}


def _too_few_rows(targets: IntArray, names: tuple[str, ...], n_parts: int) -> TaskError:
    """Return the error that names the rarest class."""
    counts = np.bincount(targets, minlength=len(names))
    rarest = int(counts.argmin())
    return TaskError(
        expected=f"enough rows of every class to be in each of the {n_parts} splits",
        got=f"{counts[rarest]} rows of class {names[rarest]!r}, of {len(targets)} in all",
        fix="add rows of this class, drop it, or give larger shares or splits of your own",
    )


def _targets(labels: IntArray) -> torch.Tensor:
    """Return class indices as a tensor of int64, (n,)."""
    return torch.from_numpy(labels.astype(np.int64))


def digits(metric: str = "accuracy", seed: int = 0) -> Task:
    """Make the task of scikit-learn's 1,797 real handwritten digits: 8x8, grey, ten classes.

    The pixels' 17 levels are spread over 0 to 255. The splits are 60 %, 20 % and 20 % of the rows.
    """
    return digits_with(metric=metric, seed=seed)


def digits_with(**options: Unpack[Options]) -> Task:
    """Make the task of :func:`digits` with any options of :func:`from_arrays`."""
    data = load_digits()
    pixels = np.rint(data.images * (255 / 16)).astype(np.uint8)
    return from_arrays(pixels, data.target, name="digits", **options)
