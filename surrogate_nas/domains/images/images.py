"""Classification of images: normalization, augmentation in batch, cross entropy."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal, TypeAlias, final

import torch
from torch import nn
from torch.nn import functional

from surrogate_nas.domains.classification import require_fit
from surrogate_nas.domains.images.meta_features import image_meta_features
from surrogate_nas.domains.images.plain_images import Normalization, classify_script
from surrogate_nas.errors import TaskError
from surrogate_nas.metric import Metric
from surrogate_nas.task import Split, Task
from surrogate_nas.tensors import Shape

ClassWeights: TypeAlias = Literal["balanced"] | None

_CHUNK = 4096
"""Number of images that are converted to float64 at once."""


@final
class ImageTask(Task):
    """Classification of images that all have one size.

    :func:`~surrogate_nas.tasks.from_arrays`, ``from_npz`` and ``from_folder`` make one from raw
    data.

    Args:
        name: Name of the task in past tasks and reports.
        train: Images (n, channels, height, width) as uint8 or float32; targets (n,) as int64
            in 0..k-1.
        validation: Validation split, with images of the same shape and type.
        test: Test split, with images of the same shape and type.
        metric: Metric that a trial returns.
        classes: Names of the k classes.
        flip: Whether augmentation may mirror images: right for photos, wrong for digits.
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
            require_fit(metric, split.targets.numpy(), len(classes), where)
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
        """Return a constant on a device, from a copy that is made once."""
        # NOTE: a transfer in each step would make the GPU wait. The first call may come from an
        # evaluation, and a tensor made in inference mode would fail in training.
        if (name, device) not in self._on_device:
            with torch.inference_mode(False):
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
        """Shift each image, mirror it if the task allows, and erase a square.

        At strength 1 shifts reach an eighth of the image, with repeated edges, as in the usual
        crop after padding. The erased square (cutout, DeVries & Taylor 2017, arXiv:1708.04552) has
        a quarter of the shorter side, and its center is uniform over the image. Shifts and square
        shrink in proportion to the strength.

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
        # NOTE: all random numbers come in one transfer: rows for two shifts, a flip, two centers.
        random = torch.rand(5, len(inputs), generator=generator, device=generator.device)
        random = random.to(inputs.device)
        shifted = _shift_and_flip(inputs, strength, random[:2], random[2] < 0.5 * self.flip)
        return _erase(shifted, strength, random[3:])

    def loss(
        self, outputs: torch.Tensor, targets: torch.Tensor, label_smoothing: float
    ) -> torch.Tensor:
        """Return the cross entropy of outputs (n, n_outputs) and class indices (n,), in float32.

        With class weights it is the weighted mean over the rows.
        """
        weight = self._weights
        if weight is not None:
            weight = self._constant("weights", weight, outputs.device)
        return functional.cross_entropy(
            outputs.float(), targets, weight=weight, label_smoothing=label_smoothing
        )

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> float:
        """Return the metric of outputs (n, n_outputs); NaN if an output is not finite."""
        # NOTE: the softmax is taken in float64. In float32 confident outputs round to 1 and tie,
        # which spoils metrics that rank.
        if not bool(torch.isfinite(outputs).all()):
            return float("nan")
        probabilities = outputs.detach().cpu().double().softmax(dim=1)
        return self.metric.compute(targets.cpu().numpy(), probabilities.numpy())

    def merged(self) -> ImageTask:
        """Return the same task with the validation split added to the training split.

        The validation split stays in place, although a network trained on the result has seen it.
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
        """Return ``classify.py``, if images have a byte a channel as in files."""
        channels, height, width = self.input_shape
        is_bytes = self.train.inputs.dtype == torch.uint8
        script = classify_script((channels, height, width)) if is_bytes else None
        return {} if script is None else {"classify.py": script}

    @cached_property
    def _meta_features(self) -> dict[str, float]:
        """Meta-features, which take seconds for large splits."""
        return image_meta_features(self.train.inputs, self.train.targets, self.n_outputs)

    @property
    def meta_features(self) -> dict[str, float]:
        """The numbers of :func:`~surrogate_nas.tasks.image_meta_features`, computed once."""
        return dict(self._meta_features)


def _check_splits(splits: dict[str, Split], n_classes: int) -> None:
    """Refuse splits with other shapes, types or targets than an ImageTask needs."""
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
    """Return the mean and the inverse standard deviation of each channel, (1, channels, 1, 1)."""
    # NOTE: two passes, since the difference of two large sums would cancel where pixels are large.
    chunks = torch.split(images, _CHUNK)
    channels = (1, images.shape[1], 1, 1)
    n_pixels = len(images) * images.shape[2] * images.shape[3]
    total = torch.stack([chunk.sum((0, 2, 3), dtype=torch.float64) for chunk in chunks]).sum(0)
    mean = (total / n_pixels).view(channels)
    squares = [(chunk - mean).square_().sum((0, 2, 3)) for chunk in chunks]
    std = (torch.stack(squares).sum(0) / n_pixels).sqrt().view(channels)
    # NOTE: the deviation of a constant channel is rounding error, and must not be divided by.
    constant = std <= (1e-6 * mean.abs()).clamp(min=1e-30)
    return mean.float(), torch.where(constant, 1.0, 1.0 / std).float()


def _balanced(targets: torch.Tensor, n_classes: int) -> torch.Tensor:
    """Return class weights (k,) with mean 1 over the rows, and 0 for classes without rows."""
    counts = torch.bincount(targets, minlength=n_classes).double()
    present = (counts > 0).sum()
    weights = torch.where(counts > 0, len(targets) / (present * counts.clamp(min=1)), 0.0)
    return weights.float()


def _shift_and_flip(
    images: torch.Tensor, strength: float, shifts: torch.Tensor, flipped: torch.Tensor
) -> torch.Tensor:
    """Return images moved by whole pixels, with repeated edges, and some of them mirrored.

    Args:
        images: Prepared images, (n, channels, height, width).
        strength: Strength of the augmentation, see :meth:`ImageTask.augment`.
        shifts: Uniform numbers in [0, 1), (2, n).
        flipped: Whether each image is mirrored, (n,).
    """
    # NOTE: positions are computed first, so one gather moves and mirrors the whole batch.
    n, channels, height, width = images.shape
    rows = _shifted_positions(height, strength, shifts[0])
    columns = _shifted_positions(width, strength, shifts[1])
    columns = torch.where(flipped[:, None], width - 1 - columns, columns)
    source = (rows[:, :, None] * width + columns[:, None, :]).view(n, 1, height * width)
    flat = images.reshape(n, channels, height * width)
    return flat.gather(2, source.expand(-1, channels, -1)).view(images.shape)


def _shifted_positions(size: int, strength: float, uniform: torch.Tensor) -> torch.Tensor:
    """Return the source of each position along one axis, for each image, (n, size)."""
    reach = round(strength * size / 8)
    shift = (uniform * (2 * reach + 1)).long() - reach
    return (torch.arange(size, device=uniform.device) + shift[:, None]).clamp_(0, size - 1)


def _erase(images: torch.Tensor, strength: float, centers: torch.Tensor) -> torch.Tensor:
    """Return images with a square set to 0, the mean of prepared pixels; centers are (2, n)."""
    height, width = images.shape[2:]
    side = round(strength * min(height, width) / 4)
    if side == 0:
        return images
    rows = _within(height, side, centers[0])
    columns = _within(width, side, centers[1])
    return images.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0.0)


def _within(size: int, side: int, uniform: torch.Tensor) -> torch.Tensor:
    """Return whether the square covers each position along one axis, for each image, (n, size)."""
    start = (uniform * size).long() - side // 2
    offset = torch.arange(size, device=uniform.device) - start[:, None]
    return (offset >= 0) & (offset < side)
