"""The suite for tasks, with every kind of task that there is."""

from __future__ import annotations

import numpy as np
import pytest

from surrogate_nas.task import Task
from surrogate_nas.tasks import digits, from_arrays
from surrogate_nas.testing import TaskTestCase
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


TASKS = {
    "digits": digits,
    "digits, roc_auc": lambda: digits(metric="roc_auc"),
    "colors": colors,
    "floats": floats,
    "toy": ToyTask,
}


class TestTasks(TaskTestCase):
    @pytest.fixture(params=TASKS)
    def task(self, request: pytest.FixtureRequest) -> Task:
        made: Task = TASKS[request.param]()
        return made
