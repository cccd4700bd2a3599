"""Folders of small photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from surrogate_nas.task import DatasetSplit
from surrogate_nas.tasks import from_folder


def photo(shade: int, size: tuple[int, int] = (20, 16), seed: int = 0) -> Image.Image:
    """A photo of (width, height) pixels, about as bright as the shade."""
    noise = np.random.default_rng(seed).integers(0, 40, (size[1], size[0], 3))
    return Image.fromarray((noise + shade).astype(np.uint8))


def save(path: Path, image: Any, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def photos(folder: Path, n: int = 10, side: int = 16) -> Path:
    """Write two classes of n JPEG each, of several sizes; "cat" is darker than "dog"."""
    for number in range(n):
        size = (side + number % 3, side + number % 2)
        save(folder / "cat" / f"{number:03}.jpg", photo(20, size, number))
        save(folder / "dog" / f"{number:03}.jpg", photo(180, size, number))
    return folder


def on_demand(folder: Path, **options: Any) -> Any:
    """Make a task whose images are decoded when they are needed, without processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("surrogate_nas.domains.images.folder.IN_MEMORY_BYTES", 100)
        task = from_folder(folder, **{"image_size": 8, **options})
    for split in (task.train, task.validation, task.test):
        assert isinstance(split, DatasetSplit)
        split.n_workers = 0
    return task
