"""What a network is trained for: data, splits, metric and direction, loss, meta-features.

The Trainer, the surrogate and the sampler know a :class:`Task` by these names alone; what a domain
needs (how raw data become a batch, how a batch is augmented, which loss) lives in its own subclass
under :mod:`surrogate_nas.tasks`.
"""

from __future__ import annotations

import abc
import hashlib
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import nn

from surrogate_nas.errors import TaskError
from surrogate_nas.metric import Metric

Direction = Literal["minimize", "maximize"]

_FINGERPRINT_ROWS = 64
"""Inputs of each split, evenly spaced, that the fingerprint reads."""


@final
@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Args:
        inputs: Raw inputs, (n, ...), in a compact type such as uint8.
        targets: What is to be predicted, (n, ...).

    Raises:
        TaskError: It is empty, or the two differ in length.
    """

    inputs: torch.Tensor
    targets: torch.Tensor

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets) or not len(self.targets):
            raise TaskError(
                expected="as many inputs as targets, and at least one",
                got=f"{len(self.inputs)} inputs and {len(self.targets)} targets",
                fix="give each row its target",
            )

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
    augments_on_device: bool = False
    """Whether :meth:`augment` takes a generator on the inputs' own device, too."""
    classes: tuple[str, ...] = ()
    """Names of the classes in the order of the outputs; empty where there are none."""

    def __repr__(self) -> str:
        sizes = " + ".join(f"{len(s):,}" for s in (self.train, self.validation, self.test))
        outputs = f"{len(self.classes)} classes" if self.classes else f"{self.n_outputs} outputs"
        return (
            f"<{type(self).__name__} {self.name!r}: {sizes} rows (train + validation + test), "
            f"inputs {self.input_shape}, {outputs}, {self.metric.name}>"
        )

    @property
    def direction(self) -> Direction:
        """Whether a larger or a smaller metric is better."""
        return self.metric.direction

    @property
    def fingerprint(self) -> str:
        """A short hash of shapes, metric, targets and a sample of inputs, equal across processes.

        A study that is continued compares it: trials of another task, or of the same data split
        otherwise, do not belong together. Names play no part.
        """
        digest = hashlib.sha256(f"{self.metric.name} {self.n_outputs}".encode())
        for split in (self.train, self.validation, self.test):
            count = min(len(split), _FINGERPRINT_ROWS)
            rows = torch.linspace(0, len(split) - 1, count, dtype=torch.float64).long()
            sample = split.inputs[rows.to(split.inputs.device)]
            digest.update(f"{tuple(split.inputs.shape)} {split.inputs.dtype}".encode())
            for tensor in (split.targets, sample):
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    @abc.abstractmethod
    def prepare(self, inputs: torch.Tensor) -> torch.Tensor:
        """Turn raw inputs (n, ...) into network inputs ``(n, *input_shape)``, same device."""

    @abc.abstractmethod
    def augment(
        self, inputs: torch.Tensor, strength: float, generator: torch.Generator
    ) -> torch.Tensor:
        """Vary prepared inputs ``(n, *input_shape)`` at random.

        Args:
            inputs: A prepared batch; not modified.
            strength: 0 leaves the batch as it is, 1 is the domain's usual augmentation.
            generator: Source of randomness, on the CPU; or on the inputs' device, where
                :attr:`augments_on_device` says so. A GPU then waits for nothing.
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

    def preparation(self) -> nn.Module | None:
        """Return :meth:`prepare` as a module on the CPU, raw inputs to prepared inputs.

        Its constants are buffers, so that it can be written down as plain PyTorch beside an
        exported network. None, the default, says that there is no such module.
        """
        return None

    def scripts(self) -> dict[str, str]:
        """Return small programs for one new input, by file name, for an exported network's folder.

        They stand beside ``network.py`` and ``architecture.json``, and import the former. By
        default there are none.
        """
        return {}
