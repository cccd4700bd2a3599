"""Finished studies of a small space."""

from __future__ import annotations

from typing import Any, Literal

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.storages import BaseStorage

from tests.helpers.toys import ToySpace

SPACE = ToySpace()


def finished(
    storage: BaseStorage,
    name: str,
    n_trials: int = 4,
    direction: Literal["minimize", "maximize"] = "maximize",
    space: Any = SPACE,
    seed: int = 0,
) -> optuna.Study:
    """A plain Optuna study of a space."""
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        direction=direction,
        sampler=optuna.samplers.RandomSampler(seed=seed),
    )
    study.optimize(lambda trial: space.suggest(trial)["width"] + trial.number / 10, n_trials)
    return study


# Spaces that have changed, other people's studies

TODAY: dict[str, BaseDistribution] = {
    "op": CategoricalDistribution(["skip", "conv"]),
    "width": IntDistribution(8, 64, step=8),
    "depth": IntDistribution(1, 3),
}


def plain(storage: BaseStorage, name: str, **choices: list[Any]) -> optuna.Study:
    """A study as people make it without this package: choices in turn."""
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    for number in range(6):
        trial = study.ask()
        for param, values in choices.items():
            trial.suggest_categorical(param, values)
        study.tell(trial, float(number))
    return study
