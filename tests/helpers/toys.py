"""A task and a search space so small that a trial takes a few hundredths of a second."""

from __future__ import annotations

from typing import final

import numpy as np
import optuna
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from surrogate_nas.arrays import Array
from surrogate_nas.metric import Metric
from surrogate_nas.space import Architecture, SearchSpace, TaskShape
from surrogate_nas.task import Split, Task
from surrogate_nas.training.trainer import seeded


def accuracy(targets: Array, probabilities: Array) -> float:
    return float(np.mean(probabilities.argmax(axis=1) == targets))


@final
class ToyTask(Task):
    """Real handwritten digits 0, 1 and 2, (1, 8, 8): 60 % train, 20 % validation, 20 % test."""

    def __init__(self, n: int = 240) -> None:
        digits = load_digits(n_class=3)
        rows = np.random.default_rng(0).permutation(len(digits.target))[:n]
        images = torch.from_numpy(digits.images[rows].astype(np.uint8)).unsqueeze(1)
        targets = torch.from_numpy(digits.target[rows].astype(np.int64))
        ends = [round(0.6 * n), round(0.8 * n)]
        parts = [
            Split(images[part], targets[part])
            for part in (slice(0, ends[0]), slice(ends[0], ends[1]), slice(ends[1], n))
        ]
        self.name = "toy"
        self.train, self.validation, self.test = parts
        self.metric = Metric("accuracy", "maximize", accuracy)
        self.input_shape = (1, 8, 8)
        self.n_outputs = 3

    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.float() / 8.0 - 1.0

    def augment(
        self, inputs: torch.Tensor, strength: float, generator: torch.Generator
    ) -> torch.Tensor:
        noise = torch.randn(inputs.shape, generator=generator).to(inputs.device)
        return inputs + 0.2 * strength * noise

    def loss(
        self, outputs: torch.Tensor, targets: torch.Tensor, label_smoothing: float
    ) -> torch.Tensor:
        return functional.cross_entropy(outputs, targets, label_smoothing=label_smoothing)

    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> float:
        return self.metric.compute(targets.numpy(), outputs.softmax(dim=1).numpy())

    def merged(self) -> ToyTask:
        merged = ToyTask(len(self.train) + len(self.validation) + len(self.test))
        parts = (self.train, self.validation)
        merged.train = Split(
            torch.cat([part.inputs for part in parts]), torch.cat([part.targets for part in parts])
        )
        return merged

    @property
    def meta_features(self) -> dict[str, float]:
        return {"n_train": float(len(self.train)), "n_classes": float(self.n_outputs)}


@final
class ToySpace(SearchSpace):
    """One or two convolutions; the second one's width exists only where there is a second one.

    Args:
        has_rate: Whether the learning rate is part of the architecture.
        dropout: Share of dropped features before the last layer.
    """

    def __init__(self, has_rate: bool = False, dropout: float = 0.0) -> None:
        self.has_rate = has_rate
        self.dropout = dropout

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        architecture = {
            "width": trial.suggest_int("width", 2, 8, step=2),
            "kernel": trial.suggest_categorical("kernel", (1, 3)),
            "activation": trial.suggest_categorical("activation", ("relu", "tanh")),
            "depth": trial.suggest_int("depth", 1, 2),
        }
        if architecture["depth"] == 2:
            architecture["second_width"] = trial.suggest_int("second_width", 2, 8, step=2)
        if self.has_rate:
            architecture["learning_rate"] = trial.suggest_float(
                "learning_rate", 1e-3, 1e-1, log=True
            )
        return architecture

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        activation = nn.ReLU if architecture["activation"] == "relu" else nn.Tanh
        widths = [architecture["width"]]
        if architecture["depth"] == 2:
            widths.append(architecture["second_width"])
        layers: list[nn.Module] = []
        channels = task.input_shape[0]
        for width in widths:
            layers += [
                nn.Conv2d(channels, width, architecture["kernel"], padding="same", bias=False),
                nn.BatchNorm2d(width),
                activation(),
                nn.MaxPool2d(2),
            ]
            channels = width
        n_features = channels * (task.input_shape[1] >> len(widths)) ** 2
        head = [nn.Flatten(), nn.Dropout(self.dropout), nn.Linear(n_features, task.n_outputs)]
        return nn.Sequential(*layers, *head)


ARCHITECTURE: Architecture = {"width": 4, "kernel": 3, "activation": "relu", "depth": 1}
"""One of ToySpace."""


@final
class Clock:
    """Stands in for the module ``time``: every look at it takes a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        self.now += 1.0
        return self.now


def network(dropout: float = 0.0) -> nn.Module:
    with seeded(0):
        return ToySpace(dropout=dropout).build(ARCHITECTURE, ToyTask())
