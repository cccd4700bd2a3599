"""Made-up images, and tasks of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from surrogate_nas.domains.classification import named
from surrogate_nas.task import Split
from surrogate_nas.tasks import ImageTask

Array = npt.NDArray[Any]


def pixels(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


def labels(n: int, k: int = 2) -> Array:
    return np.arange(n) % k


def images(n: int, shape: tuple[int, ...] = (3, 16, 12), seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 256, (n, *shape), generator=generator, dtype=torch.uint8)
    return levels // torch.arange(1, shape[0] + 1, dtype=torch.uint8).view(-1, 1, 1)


def make(
    inputs: torch.Tensor | None = None,
    targets: torch.Tensor | None = None,
    *,
    metric: str = "accuracy",
    n_classes: int = 2,
    **options: Any,
) -> ImageTask:
    inputs = images(40) if inputs is None else inputs
    targets = torch.arange(len(inputs)) % n_classes if targets is None else targets
    parts = {
        "train": Split(inputs, targets),
        "validation": Split(inputs[:10], targets[:10]),
        "test": Split(inputs[10:14], targets[10:14]),
    }
    names = tuple("abcdefgh"[:n_classes])
    chosen = named(metric)
    return ImageTask(
        "toy", **{**parts, **options.pop("parts", {})}, metric=chosen, classes=names, **options
    )
