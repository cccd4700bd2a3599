"""Networks that are right in PyTorch and unusual: lazy, or other layers for other values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final

import optuna
import torch
from torch import nn

from surrogate_nas.space import Architecture, SearchSpace, TaskShape

Change = Callable[[torch.Tensor, nn.Module], torch.Tensor]


def _by_item(hidden: torch.Tensor, extra: nn.Module) -> torch.Tensor:
    changed: torch.Tensor = extra(hidden) if hidden.mean().item() > 0.1 else hidden
    return changed


def _by_if(hidden: torch.Tensor, extra: nn.Module) -> torch.Tensor:
    changed: torch.Tensor = hidden if hidden.sum() > 0 else extra(hidden)
    return changed


def _by_while(hidden: torch.Tensor, extra: nn.Module) -> torch.Tensor:
    while hidden.norm() > 10:
        hidden = hidden / 2
    return hidden


def _by_numpy(hidden: torch.Tensor, extra: nn.Module) -> torch.Tensor:
    return hidden + float(hidden.detach().cpu().numpy().max() > 1)


def _by_mask(hidden: torch.Tensor, extra: nn.Module) -> torch.Tensor:
    changed = hidden.clone()
    changed[hidden > 1] = 1.0
    return changed


def _by_chance(hidden: torch.Tensor, extra: nn.Module) -> torch.Tensor:
    """Skip a layer in the first steps, whatever the chance says."""
    skipped = extra.training and torch.rand(()).item() < 0.5
    changed: torch.Tensor = hidden if skipped else extra(hidden)
    return changed


READS: dict[str, Change] = {
    "item": _by_item,
    "if": _by_if,
    "while": _by_while,
    "numpy": _by_numpy,
    "mask": _by_mask,
    "chance": _by_chance,
}


@final
class Reading(nn.Module):
    """A network that decides by values.

    Args:
        n_inputs: Numbers of an input.
        n_outputs: Number of outputs.
        kind: A name in READS.
    """

    def __init__(self, n_inputs: int, n_outputs: int, kind: str) -> None:
        super().__init__()
        self.first, self.extra = nn.Linear(n_inputs, 6), nn.Linear(6, 6)
        self.last, self.kind = nn.Linear(6, n_outputs), kind

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = READS[self.kind](self.first(inputs.flatten(1)).relu(), self.extra)
        outputs: torch.Tensor = self.last(hidden)
        return outputs


class OneWidth(SearchSpace):
    """A space of one number; its networks are those of a function.

    Args:
        make: Gives what ``build`` returns, from the width, the shape of an input, and the number
            of outputs.
    """

    def __init__(self, make: Callable[[int, tuple[int, ...], int], Any]) -> None:
        self._make = make

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {"width": trial.suggest_int("width", 4, 8)}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        made: nn.Module = self._make(architecture["width"], task.input_shape, task.n_outputs)
        return made


def reading(kind: str) -> OneWidth:
    return OneWidth(lambda _, shape, n_outputs: Reading(math.prod(shape), n_outputs, kind))


class Unreached(nn.Module):
    """A network one of whose lazy layers is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.LazyLinear(2), nn.LazyLinear(2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the used layer's outputs, (n, 2)."""
        outputs: torch.Tensor = self.used(inputs)
        return outputs


def lazy_layers(width: int, shape: tuple[int, ...], n_outputs: int) -> nn.Sequential:
    """A network whose layers learn their sizes from an input; one of them keeps statistics."""
    return nn.Sequential(
        nn.LazyConv2d(width, 3),
        nn.LazyBatchNorm2d(),
        nn.Dropout(0.5),
        nn.ReLU(),
        nn.Flatten(),
        nn.LazyLinear(n_outputs),
    )
