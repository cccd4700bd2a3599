"""Tiny backbones, and a task of images that they tell apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import nn

from surrogate_nas.domains.classification import named
from surrogate_nas.domains.finetuning.space import FineTuneSpace
from surrogate_nas.task import Split
from surrogate_nas.tasks import ImageTask
from surrogate_nas.training.seeding import seeded

SIDES = (16, 24)


@final
class TinyNet(nn.Module):
    """Two stages of convolutions with batch normalization, and a linear classifier."""

    def __init__(self, width: int = 6, n_classes: int = 7) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, 2 * width, 3, 2, 1)
        self.drop = nn.Dropout(0.5)
        self.classifier = nn.Linear(2 * width, n_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(images)).relu()
        x = self.second(x).relu().mean((2, 3))
        scores: torch.Tensor = self.classifier(self.drop(x))
        return scores


def tiny_net(width: int = 6) -> TinyNet:
    with seeded(width):
        return TinyNet(width)


def wide_net() -> TinyNet:
    return tiny_net(10)


def space(**options: Any) -> FineTuneSpace:
    """Two backbones for small images; anything else as asked for."""
    given = {"backbones": {"tiny": tiny_net, "wide": wide_net}, "resolutions": SIDES}
    return FineTuneSpace(**{**given, "epochs": (1, 2), **options})


def photos(n: int = 60, side: int = 16, seed: int = 0) -> ImageTask:
    """Three classes, each with a color and stripes of its own."""
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % 3
    images = rng.integers(0, 90, (n, 3, side, side))
    for k in range(3):
        images[targets == k, k, :: k + 2] += 110
    x, y = torch.from_numpy(images.astype(np.uint8)), torch.from_numpy(targets)
    ends = [n // 2, 3 * n // 4]
    parts = [slice(0, ends[0]), slice(*ends), slice(ends[1], n)]
    train, validation, test = (Split(x[part], y[part]) for part in parts)
    accuracy, classes = named("accuracy"), ("a", "b", "c")
    return ImageTask("photos", train, validation, test, metric=accuracy, classes=classes)


def architecture(adaptation: str = "probe", **changes: Any) -> dict[str, Any]:
    """Parameters of an architecture of :func:`space`."""
    params: dict[str, Any] = {"backbone": "tiny", "resolution": 16, "adaptation": adaptation}
    if adaptation != "means":
        params |= {"head": "linear", "learning_rate": 1e-3, "weight_decay": 1e-3}
    if adaptation in ("lora", "norm_bias"):
        params |= {"adapter_rate": 1e-3, "augmentation": 0.0, "epochs": 2}
    if adaptation in ("last", "all"):
        params |= {"body_rate": 1e-4, "layer_decay": 0.5, "augmentation": 0.0, "epochs": 2}
    if adaptation == "last":
        params["last_stages"] = 1
    if adaptation == "lora":
        params |= {"lora_rank": 2, "lora_places": "all"}
    return {**params, **changes}


def write_plan(path: Path, **changes: Any) -> None:
    """Write an archive with a plan of two convolutions, a maximum, a sum and a classifier."""
    rng = np.random.default_rng(0)
    conv = {"op": "conv", "groups": 1, "act": "relu"}
    layers = [
        {**conv, "in": [0], "out": 1, "w": "00", "stride": 2, "pad": "same"},
        {**conv, "in": [1], "out": 2, "w": "01", "stride": 1, "pad": 1, "act": "relu6"},
        {"op": "add", "in": [1, 2], "out": 3},
        {"op": "concat", "in": [3, 1], "out": 4},
        {"op": "maxpool", "in": [4], "out": 5, "size": 3, "stride": 2},
        {"op": "mean", "in": [5], "out": 6, "size": 0, "stride": 0},
        {**conv, "in": [6], "out": 7, "w": "02", "stride": 1, "pad": 0, "act": None},
    ]
    plan = {"input": 0, "size": 16, "channels": "BGR", "mean": [100, 110, 120], "std": [1, 1, 1]}
    shapes = {"00": (4, 3, 3, 3), "01": (4, 4, 3, 3), "02": (5, 8, 1, 1)}
    arrays: dict[str, Any] = {
        f"{name}.weight": rng.normal(size=shape).astype(np.float16)
        for name, shape in shapes.items()
    }
    arrays |= {f"{n}.bias": rng.normal(size=shape[0]) for n, shape in shapes.items()}
    arrays |= {"plan": json.dumps({**plan, "layers": layers}), "classes": np.array(list("abcde"))}
    np.savez(path, **{**arrays, **changes})
