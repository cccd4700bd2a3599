"""What workers can import and nothing can train."""

from __future__ import annotations

from typing import final

import optuna
from torch import nn

from surrogate_nas.space import Architecture, SearchSpace, TaskShape


@final
class NoNetworks(SearchSpace):
    """A space whose networks cannot be built."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {"x": trial.suggest_int("x", 0, 9)}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        raise ValueError("no such layer")

    def describe(self, architecture: Architecture) -> dict[str, float]:
        return {"parameters": 1.0}
