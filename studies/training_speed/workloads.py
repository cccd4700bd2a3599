"""What is trained: data that nobody has to download, cells of several sizes, a larger network."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from surrogate_nas import tasks
from surrogate_nas.domains.classification import named
from surrogate_nas.domains.images.images import ImageTask
from surrogate_nas.spaces import CellSpace
from surrogate_nas.task import Split, Task
from surrogate_nas.training.trainer import seeded

CELL = {
    "op_0": "conv_3x3",
    "op_1": "skip_connect",
    "op_2": "conv_3x3",
    "op_3": "skip_connect",
    "op_4": "conv_1x1",
    "op_5": "avg_pool_3x3",
}
CELLS = {
    "small": {"width": 8, "depth": 1},
    "medium": {"width": 16, "depth": 1},
    "large": {"width": 32, "depth": 3},
}


def digits() -> ImageTask:
    """Real handwritten digits, 1,077 of 8x8 pixels to train on."""
    task = tasks.digits()
    assert isinstance(task, ImageTask)
    return task


def generated(n_train: int, n_validation: int = 5000, side: int = 32) -> ImageTask:
    """Images of bytes, (3, side, side), in ten classes: a pattern a class under noise."""
    rng = np.random.default_rng(0)
    patterns = rng.integers(0, 256, (10, 3, side, side), dtype=np.uint8)
    splits = []
    for n in (n_train, n_validation, n_validation):
        targets = rng.integers(0, 10, n)
        noise = rng.integers(0, 256, (n, 3, side, side), dtype=np.uint8)
        images = (patterns[targets] // 4 + noise // 4 * 3).astype(np.uint8)
        splits.append(Split(torch.from_numpy(images), torch.from_numpy(targets)))
    classes = tuple(str(number) for number in range(10))
    return ImageTask("generated", *splits, metric=named("accuracy"), classes=classes, flip=True)


def build(name: str, task: Task) -> nn.Module:
    """Build a cell network of a size, or the larger network, with weights fixed by a seed."""
    with seeded(0):
        if name == "two million":
            return two_million(task)
        return CellSpace().for_task(task).build(CELL | CELLS[name], task)


def two_million(task: Task) -> nn.Module:
    """A network of about 2 million parameters in the style of published CIFAR speed records.

    A narrow stem, three stages of two 3x3 convolutions with max pooling after the first, batch
    normalization, GELU, and a linear layer on what a global max pooling leaves.
    """
    layers: list[nn.Module] = [nn.Conv2d(task.input_shape[0], 24, 2), nn.GELU()]
    channels = 24
    for width in (64, 208, 304):
        layers += [nn.Conv2d(channels, width, 3, padding="same", bias=False), nn.MaxPool2d(2)]
        layers += [nn.BatchNorm2d(width), nn.GELU()]
        layers += [nn.Conv2d(width, width, 3, padding="same", bias=False)]
        layers += [nn.BatchNorm2d(width), nn.GELU()]
        channels = width
    head = nn.Linear(channels, task.n_outputs, bias=False)
    return nn.Sequential(*layers, nn.AdaptiveMaxPool2d(1), nn.Flatten(), head)
