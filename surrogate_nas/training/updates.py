"""How weights change: the learning rate of each step, the optimizer, weight decay."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import torch
from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.space import ParameterGroup

OptimizerName = Literal["sgd", "adamw"]
ScheduleName = Literal["cosine", "inverse_sqrt"]

SCHEDULES = ("cosine", "inverse_sqrt")
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
            # From 1, since a step with rate 0 would change nothing.
            return self.peak * (step + 1) / warmup
        if self.kind == "inverse_sqrt":
            # Vaswani et al. 2017, section 5.3, scaled so that the warm-up ends at the peak.
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
        groups: Its parameters with factors for their rates; None for one group of all.
        is_recordable: Whether the learning rate lies in a tensor on the device, where a step that
            was recorded as a CUDA graph finds it; otherwise it is a number.
        clip_norm: Largest norm of all gradients together, which larger ones are scaled down to
            (Pascanu et al. 2013, arXiv:1211.5063); None leaves gradients as they are.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: OptimizerName,
        decay: float,
        groups: Sequence[ParameterGroup] | None = None,
        *,
        is_recordable: bool = False,
        clip_norm: float | None = None,
    ) -> None:
        groups = _checked(network, groups)
        params = [p for group in groups for p in group.parameters]
        options: dict[str, Any] = {"fused": all(p.device.type in ("cpu", "cuda") for p in params)}
        start = LEARNING_RATES[optimizer]  # replaced before the first step
        is_in_tensors = is_recordable and bool(params)
        listed = [
            {
                "params": list(group.parameters),
                "lr": torch.full((), start, device=params[0].device) if is_in_tensors else start,
            }
            for group in groups
            if params  # else PyTorch says what is wrong
        ]
        self.optimizer: torch.optim.Optimizer
        if optimizer == "sgd":
            self.optimizer = torch.optim.SGD(
                listed, lr=start, momentum=0.9, nesterov=True, **options
            )
        else:
            options["capturable"] = is_recordable and params[0].is_cuda
            self.optimizer = torch.optim.Adam(listed, lr=start, **options)
        self._without_momentum = params if optimizer == "sgd" else []
        self._rates = [group.rate for group in groups]
        self._clip_norm = clip_norm
        # Parameters with a rate of 0 stay as they are, so their gradients play no part.
        self._clipped = [p for group in groups if group.rate > 0 for p in group.parameters]
        self._decays = [decay * group.decay for group in groups]
        self._decaying = [
            # Biases, and the scales of normalizations, have one axis and do not decay.
            [p.data for p in group.parameters if p.requires_grad and p.ndim > 1]
            for group in groups
        ]

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the steps to come."""
        for group, factor in zip(self.optimizer.param_groups, self._rates, strict=True):
            if isinstance(group["lr"], torch.Tensor):
                group["lr"].fill_(factor * rate)
            else:
                group["lr"] = factor * rate

    def step(self) -> None:
        """Update the network by its gradients and by decay, apart from each other."""
        if self._clip_norm is not None:
            nn.utils.clip_grad_norm_(self._clipped, self._clip_norm)
        each = zip(self.optimizer.param_groups, self._decaying, self._decays, strict=True)
        for group, decaying, decay in each:
            if decaying and decay > 0:
                # NOTE: decoupled from the gradient (Loshchilov & Hutter 2019), so neither momentum
                # nor Adam's scaling changes it.
                torch._foreach_mul_(decaying, 1.0 - group["lr"] * decay)
        self._begin_momentum()
        self.optimizer.step()

    def _begin_momentum(self) -> None:
        """Give parameters whose first gradient has come the momentum that they start from, 0."""
        # NOTE: the fused SGD refuses a step if some parameters have momentum and others have none.
        # A layer that is skipped at random gets its first gradient later than the others.
        if not self._without_momentum:
            return
        late = []
        for param in self._without_momentum:
            if param.grad is None:
                late.append(param)
            elif self.optimizer.state[param].get("momentum_buffer") is None:
                self.optimizer.state[param]["momentum_buffer"] = torch.zeros_like(param)
        self._without_momentum = late


def _checked(
    network: nn.Module, groups: Sequence[ParameterGroup] | None
) -> Sequence[ParameterGroup]:
    """Return the groups of a network's parameters; None stands for one of all.

    Raises:
        TrainingError: A parameter that is trained is in no group, or one is in several, a group
            has none, or a factor is negative or not finite.
    """
    if groups is None:
        return (ParameterGroup(tuple(network.parameters())),)
    for group in groups:
        if not (0 <= group.rate < math.inf and 0 <= group.decay < math.inf):
            raise _refused("factors from 0", f"rate {group.rate} and decay {group.decay}")
    counts = Counter(id(p) for group in groups for p in group.parameters)
    for name, parameter in network.named_parameters():
        times = counts.pop(id(parameter), 0)
        if times > 1 or (times == 0 and parameter.requires_grad):
            raise _refused("each parameter in one group", f"{name!r} in {times}")
    # What is left was counted in a group and is not in the network.
    if counts:
        raise _refused("the network's own parameters", f"{len(counts)} others")
    return tuple(groups)


def _refused(expected: str, got: str) -> TrainingError:
    return TrainingError(
        expected=f"parameter groups with {expected}",
        got=got,
        fix="return such groups from the space's parameter_groups",
    )
