"""A function of six choices among five, known wholly, and tasks that resemble or contradict it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution

from surrogate_nas.past.past_task import PastTask
from surrogate_nas.space import Distributions

OPS = "abcde"
SPACE: Distributions = {f"op{i}": CategoricalDistribution(OPS) for i in range(6)}

_RNG = np.random.default_rng(7)
_SINGLE = _RNG.normal(size=(6, 5))
_PAIRS = 0.5 * _RNG.normal(size=(5, 5, 5))


def gain(params: Mapping[str, Any], noise: np.ndarray[Any, Any] | None = None) -> float:
    """The value of an architecture: one part a choice, one part a pair of neighbouring choices."""
    at = [OPS.index(params[name]) for name in SPACE]
    single = _SINGLE if noise is None else _SINGLE + noise
    alone = sum(single[i, op] for i, op in enumerate(at))
    pairs = sum(_PAIRS[i, at[i], at[i + 1]] for i in range(5))
    return float(80.0 + alone + pairs)


def objective(trial: optuna.trial.BaseTrial) -> float:
    return gain({name: trial.suggest_categorical(name, OPS) for name in SPACE})


def past_tasks(sign: float = 1.0, n_tasks: int = 4, n_pairs: int = 80) -> list[PastTask]:
    """Tasks that are like this one, but for a little; with sign -1 they say the opposite."""
    tasks = []
    for number in range(n_tasks):
        rng = np.random.default_rng(number)
        noise = 0.3 * rng.normal(size=(6, 5))
        params = [{name: OPS[rng.integers(5)] for name in SPACE} for _ in range(n_pairs)]
        values = [sign * gain(one, noise) for one in params]
        tasks.append(PastTask(f"past {number}", params, values))
    return tasks


def best_after(sampler: optuna.samplers.BaseSampler, n_trials: int) -> float:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=n_trials)
    return study.best_value
