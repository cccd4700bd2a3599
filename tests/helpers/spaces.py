"""Spaces of parameters for tests of the encoding."""

from __future__ import annotations

from typing import final

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch import nn

from surrogate_nas.space import Architecture, SearchSpace, TaskShape, as_space
from surrogate_nas.surrogate.encoding import Encoding

FLAT: dict[str, BaseDistribution] = {
    "op_1": CategoricalDistribution(("conv", "pool", None)),
    "width": IntDistribution(8, 32, step=8),
    "op_2": CategoricalDistribution(("conv", "pool", None)),
    "rate": FloatDistribution(1e-3, 1.0, log=True),
    "kind": CategoricalDistribution(("a", "b")),
    "op_3": CategoricalDistribution(("conv", "pool", None)),
    "fixed": FloatDistribution(2.0, 2.0),
}


ONE = {
    "op_1": "pool",
    "width": 16,
    "op_2": None,
    "rate": 0.1,
    "kind": "b",
    "op_3": "pool",
    "fixed": 2.0,
}


def flat() -> Encoding:
    return Encoding(as_space(FLAT))


@final
class Featured(SearchSpace):
    """Widths of one or two layers; the surrogate is told their sum too."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        widths = [trial.suggest_int("first", 1, 4)]
        if trial.suggest_categorical("deep", (False, True)):
            widths.append(trial.suggest_int("second", 1, 4))
        return {"widths": widths}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        return nn.Identity()

    def features(self, architecture: Architecture) -> dict[str, float]:
        widths = architecture["widths"]
        return {"sum": float(sum(widths)), "depth": float(len(widths))}
