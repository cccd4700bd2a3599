"""What a network is trained for: data, splits, metric and direction, loss, meta-features.

The Trainer, the surrogate and the sampler know a :class:`Task` by these names alone; what a domain
needs (how raw data become a batch, how a batch is augmented, which loss) lives in its own subclass
under :mod:`surrogate_nas.tasks`.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Literal, final

import torch

from surrogate_nas.metrics import Metric

Direction = Literal["minimize", "maximize"]


@final
@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Args:
        inputs: Raw inputs, (n, ...), in a compact type such as uint8.
        targets: What is to be predicted, (n, ...).
    """

    inputs: torch.Tensor
    targets: torch.Tensor

    def __len__(self) -> int:
        return len(self.targets)


class Task(abc.ABC):
    """A data set with its splits, metric, loss and meta-features."""

    name: str
    """How past tasks and reports call it."""
    train: Split
    """Networks are fitted on this."""
    validation: Split
    """Architectures are chosen by the metric on this."""
    test: Split
    """Touched once, by the final network."""
    metric: Metric
    """What a trial returns, and which way is better."""
    input_shape: tuple[int, ...]
    """Shape of one prepared input."""
    n_outputs: int
    """Width of the network's last layer."""

    @property
    def direction(self) -> Direction:
        """Whether a larger or a smaller metric is better."""
        return self.metric.direction

    @abc.abstractmethod
    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        """Turn raw inputs (n, ...) into network inputs (n, *input_shape), on the same device."""

    @abc.abstractmethod
    def augment(
        self, inputs: torch.Tensor, strength: float, generator: torch.Generator
    ) -> torch.Tensor:
        """Vary prepared inputs (n, *input_shape) at random.

        Args:
            inputs: A prepared batch; not modified.
            strength: 0 leaves the batch as it is, 1 is the domain's usual augmentation.
            generator: Source of randomness, on the CPU.
        """

    @abc.abstractmethod
    def loss(
        self, outputs: torch.Tensor, targets: torch.Tensor, label_smoothing: float
    ) -> torch.Tensor:
        """Return the training loss, a scalar, of outputs (n, n_outputs) and targets (n, ...)."""

    @abc.abstractmethod
    def score(self, outputs: torch.Tensor, targets: torch.Tensor) -> float:
        """Return the metric of a whole split's outputs (n, n_outputs), on the CPU in float32."""

    @abc.abstractmethod
    def merged(self) -> Task:
        """Return the same task with the validation split added to the training split."""

    @property
    @abc.abstractmethod
    def meta_features(self) -> dict[str, float]:
        """Return numbers that describe the task, computed from the training split alone."""
