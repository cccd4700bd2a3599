"""Small studies with the sampler."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler

from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.space import Distributions
from tests.helpers.toys import ToySpace

SCREENED = {
    "predicted_value",
    "predicted_std",
    "predicted_rank",
    "acquisition",
    "n_candidates",
    "n_duplicates",
    "n_infeasible",
}
SMALL: Distributions = {
    "op": CategoricalDistribution(("conv", "pool", "skip")),
    "width": IntDistribution(1, 4),
}
SIZE = 12
"""Architectures of SMALL."""

experimental = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def sampler(space: Any = SMALL, **changes: Any) -> SurrogateSampler:
    """One that is fast enough for many trials."""
    return SurrogateSampler(space, **{"n_candidates": 16, "seed": 0, **changes})


def studied(
    chosen: BaseSampler,
    objective: Callable[[optuna.Trial], float],
    n_trials: int,
    catch: Sequence[type[Exception]] = (),
    **study: Any,
) -> optuna.Study:
    made = optuna.create_study(sampler=chosen, **{"direction": "maximize", **study})
    made.optimize(objective, n_trials=n_trials, catch=tuple(catch))
    return made


def small(trial: optuna.trial.BaseTrial) -> float:
    op = trial.suggest_categorical("op", ("conv", "pool", "skip"))
    return trial.suggest_int("width", 1, 4) + 10.0 * (op == "conv")


def random_base(seed: int) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def narrow(trial: optuna.trial.BaseTrial) -> float:
    return float(trial.suggest_int("width", 1, 9))


def toy(trial: optuna.trial.BaseTrial) -> float:
    architecture = ToySpace().suggest(trial)
    return float(architecture["width"] + 3 * architecture.get("second_width", 0))


def parameters(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials]


def distinct(study: optuna.Study) -> int:
    return len({str(sorted(trial.params.items())) for trial in study.trials})
