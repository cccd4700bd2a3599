"""Names that the Trainer reads, with values that it cannot use, are refused before any trial."""

from __future__ import annotations

from typing import Any, final

import optuna
import pytest
from torch import nn

import surrogate_nas as sn
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import Architecture, SearchSpace, TaskShape
from tests.helpers.toys import ToyTask


@final
class Named(SearchSpace):
    """One parameter of any name."""

    def __init__(self, name: str, choices: list[Any], **training: Any) -> None:
        self.name, self.choices, self.more = name, choices, training

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {self.name: trial.suggest_categorical(self.name, self.choices)}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(task.n_outputs))

    def training(self, architecture: Architecture) -> dict[str, Any]:
        return {**super().training(architecture), **self.more}


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("learning_rate", ["low", "high"]),
        ("weight_decay", [None, 1e-4]),
        ("augmentation", ["flip", "none"]),
        ("augmentation", [0.5, 2.0]),
        ("learning_rate", [0.1, -1.0]),
    ],
)
def test_values_that_the_trainer_cannot_use_are_refused(name: str, choices: list[Any]) -> None:
    with pytest.raises(SpaceError, match=rf"(?s){name}.*(another name|or its name)"):
        sn.Objective(ToyTask(), Named(name, choices), sn.Trainer(epochs=1))


@pytest.mark.parametrize("more", [{"batch_size": 0}, {"optimiser": "sgd"}, {"optimizer": "adam"}])
def test_so_are_other_settings_of_a_space(more: dict[str, Any]) -> None:
    with pytest.raises(SpaceError, match="settings that the Trainer can use"):
        sn.Objective(ToyTask(), Named("width", [1, 2], **more))


@pytest.mark.parametrize("choices", [[0.1, 1], ["0.1", "0.01"], [True, False]])
def test_numbers_are_taken(choices: list[Any]) -> None:
    sn.Objective(ToyTask(), Named("augmentation", choices))
    sn.Objective(ToyTask(), Named("rate", ["low", None]))
