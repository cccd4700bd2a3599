"""How weights change: the learning rate of each step, the optimizer, weight decay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import nn

OptimizerName = Literal["sgd", "adamw"]
ScheduleName = Literal["cosine", "inverse_sqrt"]

LEARNING_RATES = {"sgd": 0.05, "adamw": 3e-3}
WEIGHT_DECAYS = {"sgd": 5e-3, "adamw": 5e-2}


@final
@dataclass(frozen=True)
class Schedule:
    """The learning rate of each step: a linear warm-up, then half a cosine or a root.

    Args:
        kind: Its form after the warm-up.
        peak: The largest rate.
        epochs: Length of the training.
        warmup_epochs: Length of the warm-up, at most a quarter of the training.
        steps_per_epoch: Steps of one epoch.
    """

    kind: ScheduleName
    peak: float
    epochs: int
    warmup_epochs: float
    steps_per_epoch: int

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        n_steps = self.epochs * self.steps_per_epoch
        warmup = min(round(self.warmup_epochs * self.steps_per_epoch), n_steps // 4)
        if step < warmup:
            return self.peak * (step + 1) / warmup
        if self.kind == "inverse_sqrt":
            return self.peak * math.sqrt(max(warmup, 1) / (step + 1))
        progress = (step - warmup) / (n_steps - warmup)
        return self.peak * 0.5 * (1.0 + math.cos(math.pi * progress))


@final
class Updater:
    """An optimizer whose weight decay is apart from it, the same for every optimizer.

    Args:
        network: What is trained.
        optimizer: Its name.
        decay: Weight decay of kernels and weight matrices.
        is_recordable: Whether the learning rate lies in a tensor on the device, where a step that
            was recorded as a CUDA graph finds it; otherwise it is a number.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerName,
        decay: float,
        *,
        is_recordable: bool = False,
    ) -> None:
        params = list(network.parameters())
        options: dict[str, Any] = {"fused": all(p.device.type in ("cpu", "cuda") for p in params)}
        start: Any = LEARNING_RATES[optimizer]  # replaced before the first step
        self._rate: torch.Tensor | None = None
        if is_recordable and params:
            start = self._rate = torch.full((), start, device=params[0].device)
        self.optimizer: torch.optim.Optimizer
        if optimizer == "sgd":
            self.optimizer = torch.optim.SGD(
                params, lr=start, momentum=0.9, nesterov=True, **options
            )
        else:
            options["capturable"] = is_recordable and params[0].is_cuda
            self.optimizer = torch.optim.Adam(params, lr=start, **options)
        self._decaying = [p.data for p in params if p.requires_grad and p.ndim > 1]
        self._decay = decay

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the steps to come."""
        if self._rate is None:
            self.optimizer.param_groups[0]["lr"] = rate
        else:
            self._rate.fill_(rate)

    def step(self) -> None:
        """Update the network by its gradients and by decay, apart from each other."""
        rate = self.optimizer.param_groups[0]["lr"]
        if self._decaying and self._decay > 0:
            torch._foreach_mul_(self._decaying, 1.0 - rate * self._decay)
        self.optimizer.step()
