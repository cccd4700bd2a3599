"""Meta-features of image data sets, for surrogates that learn across tasks."""

from __future__ import annotations

import math

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.neighbors import NearestNeighbors
from torch.nn import functional

from surrogate_nas.arrays import BoolArray, FloatArray, IntArray

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
    Coarse images are averages over at most 8x8 fields.

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
    labels: IntArray = targets.cpu().numpy()
    ranks = _rank_in_class(labels)
    rows = _stratified_rows(labels, ranks)
    sample = _unit_scale(images[torch.from_numpy(rows)])
    coarse = _coarse(sample)
    values = (
        *_class_numbers(labels, n_classes),
        *(float(size) for size in images.shape[1:]),
        *_pixel_numbers(sample.numpy()),
        _effective_dimension(coarse),
        # Even places in a class are one half of the sample, odd ones the other.
        *_landmarks(coarse, labels[rows], ranks[rows] % 2 == 0),
    )
    return dict(zip(IMAGE_META_FEATURES, values, strict=True))


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


def _unit_scale(images: torch.Tensor) -> torch.Tensor:
    """Return pixels on a scale from 0 to 1, (n, channels, height, width) in float64."""
    wide = images.cpu().double()
    if images.dtype == torch.uint8:
        return wide / 255
    low, high = float(wide.min()), float(wide.max())
    if low >= 0 and high <= 1:
        return wide
    return (wide - low) / (high - low or 1.0)


def _pixel_numbers(pixels: FloatArray) -> tuple[float, ...]:
    """Return mean, standard deviation, skewness, share of zeros, mean deviation by position."""
    mean, std = float(pixels.mean()), float(pixels.std())
    # NOTE: a deviation at the level of rounding is none, and its cube underflows.
    skew = float((((pixels - mean) / std) ** 3).mean()) if std > 1e-12 else 0.0
    return mean, std, skew, float((pixels == 0).mean()), float(pixels.std(axis=0).mean())


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
