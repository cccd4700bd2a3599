"""Weights other than the latest ones: their moving average, and those of the best epoch.

Both lie in tensors that stay in place, so that checkpoints hold them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, final

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from surrogate_nas.errors import TrainingError
from surrogate_nas.task.task import Direction
from surrogate_nas.tensors.counting import tried
from surrogate_nas.training.state import NamedTensors

_Tensors: TypeAlias = tuple[torch.Tensor, ...] | list[torch.Tensor]


@final
class MovingAverage:
    """An exponential moving average of a network's weights and buffers.

    The decay of step t is min(decay, (1 + t) / (10 + t)). So a short training forgets its first
    weights, too.

    Args:
        network: The network, on its device.
        decay: Decay of a step in a long training, in (0, 1).

    Raises:
        TrainingError: The network cannot be copied.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        # A user's module may refuse a copy in any way.
        copied = tried(lambda: AveragedModel(network, multi_avg_fn=self._move, use_buffers=True))
        if isinstance(copied, Exception):
            raise TrainingError(
                expected="a network that can be copied, for the average of its weights",
                got=f"{type(network).__name__}, which raised {type(copied).__name__}: {copied}",
                fix="train with ema_decay=0",
            ) from copied
        self._averaged = copied

    @property
    def network(self) -> nn.Module:
        """The network with the averaged weights."""
        return self._averaged.module

    def update(self, network: nn.Module) -> None:
        """Take the network's weights of one more step into the average; the first are copied."""
        self._averaged.update_parameters(network)

    def tensors(self) -> NamedTensors:
        """Return the tensors themselves: weights, buffers and the count of steps."""
        named = [*self._averaged.named_parameters(), *self._averaged.named_buffers()]
        return {f"average.{name}": tensor.detach() for name, tensor in named}

    def _move(self, averaged: _Tensors, new: _Tensors, _: object) -> None:
        """Move averages towards new tensors of the same type."""
        # NOTE: the count stays on the CPU, so that reading it makes no GPU wait.
        n_steps = int(self._averaged.n_averaged)
        share = 1.0 - min(self._decay, (1 + n_steps) / (10 + n_steps))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, new, share)
        else:
            # Counts, such as of batches, have no average.
            torch._foreach_copy_(averaged, new)


@final
class BestWeights:
    """A copy of a network's weights and buffers of its best epoch.

    Args:
        network: The network, on its device.
    """

    def __init__(self, network: nn.Module) -> None:
        self._kept = {name: tensor.clone() for name, tensor in _tensors(network).items()}

    def tensors(self) -> NamedTensors:
        """Return the tensors themselves."""
        return {f"best.{name}": tensor for name, tensor in self._kept.items()}

    def keep(self, network: nn.Module) -> None:
        """Copy the weights of a network."""
        for name, tensor in _tensors(network).items():
            self._kept[name].copy_(tensor)

    def put_into(self, network: nn.Module) -> None:
        """Give a network the weights that were kept."""
        for name, tensor in _tensors(network).items():
            tensor.copy_(self._kept[name])


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Give a network the weights and buffers of another one of the same modules."""
    new = _tensors(source)
    for name, tensor in _tensors(target).items():
        tensor.copy_(new[name])


def best_epoch(values: Sequence[float], direction: Direction) -> int:
    """Return the number of the first epoch with the best value."""
    best = max(values) if direction == "maximize" else min(values)
    return list(values).index(best)


def _tensors(network: nn.Module) -> NamedTensors:
    named = [*network.named_parameters(), *network.named_buffers()]
    return {name: tensor.detach() for name, tensor in named}
