"""Tasks from arrays: they are cleaned, split and their labels encoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Unpack

import numpy as np
from sklearn.datasets import load_digits

from surrogate_nas.arrays import Array
from surrogate_nas.domains.given import as_array
from surrogate_nas.domains.images.cleaning import as_images, common_type, require_one_scale
from surrogate_nas.domains.images.making import Making, Options, Part, make_task, require_counts
from surrogate_nas.domains.images.photos import AugmentAs, NormalizationName
from surrogate_nas.domains.images.stores import ArrayStore
from surrogate_nas.domains.kinds import ClassWeights, KindName
from surrogate_nas.domains.labels import refuse_no_labels
from surrogate_nas.errors import TaskError
from surrogate_nas.metric import Metric
from surrogate_nas.task import Task


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
    kind: KindName | None = None,
    groups: Any = None,
    times: Any = None,
    metric: str | Metric | None = None,
    validation_share: float = 0.2,
    test_share: float = 0.2,
    flip: bool | None = None,
    class_weights: ClassWeights = None,
    augment_as: AugmentAs | None = None,
    normalization: NormalizationName = "own",
    seed: int = 0,
) -> Task:
    """Make a task from images and their labels.

    Splits that are not given are taken from `x`: stratified by class, or by `groups` or `times`.
    The same data and seed give the same split. The task holds a copy of the images. Those of a
    memory-mapped array of more than 64 MiB stay on disk, and must not change there.

    Args:
        x: Images, as arrays, tensors or anything ``np.asarray`` takes: grey (n, height, width), or
            with 1, 3 or 4 channels, (n, channels, height, width) or (n, height, width, channels).
            If both the second and the last axis could be channels, the second is taken. Integers
            from 0 to 255 stay uint8, bools become 0 and 255, and other numbers become float32.
        y: Labels. Classes (n,) are integers, strings, bools or whole floats. Numbers to predict
            are (n,) or (n, k). Several labels are 0 or 1, (n, k), or lists of names.
        name: How past tasks and reports call the task.
        x_test: Images of the test split; by default a part of `x`.
        y_test: Labels of `x_test`.
        x_val: Images of the validation split; by default a part of `x`.
        y_val: Labels of `x_val`.
        classes: Names of the classes if labels are indices; by default the labels themselves. For
            other kinds the names of the k columns.
        kind: "classification", "regression" or "multilabel". By default `y` is numbers to predict
            if it has fractions and more than 20 values, or is (n, k) with others than 0 and 1. It
            is several labels if it is 0 and 1, (n, k), or lists of names. Else it is classes.
        groups: Groups (n,) of `x`, such as patients: all images of one group get into one split.
        times: Times (n,) of `x`, as numbers or dates. The latest images become the test split,
            and those before them the validation split.
        metric: A metric of your own, or the name of one of the kind, see ``docs/data.md``. By
            default it is "accuracy", "rmse" or "mean_average_precision".
        validation_share: Share of the rows of `x` that becomes the validation split.
        test_share: Share of the rows of `x` that becomes the test split.
        flip: Whether augmentation may mirror images: right for most photos, wrong for digits. By
            default photos with classes are tried, and other images are not mirrored.
        class_weights: "balanced" weighs classes in the loss by the inverse of their share. A dict
            gives each class its weight by its name.
        augment_as: "photos" varies images by crops, colours and more, "shifts" by small shifts. By
            default images with three bytes a pixel and sides of at least 32 pixels are photos.
        normalization: "own" statistics of the training split, or those of "imagenet".
        seed: Seed of the splits.

    Raises:
        TaskError: The data, the labels, the groups, the times or the shares are unusable.
        MetricError: The metric is unknown, or undefined on the validation or the test split.
    """
    given = {"train": (x, y), "val": (x_val, y_val), "test": (x_test, y_test)}
    making = Making(name=name, classes=classes, groups=groups, times=times)
    options = Options(
        kind=kind,
        metric=metric,
        validation_share=validation_share,
        test_share=test_share,
        flip=flip,
        class_weights=class_weights,
        augment_as=augment_as,
        normalization=normalization,
        seed=seed,
    )
    return make_task(_parts(given), making, options)


def _parts(given: dict[str, tuple[Any, Any]]) -> dict[str, Part]:
    """Return the parts that are given, with images of one type and scale."""
    arrays = {
        part: _read(x, y, _argument("x", part), _argument("y", part))
        for part, (x, y) in given.items()
        if part == "train" or x is not None or y is not None
    }
    pixel_type = common_type(list(arrays.values()))
    if len(arrays) > 1:
        require_one_scale({_argument("x", part): images for part, images in arrays.items()})
    return {
        part: Part(
            ArrayStore(images, pixel_type),
            np.arange(len(images)),
            given[part][1],
            _argument("y", part),
        )
        for part, images in arrays.items()
    }


def _argument(letter: str, part: str) -> str:
    """Return the argument that has images or labels of a part."""
    return letter if part == "train" else f"{letter}_{part}"


def _read(x: Any, y: Any, x_name: str, y_name: str) -> Array:
    """Return clean images of one part of the data, as many as it has labels."""
    if x is None or y is None:
        raise TaskError(
            expected=f"both {x_name} and {y_name}",
            got=f"only {y_name if x is None else x_name}",
            fix="give images and labels together, or neither",
        )
    images = as_images(x, x_name)
    refuse_no_labels(y, y_name)
    labels = y if isinstance(y, list | tuple) else as_array(y, y_name)
    # What has no length is refused when it is read, with its shape.
    if not isinstance(labels, np.ndarray) or labels.ndim:
        require_counts(len(images), labels, x_name, y_name)
    return images


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
