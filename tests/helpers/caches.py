"""Studies to be read through a cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna

from surrogate_nas.past.history import read_history
from surrogate_nas.past.past_task import PastTask
from tests.helpers.databases import quick_storage


def suggest(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    """A space with every kind of parameter; one exists only with another's choice."""
    params = {
        "choice": trial.suggest_categorical("choice", ["a", True, None, 1.5, 3]),
        "wide": trial.suggest_int("wide", 8, 128, step=8),
        "rate": trial.suggest_float("rate", 1e-5, 1e-1, log=True),
    }
    if params["choice"] == "a":
        params["share"] = trial.suggest_float("share", 0.0, 1.0)
    return params


def add_study(path: Path, name: str, seed: int, n_trials: int = 12) -> None:
    study = optuna.create_study(
        storage=quick_storage(path),
        study_name=name,
        sampler=optuna.samplers.RandomSampler(seed=seed),
        load_if_exists=True,
    )
    study.optimize(lambda trial: float(suggest(trial)["wide"]) + trial.number / 7, n_trials)


def read(path: Path, cache: Path | str | bool | None, space: Any = suggest) -> list[PastTask]:
    assert cache is not True
    return read_history(
        f"sqlite:///{path}", space=space, cache=cache or (None, False)[cache is False]
    )


def exact(past: list[PastTask]) -> list[Any]:
    """Past tasks with the types of values: True is not 1."""
    return [
        [
            task.name,
            task.direction,
            task.notes,
            list(task.values),
            [sorted((n, type(v), v) for n, v in params.items()) for params in task.params],
        ]
        for task in past
    ]


def files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())
