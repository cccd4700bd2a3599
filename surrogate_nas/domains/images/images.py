"""Tasks of images: normalization, augmentation in batch, and what is to be predicted of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from typing import final

import torch
from torch import nn
from torch.nn import functional

from surrogate_nas import tensors
from surrogate_nas.domains.images.image_files import FitName
from surrogate_nas.domains.images.meta_features import task_meta_features
from surrogate_nas.domains.images.mirroring import may_be_mirrored
from surrogate_nas.domains.images.photo_augmentation import N_DRAWS, drawn, varied
from surrogate_nas.domains.images.photos import (
    AugmentAs,
    NormalizationName,
    checked_normalization,
    imagenet_statistics,
    is_photo,
)
from surrogate_nas.domains.images.plain_images import Normalization, image_scripts
from surrogate_nas.domains.images.shifts import erased, shifted
from surrogate_nas.domains.kinds import Classification, ClassWeights, Kind, OnDevice
from surrogate_nas.errors import TaskError
from surrogate_nas.metric import Metric
from surrogate_nas.task import Split, SplitLike, Task, together
from surrogate_nas.task.splits import evenly
from surrogate_nas.tensors import Shape

_CHUNK_BYTES = 2**22
"""Bytes of images that are converted to float64 at once."""
_MOST_PIXELS = 2**28
"""Pixels of a split in memory that its normalization is computed from."""
_LARGEST_BYTE = 255
_USUAL = 0.5
"""Strength of the augmentation of photos where the Trainer has none."""
_MIRRORED_IMAGES = 1000
"""Images that tell whether photos may be mirrored."""
_DECODED_IMAGES = 256
"""Images that it is computed from where they are decoded on demand."""


@final
class ImageTask(Task):
    """A class, numbers, or several labels of images that all have one size.

    :func:`~surrogate_nas.tasks.from_arrays`, ``from_npz``, ``from_folder`` and ``from_dataset``
    make one from raw data.

    Args:
        name: Name of the task in past tasks and reports.
        train: Images (n, channels, height, width) as uint8 or float32, with targets of the kind:
            of classes (n,) as int64 in 0..k-1. A ``DatasetSplit`` must know its targets.
        validation: Validation split, with images of the same shape and type.
        test: Test split, with images of the same shape and type.
        metric: Metric that a trial returns.
        classes: Names of the k classes or labels; empty for numbers.
        flip: Whether augmentation may mirror images: right for most photos, wrong for digits. None
            finds out for photos with classes, see
            :func:`~surrogate_nas.domains.images.mirroring.may_be_mirrored`, and means no for
            other images.
        class_weights: "balanced" weighs classes in the loss by the inverse of their share.
        kind: What is to be predicted; None stands for one of the classes.
        fit: How image files get the images' size, for scripts beside an exported network.
        augment_as: "photos" or "shifts", see :meth:`augment`. None takes images with three bytes a
            pixel and sides of at least 32 pixels for photos. Only images of bytes can be photos.
        normalization: "own" statistics of the training split, or those of "imagenet", which
            pretrained networks know.

    Raises:
        TaskError: The splits do not fit each other or the classes.
        MetricError: The metric is undefined on the validation or the test split.
    """

    augments_on_device = True

    def __init__(
        self,
        name: str,
        train: SplitLike,
        validation: SplitLike,
        test: SplitLike,
        *,
        metric: Metric,
        classes: tuple[str, ...],
        flip: bool | None = None,
        class_weights: ClassWeights = None,
        kind: Kind | None = None,
        fit: FitName = "crop",
        augment_as: AugmentAs | None = None,
        normalization: NormalizationName = "own",
    ) -> None:
        splits = {"train": train, "validation": validation, "test": test}
        _check_images(splits)
        if kind is None:
            self.kind: Kind = _classes(train, classes, class_weights)
        else:
            self.kind = kind
        for where, split in splits.items():
            self.kind.require_targets(split.targets, where)
        for where in ("validation", "test"):
            targets = splits[where].targets
            self.kind.require_fit(metric, targets, f"the {where} split")
        self.name = name
        self.train, self.validation, self.test = train, validation, test
        self.metric = metric
        self.classes = classes
        self._given_flip = flip
        self.class_weights: ClassWeights = class_weights
        self.fit: FitName = fit
        self.input_shape = tuple(_first(train).shape[1:])
        self.n_outputs = self.kind.n_outputs
        self.augment_as = augment_as
        self.is_photo = is_photo(_first(train), augment_as)
        self.usual_augmentation = _USUAL if self.is_photo else 0.0
        self.normalization = checked_normalization(normalization, _first(train))
        self.shape = Shape({"image": self.input_shape, self.kind.size_name: self.n_outputs})

    @cached_property
    def flip(self) -> bool:
        """Whether augmentation may mirror images; found out when it is first asked for."""
        if self._given_flip is not None:
            return self._given_flip
        if not self.is_photo or not isinstance(self.kind, Classification):
            return False
        rows = evenly(len(self.train), _MIRRORED_IMAGES)
        images, targets = self.train.take(rows)
        return may_be_mirrored(images, targets)

    @cached_property
    def _statistics(self) -> OnDevice:
        """Mean and scale of each channel, computed when a first image is prepared."""
        own = self.normalization == "own"
        mean, scale = _normalization(self.train) if own else imagenet_statistics()
        return OnDevice(mean=mean, scale=scale)

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalize each channel by the mean and standard deviation of the training split.

        Args:
            inputs: Raw images, (n, channels, height, width); not modified.

        Returns:
            float32 of the same shape, on the same device.
        """
        mean = self._statistics.get("mean", inputs.device)
        scale = self._statistics.get("scale", inputs.device)
        return (inputs - mean).mul_(scale)

    def augment(
        self, inputs: torch.Tensor, strength: float, generator: torch.Generator
    ) -> torch.Tensor:
        """Vary images: photos as photos, others by shifts, mirror images and an erased square.

        Photos are cropped at random and resized, mirrored if the task allows, changed by one more
        operation, and partly erased (:mod:`~surrogate_nas.domains.images.photo_augmentation`). At
        strength 1 a crop leaves out up to 65 % of the area.

        Of other images shifts reach an eighth of the image at strength 1, with repeated edges, as
        in the usual crop after padding. The erased square (cutout, DeVries & Taylor 2017,
        arXiv:1708.04552) has a quarter of the shorter side, and its center is uniform over the
        image. Shifts and square shrink in proportion to the strength.

        Args:
            inputs: Prepared images, (n, channels, height, width); not modified.
            strength: Strength of the augmentation; 0 returns the same tensor object.
            generator: Source of randomness, on the CPU or on the images' device.

        Raises:
            TaskError: The strength is negative or not finite.
        """
        if not 0 <= strength < math.inf:
            raise TaskError(
                expected="an augmentation strength of 0 or more",
                got=f"{strength}",
                fix="choose one between 0 and 1",
            )
        if strength == 0:
            return inputs
        if self.is_photo:
            return self._vary_photos(inputs, strength, generator)
        # NOTE: all random numbers come in one transfer: rows for two shifts, a flip, two centers.
        random = torch.rand(5, len(inputs), generator=generator, device=generator.device)
        random = random.to(inputs.device)
        moved = shifted(inputs, strength, random[:2], random[2] < 0.5 * self.flip)
        return erased(moved, strength, random[3:])

    def _vary_photos(
        self, inputs: torch.Tensor, strength: float, generator: torch.Generator
    ) -> torch.Tensor:
        """Return varied photos; their pixels are from 0 to 1 meanwhile."""
        uniform = torch.rand(N_DRAWS, len(inputs), generator=generator, device=generator.device)
        draws = drawn(uniform.to(inputs.device), strength, may_mirror=self.flip)
        mean = self._statistics.get("mean", inputs.device) / _LARGEST_BYTE
        scale = self._statistics.get("scale", inputs.device) * _LARGEST_BYTE
        return (varied(inputs / scale + mean, draws, strength) - mean).mul_(scale)

    def rescale(
        self, inputs: torch.Tensor, targets: torch.Tensor, share: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images with a share of their sides, averaged down, and the targets as they are.

        Sides above 32 pixels become multiples of 8, which networks of patches need.

        Args:
            inputs: Prepared images, (n, channels, height, width).
            targets: Their targets.
            share: Share of each side, in (0, 1).
        """
        height, width = (_smaller(side, share) for side in inputs.shape[2:])
        smaller = functional.interpolate(
            inputs, (height, width), mode="bilinear", align_corners=False, antialias=True
        )
        return smaller, targets

    def loss(
        self, outputs: torch.Tensor, targets: torch.Tensor, label_smoothing: float
    ) -> torch.Tensor:
        """Return the loss of the kind: cross entropy, or the mean squared error of numbers."""
        return self.kind.loss(outputs, targets, label_smoothing)

    def predict(self, network: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
        """Return a network's outputs in evaluation: logits, or numbers in the targets' unit."""
        outputs: torch.Tensor = tensors.call(network, inputs)
        return self.kind.decode(outputs)

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> float:
        """Return the metric of what :meth:`predict` gives; NaN if a number is not finite."""
        return self.kind.score(self.metric, outputs, targets)

    def merged(self) -> ImageTask:
        """Return the same task with the validation split added to the training split.

        The validation split stays in place, although a network trained on the result has seen it.
        Normalization and the unit of outputs stay those of the training split.
        """
        made = ImageTask(
            self.name,
            together([self.train, self.validation]),
            self.validation,
            self.test,
            metric=self.metric,
            classes=self.classes,
            flip=self.flip,
            class_weights=self.class_weights,
            kind=self.kind,
            fit=self.fit,
            augment_as=self.augment_as,
            normalization=self.normalization,
        )
        # NOTE: the exported network prepares images as this task does.
        made.__dict__["_statistics"] = self._statistics
        return made

    def preparation(self) -> nn.Module:
        """Return the normalization as a module."""
        constants = self._statistics.constants
        return Normalization(constants["mean"], constants["scale"])

    def scripts(self) -> dict[str, str]:
        """Return a program for one image file, if images have a byte a channel as in files."""
        channels, height, width = self.input_shape
        if _first(self.train).dtype != torch.uint8:
            return {}
        return image_scripts((channels, height, width), self.fit, self.kind)

    @cached_property
    def _meta_features(self) -> dict[str, float]:
        """Meta-features, which take seconds for large splits."""
        return task_meta_features(self.train, self.kind)

    @property
    def meta_features(self) -> dict[str, float]:
        """The numbers of :func:`~surrogate_nas.tasks.image_meta_features`, computed once."""
        return dict(self._meta_features)


def _classes(train: SplitLike, classes: tuple[str, ...], class_weights: ClassWeights) -> Kind:
    """Return the kind of classes, with targets that are known to fit."""
    Classification(classes, train.targets[:0]).require_targets(train.targets, "train")
    return Classification(classes, train.targets, class_weights)


def _first(split: SplitLike) -> torch.Tensor:
    """Return the first raw image, (1, channels, height, width)."""
    images: torch.Tensor = split.take(torch.zeros(1, dtype=torch.long))[0]
    return images


def _check_images(splits: dict[str, SplitLike]) -> None:
    """Refuse splits with other shapes or types of images than an ImageTask needs."""
    first = _first(splits["train"])
    for name, split in splits.items():
        # Images that are decoded on demand are judged by one of them.
        images = split.inputs if isinstance(split, Split) else _first(split)
        if images.ndim != 4 or images.dtype not in (torch.uint8, torch.float32):
            raise TaskError(
                expected="images (n, channels, height, width) as uint8 or float32",
                got=f"{tuple(images.shape)} as {images.dtype} in {name}",
                fix="make the task with surrogate_nas.tasks.from_arrays",
            )
        if images.shape[1:] != first.shape[1:] or images.dtype != first.dtype:
            raise TaskError(
                expected=f"images {tuple(first.shape[1:])} as {first.dtype} in every split",
                got=f"{tuple(images.shape[1:])} as {images.dtype} in {name}",
                fix="resize and convert all splits alike",
            )


def _normalization(split: SplitLike) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean and the inverse standard deviation of each channel, (1, channels, 1, 1).

    Of a large split they come from evenly spaced images.
    """
    # NOTE: two passes, since the difference of two large sums would cancel where pixels are large.
    total, n_pixels = torch.zeros(()), 0
    for chunk in _chunks(split):
        total = total + chunk.sum((0, 2, 3), dtype=torch.float64)
        n_pixels += len(chunk) * chunk.shape[2] * chunk.shape[3]
    channels = (1, len(total), 1, 1)
    mean = (total / n_pixels).view(channels)
    squares = torch.zeros_like(total)
    for chunk in _chunks(split):
        squares += (chunk - mean).square_().sum((0, 2, 3))
    std = (squares / n_pixels).sqrt().view(channels)
    # NOTE: the deviation of a constant channel is rounding error, and must not be divided by.
    constant = std <= (1e-6 * mean.abs()).clamp(min=1e-30)
    return mean.float(), torch.where(constant, 1.0, 1.0 / std).float()


def _chunks(split: SplitLike) -> Iterator[torch.Tensor]:
    """Yield the images (m, channels, height, width) that stand for a split, some at a time."""
    first = _first(split)
    n = max(1, _CHUNK_BYTES // first.nbytes)
    most = max(1, _MOST_PIXELS // first.numel())
    if isinstance(split, Split) and len(split) <= most:
        yield from torch.split(split.inputs, n)
        return
    kept = most if isinstance(split, Split) else _DECODED_IMAGES
    for rows in torch.split(evenly(len(split), kept), n):
        yield split.take(rows)[0]


def _smaller(side: int, share: float) -> int:
    """Return a share of a side in pixels, at most the side itself."""
    if side <= 32:
        return max(1, round(side * share))
    return min(side, max(8, 8 * round(side * share / 8)))
