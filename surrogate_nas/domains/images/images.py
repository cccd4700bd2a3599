"""Classification of images: normalization, augmentation in batch, cross entropy."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal, TypeAlias, final

import torch
from torch import nn
from torch.nn import functional

from surrogate_nas.domains.images.meta_features import image_meta_features
from surrogate_nas.domains.images.plain_images import Normalization, classify_script
from surrogate_nas.errors import TaskError
from surrogate_nas.metric import Metric
from surrogate_nas.task import Split, Task
from surrogate_nas.tensors import Shape

ClassWeights: TypeAlias = Literal["balanced"] | None

_CHUNK = 4096
"""Images that are widened to float64 at once."""


@final
class ImageTask(Task):
    """Images of one size, one class each.

    :func:`~surrogate_nas.tasks.from_arrays` and its relatives make one from raw data.

    Args:
        name: How past tasks and reports call it.
        train: Images (n, channels, height, width) as uint8 or float32; targets (n,) as int64
            in 0..k-1.
        validation: The same, with the same shape and type of images.
        test: The same.
        metric: What a trial returns.
        classes: Names of the k classes.
        flip: Whether an image and its mirror image mean the same: true of photos, not of digits.
        class_weights: "balanced" weighs classes in the loss by the inverse of their share.

    Raises:
        TaskError: The splits do not fit each other or the classes.
        MetricError: The metric is undefined on the validation or the test split.
    """

    augments_on_device = True
    train: Split
    validation: Split
    test: Split

    def __init__(
        self,
        name: str,
        train: Split,
        validation: Split,
        test: Split,
        *,
        metric: Metric,
        classes: tuple[str, ...],
        flip: bool = False,
        class_weights: ClassWeights = None,
    ) -> None:
        _check_splits({"train": train, "validation": validation, "test": test}, len(classes))
        for where, split in (("the validation split", validation), ("the test split", test)):
            metric.require_fit(split.targets.numpy(), len(classes), where)
        if class_weights not in (None, "balanced"):
            raise TaskError(
                expected="class_weights of None or 'balanced'",
                got=repr(class_weights),
                fix="write class_weights='balanced' for data with rare classes",
            )
        self.name = name
        self.train, self.validation, self.test = train, validation, test
        self.metric = metric
        self.classes = classes
        self.flip = flip
        self.class_weights: ClassWeights = class_weights
        self.input_shape = tuple(train.inputs.shape[1:])
        self.n_outputs = len(classes)
        self.shape = Shape(image=self.input_shape, classes=len(classes))
        self._mean, self._scale = _normalization(train.inputs)
        self._weights = _balanced(train.targets, len(classes)) if class_weights else None
        self._on_device: dict[tuple[str, torch.device], torch.Tensor] = {}

    def _constant(self, name: str, value: torch.Tensor, device: torch.device) -> torch.Tensor:
        """Keep a copy of a constant on each device, so that no step waits for a transfer."""
        if (name, device) not in self._on_device:
            with torch.inference_mode(False):  # an evaluation may come first
                self._on_device[name, device] = value.to(device)
        return self._on_device[name, device]

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalize each channel by the mean and standard deviation of the training split.

        Args:
            inputs: Raw images, (n, channels, height, width); not modified.

        Returns:
            float32 of the same shape, on the same device.
        """
        mean = self._constant("mean", self._mean, inputs.device)
        scale = self._constant("scale", self._scale, inputs.device)
        return (inputs - mean).mul_(scale)

    def augment(
        self, inputs: torch.Tensor, strength: float, generator: torch.Generator
    ) -> torch.Tensor:
        """Shift each image, mirror it where the task allows, and erase a square.

        At strength 1 shifts reach an eighth of the image (edges repeated; the usual crop after
        padding), and the square's side is a quarter of the shorter side (cutout, DeVries & Taylor
        2017, arXiv:1708.04552; its center is uniform over the image). Both grow in proportion.

        Args:
            inputs: Prepared images, (n, channels, height, width); not modified.
            strength: 0 returns the very same tensor.
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
        # One transfer for everything that is random; a row each for two shifts, flip and center.
        random = torch.rand(5, len(inputs), generator=generator, device=generator.device)
        random = random.to(inputs.device)
        shifted = _shift_and_flip(inputs, strength, random[:2], random[2] < 0.5 * self.flip)
        return _erase(shifted, strength, random[3:])

    def loss(
        self, outputs: torch.Tensor, targets: torch.Tensor, label_smoothing: float
    ) -> torch.Tensor:
        """Return the cross entropy of outputs (n, n_outputs) and class indices (n,), in float32.

        With class weights it is the weighted mean of the rows.
        """
        weight = self._weights
        if weight is not None:
            weight = self._constant("weights", weight, outputs.device)
        return functional.cross_entropy(
            outputs.float(), targets, weight=weight, label_smoothing=label_smoothing
        )

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> float:
        """Return the metric of outputs (n, n_outputs); not a number where an output is not finite.

        The softmax is taken in float64: in float32 confident outputs round to 1 and tie, which
        spoils metrics that rank.
        """
        if not bool(torch.isfinite(outputs).all()):
            return float("nan")
        probabilities = outputs.detach().cpu().double().softmax(dim=1)
        return self.metric.compute(targets.cpu().numpy(), probabilities.numpy())

    def merged(self) -> ImageTask:
        """Return the same task with the validation split added to the training split.

        The validation split stays in place: a network fitted on the result has seen it.
        """
        parts = (self.train, self.validation)
        both = Split(
            torch.cat([part.inputs for part in parts]), torch.cat([part.targets for part in parts])
        )
        return ImageTask(
            self.name,
            both,
            self.validation,
            self.test,
            metric=self.metric,
            classes=self.classes,
            flip=self.flip,
            class_weights=self.class_weights,
        )

    def preparation(self) -> nn.Module:
        """Return the normalization as a module."""
        return Normalization(self._mean, self._scale)

    def scripts(self) -> dict[str, str]:
        """Return ``classify.py``, where images are read from files as a byte a channel."""
        channels, height, width = self.input_shape
        is_bytes = self.train.inputs.dtype == torch.uint8
        script = classify_script((channels, height, width)) if is_bytes else None
        return {} if script is None else {"classify.py": script}

    @cached_property
    def _meta_features(self) -> dict[str, float]:
        return image_meta_features(self.train.inputs, self.train.targets, self.n_outputs)

    @property
    def meta_features(self) -> dict[str, float]:
        """The numbers of :func:`~surrogate_nas.tasks.image_meta_features`, computed once."""
        return dict(self._meta_features)


def _check_splits(splits: dict[str, Split], n_classes: int) -> None:
    """Check what every split must have; makers of tasks have explained finer faults before."""
    first = next(iter(splits.values())).inputs
    for name, split in splits.items():
        images, targets = split.inputs, split.targets
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
        in_range = (targets >= 0) & (targets < n_classes)
        if targets.ndim != 1 or targets.dtype != torch.int64 or not bool(in_range.all()):
            raise TaskError(
                expected=f"targets (n,) as int64 in 0..{n_classes - 1}",
                got=f"{tuple(targets.shape)} as {targets.dtype} in {name}, "
                f"from {targets.min()} to {targets.max()}",
                fix="number the classes from 0, in the order of their names",
            )


def _normalization(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean and the inverse standard deviation of each channel, (1, channels, 1, 1).

    The deviation is taken from the mean in a second pass: no cancellation where pixels are large.
    """
    chunks = torch.split(images, _CHUNK)
    channels = (1, images.shape[1], 1, 1)
    n_pixels = len(images) * images.shape[2] * images.shape[3]
    total = torch.stack([chunk.sum((0, 2, 3), dtype=torch.float64) for chunk in chunks]).sum(0)
    mean = (total / n_pixels).view(channels)
    squares = [(chunk - mean).square_().sum((0, 2, 3)) for chunk in chunks]
    std = (torch.stack(squares).sum(0) / n_pixels).sqrt().view(channels)
    # A constant channel has rounding errors for a deviation; dividing by them would blow up.
    constant = std <= (1e-6 * mean.abs()).clamp(min=1e-30)
    return mean.float(), torch.where(constant, 1.0, 1.0 / std).float()


def _balanced(targets: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Return weights (k,) with mean 1 over the rows; classes without rows weigh nothing."""
    counts = torch.bincount(targets, minlength=n_classes).double()
    present = (counts > 0).sum()
    weights = torch.where(counts > 0, len(targets) / (present * counts.clamp(min=1)), 0.0)
    return weights.float()


def _shift_and_flip(
    images: torch.Tensor, strength: float, shifts: torch.Tensor, flipped: torch.Tensor
) -> torch.Tensor:
    """Move images by whole pixels, repeating the edge, and mirror some, in one gather.

    Args:
        images: (n, channels, height, width).
        strength: See :meth:`ImageTask.augment`.
        shifts: Uniform numbers in [0, 1), (2, n).
        flipped: Which images are mirrored, (n,).
    """
    n, channels, height, width = images.shape
    rows = _shifted_positions(height, strength, shifts[0])
    columns = _shifted_positions(width, strength, shifts[1])
    columns = torch.where(flipped[:, None], width - 1 - columns, columns)
    source = (rows[:, :, None] * width + columns[:, None, :]).view(n, 1, height * width)
    flat = images.reshape(n, channels, height * width)
    return flat.gather(2, source.expand(-1, channels, -1)).view(images.shape)


def _shifted_positions(size: int, strength: float, uniform: torch.Tensor) -> torch.Tensor:
    """Return for each image (n,) and position where its pixel comes from, (n, size)."""
    reach = round(strength * size / 8)
    shift = (uniform * (2 * reach + 1)).long() - reach
    return (torch.arange(size, device=uniform.device) + shift[:, None]).clamp_(0, size - 1)


def _erase(images: torch.Tensor, strength: float, centers: torch.Tensor) -> torch.Tensor:
    """Set a square of each image to 0, the mean of prepared pixels; centers are (2, n)."""
    height, width = images.shape[2:]
    side = round(strength * min(height, width) / 4)
    if side == 0:
        return images
    rows = _within(height, side, centers[0])
    columns = _within(width, side, centers[1])
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def _within(size: int, side: int, uniform: torch.Tensor) -> torch.Tensor:
    """Say for each image (n,) which positions the square covers along one axis, (n, size)."""
    start = (uniform * size).long() - side // 2
    offset = torch.arange(size, device=uniform.device) - start[:, None]
    return (offset >= 0) & (offset < side)
