"""The suite for tasks, with every kind of task that there is."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from surrogate_nas.task import Task
from surrogate_nas.tasks import digits, from_arrays
from surrogate_nas.testing import TaskTestCase
from tests.helpers.photos import on_demand, photos
from tests.helpers.toys import ToyTask


def colors() -> Task:
    """Photos in miniature: uint8, three channels, uneven sides, mirrored, rare classes."""
    rng = np.random.default_rng(0)
    labels = np.repeat(["cat", "dog", "newt"], [90, 60, 30])
    pixels = rng.integers(0, 256, (180, 3, 9, 14), dtype=np.uint8)
    return from_arrays(
        pixels, labels, name="pets", metric="f1", flip=True, class_weights="balanced"
    )


def floats() -> Task:
    """Grey images of real numbers, judged by a loss."""
    rng = np.random.default_rng(1)
    return from_arrays(
        rng.normal(size=(200, 8, 8)).astype(np.float32),
        np.arange(200) % 4,
        name="waves",
        metric="log_loss",
    )


def numbers() -> Task:
    """Two numbers of different size to predict, with fractions and an unbalanced mean."""
    rng = np.random.default_rng(2)
    return from_arrays(
        rng.integers(0, 256, (120, 6, 6, 3), dtype=np.uint8),
        rng.normal([1000, -1], [300, 0.1], size=(120, 2)),
        name="sizes",
        metric="r2",
    )


def labels() -> Task:
    """Three labels, one of them rare."""
    rng = np.random.default_rng(3)
    return from_arrays(
        rng.integers(0, 256, (120, 6, 6), dtype=np.uint8),
        rng.random((120, 3)) < [0.5, 0.3, 0.1],
        name="tags",
        class_weights="balanced",
    )


def demand() -> Task:
    """Photos that are decoded when they are needed."""
    with tempfile.TemporaryDirectory() as folder:
        task: Task = on_demand(photos(Path(folder) / "pets", 40))
        for split in (task.train, task.validation, task.test):
            split.take(torch.arange(len(split)))  # the working copy outlasts the folder
    return task


TASKS = {
    "digits": digits,
    "digits, roc_auc": lambda: digits(metric="roc_auc"),
    "colors": colors,
    "floats": floats,
    "numbers": numbers,
    "labels": labels,
    "on demand": demand,
    "toy": ToyTask,
}


class TestTasks(TaskTestCase):
    @pytest.fixture(params=TASKS)
    def task(self, request: pytest.FixtureRequest) -> Task:
        made: Task = TASKS[request.param]()
        return made
