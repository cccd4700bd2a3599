"""Whether mirrored images are still what they were: right for most photos, wrong for writing."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import Ridge
from torch.nn import functional

from surrogate_nas.arrays import FloatArray, IntArray

_MOST_IMAGES = 2000
_SIDE = 8
_LEAST_KEPT = 0.5
"""Share of a classifier's gain over chance that must be left on mirrored images."""


def may_be_mirrored(images: torch.Tensor, targets: torch.Tensor) -> bool:
    """Return whether a simple classifier knows mirrored images nearly as well as others.

    Ridge regression on averages over 8x8 fields is fitted to each half of a sample, and tried on
    the other half and on its mirror images. Mirroring is sensible if at least half of the gain
    over the commonest class is left. On ten image sets this was 0.02 to 0.3 for digits, letters
    and signs, and 0.56 to 1.05 for clothes, X-rays and photos.

    Args:
        images: (n, channels, height, width), uint8 or float.
        targets: Class indices, (n,).
    """
    rows = np.random.default_rng(0).permutation(len(targets))[:_MOST_IMAGES]
    at = torch.from_numpy(rows)
    classes: IntArray
    _, classes = np.unique(targets[at].cpu().numpy(), return_inverse=True)
    coarse = functional.adaptive_avg_pool2d(images[at].cpu().float(), _SIDE)
    own, mirrored = (each.flatten(1).numpy() for each in (coarse, coarse.flip(3)))
    half = len(rows) // 2
    if half < 2 or not classes.any():
        return False
    parts = (slice(0, half), slice(half, None))
    scores = np.array(
        [
            _accuracies(own, mirrored, classes, fitted, tried)
            for fitted, tried in (parts, parts[::-1])
        ]
    )
    on_own, on_mirrored = scores.mean(axis=0)
    chance = np.bincount(classes).max() / len(classes)
    # What knows nothing of the images cannot tell, and most photos may be mirrored.
    return bool(on_mirrored - chance >= _LEAST_KEPT * (on_own - chance))


def _accuracies(
    own: FloatArray, mirrored: FloatArray, classes: IntArray, fitted: slice, tried: slice
) -> tuple[float, float]:
    """Return the accuracy of a fit on other images and on their mirror images."""
    mean, std = own[fitted].mean(axis=0), own[fitted].std(axis=0) + 1e-6
    one_hot = np.eye(int(classes.max()) + 1)[classes[fitted]]
    ridge = Ridge(alpha=10.0).fit((own[fitted] - mean) / std, one_hot)
    found = [ridge.predict((some[tried] - mean) / std).argmax(axis=1) for some in (own, mirrored)]
    accuracies = [float((each == classes[tried]).mean()) for each in found]
    return accuracies[0], accuracies[1]
