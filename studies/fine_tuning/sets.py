"""Image sets at their own size, and the backbones: other people's data, found by the environment.

``SURROGATE_NAS_SHARED`` names the folder that holds ``datasets/`` and ``pretrained/``. Photos come
as zip files, which are unpacked once into the folder of the runs.
"""

from __future__ import annotations

import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import surrogate_nas as sn
from studies.image_sets import ENVIRONMENT, HELD_OUT, PAST

Array = npt.NDArray[Any]

RUNS = Path("runs/fine_tuning")
FOLDERS = ("flowers", "groceries", "trash")
"""Sets of photos in class folders."""
PAST_SETS = (*PAST, "flowers", "groceries")
"""Sets of the history that ships."""
NEW_SETS = ("trash", *HELD_OUT)
"""Sets that no history has seen, as the README beside the data marks them."""
N_TRAIN, N_VALIDATION = 600, 500
"""Most rows of a set that comes as arrays."""


def shared() -> Path:
    """Return the folder of data and weights, or end the study by saying what is missing."""
    found = Path(os.environ.get(ENVIRONMENT, "../shared"))
    if not (found / "pretrained").is_dir():
        sys.exit(f"Expected {found}/pretrained; got no such folder. Set {ENVIRONMENT}.")
    return found


def backbones(folder: Path | None = None) -> dict[str, str]:
    """Return the backbones by name: every archive of weights in a folder."""
    place = shared() / "pretrained" if folder is None else folder
    return {path.stem: str(path) for path in sorted(place.glob("*.npz"))}


def make(name: str, runs: Path = RUNS, image_size: int = 96) -> sn.Task:
    """Make the task of a set.

    Args:
        name: Its name.
        runs: Folder that zip files are unpacked into.
        image_size: Side of photos in pixels. Sets of arrays keep their own.
    """
    if name == "digits":
        return sn.tasks.digits()
    if name in FOLDERS:
        return sn.tasks.from_folder(unpacked(name, runs), image_size=image_size, flip=True)
    chosen = {**PAST, **HELD_OUT}[name]
    path = shared() / "datasets" / "images" / f"{chosen.file}.npz"
    with np.load(path, allow_pickle=False) as archive:
        arrays = {key: archive[key] for key in archive.files}
    x, y, x_test, y_test = (arrays[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    if x.max() <= 1:
        x, x_test = (np.asarray(255 * part, dtype=np.uint8) for part in (x, x_test))
    train, validation = _split(y, arrays.get("track_train"))
    return sn.tasks.from_arrays(
        x[train],
        y[train],
        x_val=x[validation],
        y_val=y[validation],
        x_test=x_test,
        y_test=y_test,
        name=name,
        metric=chosen.metric,
        flip="cifar" in name,
    )


def unpacked(name: str, runs: Path) -> Path:
    """Return the folder of a set of photos, unpacked now if it has not been."""
    folder = runs / "photos" / name
    if not folder.is_dir():
        beside = folder.with_name(f"{name}.new")
        with zipfile.ZipFile(shared() / "datasets" / "folders" / f"{name}.zip") as archive:
            archive.extractall(beside)
        beside.rename(folder)
    return folder


def _split(labels: Array, groups: Array | None) -> tuple[Array, Array]:
    """Rows of the training and the validation split; rows of one group stay together."""
    rng = np.random.default_rng(0)
    names = np.arange(len(labels)) if groups is None else groups
    order = rng.permutation(np.unique(names))
    half = order[: round(0.55 * len(order))]
    inside = np.isin(names, half)
    train = rng.permutation(np.flatnonzero(inside))
    # Every class first, so that a part of the rows has all of them.
    rank = np.empty(len(train), dtype=int)
    for label in np.unique(labels[train]):
        at = np.flatnonzero(labels[train] == label)
        rank[at] = np.arange(len(at))
    train = train[np.argsort(rank, kind="stable")][: max(N_TRAIN, 4 * len(np.unique(labels)))]
    rest = rng.permutation(np.flatnonzero(~inside))
    known = np.isin(labels[rest], labels[train])
    return train, rest[known][:N_VALIDATION]
