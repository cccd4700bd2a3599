"""Images and labels of the parts of a data set -> a task: labels are encoded, rows are split."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, final

import numpy as np
import torch

from surrogate_nas.arrays import Array, IntArray
from surrogate_nas.domains.images.image_files import FitName
from surrogate_nas.domains.images.images import ImageTask
from surrogate_nas.domains.images.photos import AugmentAs, NormalizationName
from surrogate_nas.domains.images.stores import ImageStore
from surrogate_nas.domains.kinds import ClassWeights, KindName, checked_kind, metric_of
from surrogate_nas.domains.splitting import SplitRule, split_rows
from surrogate_nas.domains.targets import read_labels
from surrogate_nas.errors import TaskError
from surrogate_nas.metric import Metric
from surrogate_nas.task import SplitLike, Task

_logger = logging.getLogger(__name__)


class Options(TypedDict, total=False):
    """Options that every function that makes a task of images takes."""

    kind: KindName | None
    metric: str | Metric | None
    validation_share: float
    test_share: float
    flip: bool | None
    class_weights: ClassWeights
    augment_as: AugmentAs | None
    normalization: NormalizationName
    seed: int


@final
@dataclass(frozen=True)
class Part:
    """One part of a data set: the training part may be cut into splits.

    Args:
        images: Its images.
        rows: Numbers of its images in the store, (n,).
        labels: Their labels.
        what: Name of the labels in error messages.
    """

    images: ImageStore
    rows: IntArray
    labels: Any
    what: str


@final
@dataclass(frozen=True, kw_only=True)
class Making:
    """How parts become a task, beside the options.

    Args:
        name: Name of the task.
        classes: Names of the classes or outputs; None for those of the labels.
        groups: Groups of the rows of "train", see :class:`SplitRule`.
        times: Times of the rows of "train".
        fit: How image files get the images' size.
        says_drawn: Whether the log says which splits are drawn.
    """

    name: str
    classes: Sequence[str] | None = None
    groups: Any = None
    times: Any = None
    fit: FitName = "crop"
    says_drawn: bool = False


def make_task(parts: Mapping[str, Part], making: Making, options: Options) -> Task:
    """Make a task of the parts "train", and "val" and "test" where they are given.

    Splits that are not given are taken from "train".

    Raises:
        TaskError: The data, the labels or the options are unusable.
        MetricError: The metric is unknown, or undefined on the validation or the test split.
    """
    train = parts["train"]
    kind = checked_kind(options.get("kind"))
    reader = read_labels(train.labels, train.what, kind, making.classes)
    metric = metric_of(reader.kind, options.get("metric"))
    wanted = {
        "val": options.get("validation_share", 0.2),
        "test": options.get("test_share", 0.2),
    }
    shares = {part: share for part, share in wanted.items() if part not in parts}
    rule = SplitRule(
        strata=reader.strata,
        names=reader.names,
        groups=making.groups,
        times=making.times,
        seed=options.get("seed", 0),
    )
    drawn = split_rows(len(train.rows), shares, rule)
    if making.says_drawn:
        _say_drawn(making.name, shares)
    splits: dict[str, SplitLike] = {
        part: train.images.split(train.rows[rows], _tensor(reader.targets[rows]))
        for part, rows in drawn.items()
    }
    for part, given in parts.items():
        if part != "train":
            targets = reader.encoded(given.labels, given.what)
            splits[part] = given.images.split(given.rows, _tensor(targets))
    return ImageTask(
        making.name,
        splits["train"],
        splits["val"],
        splits["test"],
        metric=metric,
        classes=reader.names if reader.kind != "regression" else (),
        flip=options.get("flip"),
        class_weights=options.get("class_weights"),
        kind=reader.made(splits["train"].targets, options.get("class_weights")),
        fit=making.fit,
        augment_as=options.get("augment_as"),
        normalization=options.get("normalization", "own"),
    )


def require_counts(n_images: int, labels: Any, images: str, what: str) -> None:
    """Refuse another number of labels than of images.

    Raises:
        TaskError: The numbers differ.
    """
    n_labels = len(labels)
    if n_images != n_labels:
        raise TaskError(
            expected=f"as many images in {images} as labels in {what}",
            got=f"{n_images} images and {n_labels} labels",
            fix="give each image one label",
        )


def _tensor(targets: Array) -> torch.Tensor:
    """Return targets as a tensor: class indices as int64, numbers as float32."""
    is_whole = targets.dtype.kind in "iu"
    return torch.from_numpy(targets.astype(np.int64 if is_whole else np.float32))


def _say_drawn(name: str, shares: Mapping[str, float]) -> None:
    """Say that a split has no images of its own, where another one has."""
    for part, share in shares.items():
        _logger.warning(
            "%r has no folder of the %s split: %.0f %% of its training images are drawn for it.",
            name,
            {"val": "validation"}.get(part, part),
            100 * share,
        )
