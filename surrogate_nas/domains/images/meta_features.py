"""Meta-features of image data sets, for surrogates that learn across tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import final

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional

from surrogate_nas.arrays import BoolArray, FloatArray, IntArray
from surrogate_nas.domains.kinds import Classification, Kind
from surrogate_nas.task import Split, SplitLike

IMAGE_META_FEATURES = (
    "log10_n_train",
    "n_classes",
    "log10_rows_per_class",
    "class_entropy",
    "log_class_imbalance",
    "channels",
    "height",
    "width",
    "pixel_mean",
    "pixel_std",
    "pixel_skew",
    "zero_share",
    "per_pixel_std",
    "effective_dimension",
    "ridge_accuracy",
    "ridge_skill",
    "neighbor_accuracy",
    "neighbor_skill",
)
"""Names of :func:`image_meta_features`, in order."""

_SAMPLE_ROWS = 2000
_DECODED_ROWS = 1024
"""Rows of the sample where images are not in memory, and may have to be decoded."""
_PIXELS = 2**25
"""Pixels of the sample that the numbers of the pixels come from."""
_LEAST_IMAGES = 16
_CHUNK_PIXELS = 2**19
"""Pixels that are converted to float64 at once."""
_COARSE_SIZE = 8
_SEED = 0


def image_meta_features(
    images: torch.Tensor, targets: torch.Tensor, n_classes: int
) -> dict[str, float]:
    """Return the numbers named in IMAGE_META_FEATURES of a training split, all finite.

    These come from all rows:

    - ``log10_n_train``, ``n_classes``, ``log10_rows_per_class``;
    - ``class_entropy``: entropy of the classes' shares over its maximum, 1 where balanced;
    - ``log_class_imbalance``: natural logarithm of the largest over the smallest class;
    - ``channels``, ``height``, ``width``.

    The others come from a stratified sample of at most 2,000 rows, with pixels from 0 to 1. Bytes
    are divided by 255. Floats outside [0, 1] are moved there by their smallest and largest value.
    Coarse images are averages over at most 8x8 fields. Of large images the numbers of the pixels
    come from the first rows of the sample, of 34 million pixels together.

    - ``pixel_mean``, ``pixel_std``, ``pixel_skew``, and ``zero_share``: share of pixels at 0;
    - ``per_pixel_std``: mean over positions of the standard deviation over images, small where
      images differ little from each other;
    - ``effective_dimension``: participation ratio of the eigenvalues l of the coarse images'
      covariance, (sum of l)^2 / (sum of l^2), and 0 without variance;
    - ``ridge_accuracy``, ``neighbor_accuracy``: accuracy of ridge regression on one-hot targets
      and of the nearest neighbor (landmarking, Pfahringer et al. 2000). Both see the coarse images
      of one half of the sample and are evaluated on the other half;
    - ``ridge_skill``, ``neighbor_skill``: (accuracy - chance) / (1 - chance), where chance is the
      share of the commonest class in the evaluated half.

    Args:
        images: (n, channels, height, width), uint8 or float.
        targets: Class indices, (n,).
        n_classes: Number of classes.
    """
    return _of_classes(Split(images, targets), n_classes)


def task_meta_features(split: SplitLike, kind: Kind) -> dict[str, float]:
    """Return numbers that describe a training split of images, by the kind of its targets.

    For classes they are those of :func:`image_meta_features`, from a sample of at most 1,024 rows
    if the images are not in memory. For numbers and several labels, ``n_outputs`` takes the place
    of the numbers of the classes. ``ridge_skill`` and ``neighbor_skill`` are then the shares of
    the targets' variance that are explained, from -1 to 1.

    Args:
        split: Images (n, channels, height, width) with their targets.
        kind: What is to be predicted.
    """
    if isinstance(kind, Classification):
        return _of_classes(split, kind.n_outputs)
    targets = split.targets.double().reshape(len(split), kind.n_outputs).numpy()
    rows = np.random.default_rng(_SEED).permutation(len(split))[: _n_sampled(split)]
    sample = _Sample(split, rows)
    return {
        "log10_n_train": math.log10(len(split)),
        "n_outputs": float(kind.n_outputs),
        **sample.numbers(),
        **_explained(sample.coarse, targets[rows]),
    }


def _of_classes(split: SplitLike, n_classes: int) -> dict[str, float]:
    """Return the numbers named in IMAGE_META_FEATURES."""
    labels: IntArray = split.targets.cpu().numpy()
    ranks = _rank_in_class(labels)
    rows = _stratified_rows(labels, ranks)[: _n_sampled(split)]
    sample = _Sample(split, rows)
    numbers = sample.numbers()
    # Even places in a class are one half of the sample, odd ones the other.
    landmarks = _landmarks(sample.coarse, labels[rows], ranks[rows] % 2 == 0)
    values = (*_class_numbers(labels, n_classes), *numbers.values(), *landmarks)
    return dict(zip(IMAGE_META_FEATURES, values, strict=True))


def _n_sampled(split: SplitLike) -> int:
    # NOTE: not by what has been decoded already, as the numbers must be the same each time.
    return _SAMPLE_ROWS if isinstance(split, Split) else _DECODED_ROWS


@final
class _Sample:
    """Images of a sample, read once: their averages over fields, and pixels of the first ones.

    Args:
        split: All images.
        rows: Numbers of those in the sample.
    """

    def __init__(self, split: SplitLike, rows: IntArray) -> None:
        first: torch.Tensor = split.take(torch.from_numpy(rows[:1]))[0]
        self._shape = tuple(first.shape[1:])
        n_pixels = first.numel()
        self._chunk = max(1, _CHUNK_PIXELS // n_pixels)
        n_kept = min(len(rows), max(_LEAST_IMAGES, _PIXELS // n_pixels))
        low, high = math.inf, -math.inf
        # NOTE: filled in place. Small results that are kept between large ones that are freed
        # would leave holes in memory, which add up to gigabytes.
        self._kept = torch.empty((n_kept, *self._shape), dtype=first.dtype)
        self.coarse: FloatArray = np.empty((len(rows), _coarse(first.cpu().double()).shape[1]))
        for at in range(0, len(rows), self._chunk):
            images = split.take(torch.from_numpy(rows[at : at + self._chunk]))[0].cpu()
            if images.dtype != torch.uint8:
                low, high = min(low, float(images.min())), max(high, float(images.max()))
            self.coarse[at : at + len(images)] = _coarse(_in_bytes_or_wide(images))
            self._kept[at : at + len(images)] = images[: max(0, n_kept - at)]
        # Floats are moved to 0 to 1 by all of the sample.
        is_moved = first.dtype != torch.uint8 and not (low >= 0 and high <= 1)
        self._low, self._range = (low, high - low or 1.0) if is_moved else (0.0, 1.0)
        self.coarse = (self.coarse - self._low) / self._range

    def numbers(self) -> dict[str, float]:
        """Return the numbers of sides and pixels, from channels to effective_dimension."""
        pixels = _pixel_numbers(self._unit_chunks)
        names = IMAGE_META_FEATURES[IMAGE_META_FEATURES.index("channels") :]
        values = (*map(float, self._shape), *pixels, _effective_dimension(self.coarse))
        return dict(zip(names, values, strict=False))

    def _unit_chunks(self) -> Iterator[FloatArray]:
        """Yield pixels on a scale from 0 to 1, (m, channels, height, width) in float64."""
        for images in torch.split(self._kept, self._chunk):
            yield ((_in_bytes_or_wide(images) - self._low) / self._range).numpy()


def _in_bytes_or_wide(images: torch.Tensor) -> torch.Tensor:
    """Return images in float64: bytes from 0 to 1, and others as they are."""
    wide = images.double()
    return wide / 255 if images.dtype == torch.uint8 else wide


def _class_numbers(labels: IntArray, n_classes: int) -> tuple[float, ...]:
    """Return the five numbers of the classes, from log10_n_train to log_class_imbalance."""
    counts = np.bincount(labels, minlength=n_classes)
    counts = counts[counts > 0]
    shares = counts / counts.sum()
    entropy = -float((shares * np.log(shares)).sum())
    return (
        math.log10(len(labels)),
        float(n_classes),
        math.log10(len(labels) / n_classes),
        entropy / math.log(n_classes) if n_classes > 1 else 1.0,
        math.log(counts.max() / counts.min()),
    )


def _rank_in_class(labels: IntArray) -> IntArray:
    """Return the place of each row in a random order of its class, from 0, (n,)."""
    # NOTE: a fixed seed, so that one data set always has the same meta-features.
    shuffled = np.random.default_rng(_SEED).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    first = np.searchsorted(labels[by_class], labels[by_class])
    ranks = np.empty(len(labels), dtype=np.int64)
    ranks[by_class] = np.arange(len(labels)) - first
    return ranks


def _stratified_rows(labels: IntArray, ranks: IntArray) -> IntArray:
    """Return at most _SAMPLE_ROWS rows, in which the classes have their shares."""
    # NOTE: each class spreads its rows evenly over (0, 1), so any first part has all classes.
    position = (ranks + 0.5) / np.bincount(labels)[labels]
    return np.argsort(position, kind="stable")[:_SAMPLE_ROWS]


def _pixel_numbers(chunks: Callable[[], Iterator[FloatArray]]) -> tuple[float, ...]:
    """Return mean, standard deviation, skewness, share of zeros, mean deviation by position."""
    n = n_images = n_zeros = 0
    total, by_position = 0.0, np.zeros(())
    for pixels in chunks():
        n, n_images = n + pixels.size, n_images + len(pixels)
        n_zeros += int((pixels == 0).sum())
        total += float(pixels.sum())
        by_position = by_position + pixels.sum(axis=0)
    mean, means = total / n, by_position / n_images
    squares, cubes, squares_by_position = 0.0, 0.0, np.zeros(())
    for pixels in chunks():
        around = pixels - mean
        power = around * around
        squares += float(power.sum())
        # NOTE: multiplied out, as NumPy takes forty times as long for a third power.
        cubes += float((power * around).sum())
        around = pixels - means
        squares_by_position = squares_by_position + (around * around).sum(axis=0)
    std = math.sqrt(squares / n)
    # NOTE: a deviation at the level of rounding is none, and must not be divided by.
    skew = cubes / n / std**3 if std > 1e-12 else 0.0
    per_pixel = float(np.sqrt(squares_by_position / n_images).mean())
    return mean, std, skew, n_zeros / n, per_pixel


def _coarse(images: torch.Tensor) -> FloatArray:
    """Return images averaged down to at most 8x8 and flattened, (n, features)."""
    size = (min(images.shape[2], _COARSE_SIZE), min(images.shape[3], _COARSE_SIZE))
    coarse: FloatArray = functional.adaptive_avg_pool2d(images, size).flatten(1).numpy()
    return coarse


def _effective_dimension(features: FloatArray) -> float:
    """Return the participation ratio of the covariance's eigenvalues."""
    centered = features - features.mean(axis=0)
    covariance = centered.T @ centered / len(features)
    # NOTE: the sums of the eigenvalues and of their squares are the trace and the squared
    # Frobenius norm, so no eigenvalue has to be computed.
    trace, squares = float(np.trace(covariance)), float((covariance**2).sum())
    return trace**2 / squares if trace > 1e-12 else 0.0


def _landmarks(features: FloatArray, labels: IntArray, is_fitted: BoolArray) -> tuple[float, ...]:
    """Return accuracy and skill of ridge regression, then of the nearest neighbor."""
    seen, unseen = labels[is_fitted], labels[~is_fitted]
    if not len(unseen):
        return 0.0, 0.0, 0.0, 0.0
    std = features[is_fitted].std(axis=0)
    scaled = (features - features[is_fitted].mean(axis=0)) / np.where(std > 1e-12, std, 1.0)
    x, x_unseen = scaled[is_fitted], scaled[~is_fitted]
    one_hot = np.eye(int(labels.max()) + 1)[seen]
    by_ridge = Ridge(alpha=1.0).fit(x, one_hot).predict(x_unseen).reshape(len(unseen), -1)
    nearest = NearestNeighbors(n_neighbors=1).fit(x).kneighbors(x_unseen, return_distance=False)
    chance = float(np.bincount(unseen).max() / len(unseen))
    numbers: list[float] = []
    for predicted in (by_ridge.argmax(axis=1), seen[nearest[:, 0]]):
        accuracy = float((predicted == unseen).mean())
        numbers += [accuracy, (accuracy - chance) / (1 - chance) if chance < 1 else 0.0]
    return tuple(numbers)


def _explained(features: FloatArray, targets: FloatArray) -> dict[str, float]:
    """Return the share of the targets' variance that landmarks explain, of one half by the other.

    Args:
        features: Coarse images, (n, features).
        targets: Numbers, (n, k).
    """
    half = (len(targets) + 1) // 2
    unseen = targets[half:]
    around = unseen - targets[:half].mean(axis=0)
    known = (around != 0).any(axis=0)
    if not known.any():
        return {"ridge_skill": 0.0, "neighbor_skill": 0.0}
    variance = (around**2).mean(axis=0)
    std = features[:half].std(axis=0)
    scaled = (features - features[:half].mean(axis=0)) / np.where(std > 1e-12, std, 1.0)
    by_ridge = Ridge(alpha=1.0).fit(scaled[:half], targets[:half]).predict(scaled[half:])
    nearest = NearestNeighbors(n_neighbors=1).fit(scaled[:half])
    at = nearest.kneighbors(scaled[half:], return_distance=False)[:, 0]
    shares = []
    for predicted in (by_ridge.reshape(unseen.shape), targets[:half][at]):
        errors = ((unseen - predicted) ** 2).mean(axis=0)
        shares.append(float(np.clip(1 - errors[known] / variance[known], -1, 1).mean()))
    return dict(zip(("ridge_skill", "neighbor_skill"), shares, strict=True))
