"""Real image sets as small tasks, for studies; other people's data, found by an option.

Each set is cut to a few thousand images and averaged down to 8 to 10 pixels a side, so that one
training takes seconds on a CPU core. The splits are seeded; the test splits stay the sets' own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

import surrogate_nas as sn

Array = npt.NDArray[Any]

N_TRAIN = 1200
N_VALIDATION = 1000
ENVIRONMENT = "SURROGATE_NAS_SHARED"
"""Names the folder that holds ``datasets/images``; the default is ``../shared``."""


class ImageSet(NamedTuple):
    """A set's file, and how it is read.

    Args:
        file: Name of the ``.npz`` file, without its ending.
        shrink: Side of the squares of pixels that are averaged.
        metric: The task's metric.
    """

    file: str
    shrink: int
    metric: str = "accuracy"


PAST = {
    "mnist": ImageSet("mnist_small", 3),
    "cifar10": ImageSet("cifar10_small", 3),
    "cifar100_coarse": ImageSet("cifar100_coarse_small", 3),
    "gtsrb": ImageSet("gtsrb32_small", 3),
    "omniglot": ImageSet("omniglot_small1", 3),
    "semeion": ImageSet("semeion", 2),
    "pneumonia": ImageSet("pneumoniamnist_imb", 3, "balanced_accuracy"),
    "omniglot2": ImageSet("omniglot_small2", 3),
}
"""Sets that the shipped history is made of."""

SEEDS = (
    "cifar10",
    "cifar100_coarse",
    "gtsrb",
    "mnist",
    "omniglot",
    "pneumonia",
    "semeion",
    "omniglot2",
)
"""The order that seeds of the history's studies are counted in; new sets come last."""

HELD_OUT = {
    "fashion_mnist": ImageSet("fashion_mnist_small", 3),
    "sign_digits": ImageSet("sign_digits", 3),
}
"""Sets that no shipped history has seen; scikit-learn's digits are the third."""


def folder(given: str | None) -> Path:
    """Return the folder of the sets, or end the study by saying what is missing."""
    shared = Path(os.environ.get(ENVIRONMENT, "../shared"))
    found = Path(given) if given else shared / "datasets" / "images"
    if not found.is_dir():
        sys.exit(
            f"Expected image sets in {found}; got no such folder. Give --data, or set "
            f"{ENVIRONMENT} to the folder that holds datasets/images."
        )
    return found


def make(name: str, images: Path) -> sn.Task:
    """Make the task of a set by its name here; "digits" needs no file."""
    if name == "digits":
        return sn.tasks.digits()
    chosen = {**PAST, **HELD_OUT}[name]
    with np.load(images / f"{chosen.file}.npz", allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    x, y = _shrunk(arrays["x_train"], chosen.shrink), arrays["y_train"]
    train, validation = _split(y, arrays.get("track_train"))
    return sn.tasks.from_arrays(
        x[train],
        y[train],
        x_val=x[validation],
        y_val=y[validation],
        x_test=_shrunk(arrays["x_test"], chosen.shrink),
        y_test=arrays["y_test"],
        name=name,
        metric=chosen.metric,
    )


def _shrunk(images: Array, side: int) -> Array:
    """Average squares of pixels; what does not fill a square at the far edges is cut off."""
    height, width = (size // side for size in images.shape[-2:])
    cut = images[..., : height * side, : width * side].astype(float)
    squares = cut.reshape(*images.shape[:-2], height, side, width, side)
    mean = squares.mean(axis=(-3, -1))
    return np.asarray(np.rint(mean * (255 / max(cut.max(), 1.0))), dtype=np.uint8)


def _split(labels: Array, groups: Array | None) -> tuple[Array, Array]:
    """Rows of the training and the validation split; rows of one group stay together."""
    rng = np.random.default_rng(0)
    names = np.arange(len(labels)) if groups is None else groups
    order = rng.permutation(np.unique(names))
    share = min(N_TRAIN / len(labels), N_TRAIN / (N_TRAIN + N_VALIDATION))
    n_train = round(share * len(order))
    train = np.flatnonzero(np.isin(names, order[:n_train]))
    rest = np.flatnonzero(np.isin(names, order[n_train:]))
    validation = rng.permutation(rest)[:N_VALIDATION]
    known = np.isin(labels[validation], labels[train])
    return train, validation[known]
