"""Objectives and networks that fail in every way, or end their process."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, final

import optuna
import torch
from torch import nn

from surrogate_nas.space import Architecture, SearchSpace, TaskShape
from tests.helpers.toys import ToySpace


def faulty(trial: optuna.trial.BaseTrial) -> Any:
    """Fail in one way for each x."""
    match trial.suggest_int("x", 0, 9):
        case 1:
            raise ValueError("no such layer")
        case 2:
            os._exit(3)
        case 3:
            raise optuna.TrialPruned("too slow")
        case 4:
            return None
        case 6:
            trial.report("high", step=0)  # type: ignore[arg-type]
        case 5:
            os.kill(os.getpid(), signal.SIGKILL)
    return 1.0


@final
class Mortal(nn.Module):
    """Notes each pass in a file, and ends its process once, in the middle of its training."""

    def __init__(self, inner: nn.Module, notes: Path) -> None:
        super().__init__()
        self.inner = inner
        self.notes = notes

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.training and not inputs.is_meta:
            with self.notes.open("a") as file:
                file.write("x")
            if self.notes.stat().st_size == 13:  # five batches an epoch
                os.kill(os.getpid(), signal.SIGKILL)
        outputs: torch.Tensor = self.inner(inputs)
        return outputs


@final
class MortalSpace(SearchSpace):
    """ToySpace with networks of width 4 that end their process once.

    Args:
        notes: A file.
    """

    def __init__(self, notes: Path) -> None:
        self.notes = notes

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return ToySpace().suggest(trial)

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        network = ToySpace(dropout=0.2).build(architecture, task)
        return Mortal(network, self.notes) if architecture["width"] == 4 else network

    def describe(self, architecture: Architecture) -> dict[str, float]:
        return {"parameters": 1.0}
