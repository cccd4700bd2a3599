"""What the surrogate costs, in pieces of seconds, for comparing two checkouts.

``python -m studies.sampler_cost.study --against CHECKOUT`` runs them. Nothing of the package but
public names is used, as the checkouts may differ in all else.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache

import numpy as np
import optuna

import surrogate_nas as sn

optuna.logging.set_verbosity(optuna.logging.ERROR)
SPACE = sn.spaces.CellSpace()
N_BEFORE, N_EACH = 100, 5


def value(params: dict[str, object]) -> float:
    """A made-up accuracy: what is timed does not depend on where values come from."""
    n_conv = sum(str(choice).startswith("conv") for choice in params.values())
    return n_conv / 6 + 0.01 * float(str(params["width"]))


def draws(n: int, seed: int) -> list[dict[str, object]]:
    """Parameters of n random architectures."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    found = []
    for _ in range(n):
        trial = study.ask()
        SPACE.suggest(trial)
        found.append(trial.params)
    return found


@cache
def past_tasks(n_tasks: int, n_pairs: int) -> list[sn.PastTask]:
    """Past tasks that resemble each other."""
    rng = np.random.default_rng(0)
    past = []
    for task in range(n_tasks):
        params = draws(n_pairs, task)
        values = [value(one) + 0.2 * float(rng.standard_normal()) for one in params]
        past.append(sn.PastTask(f"task {task}", params, values))
    return past


@cache
def study(n_past: int) -> optuna.Study:
    """A study on SQLite with finished trials."""
    surrogate = sn.MetaSurrogate.fit(SPACE, past_tasks(n_past, 100)) if n_past else None
    folder = tempfile.TemporaryDirectory()
    made = optuna.create_study(
        direction="maximize",
        storage=f"sqlite:///{folder.name}/study.db",
        sampler=sn.SurrogateSampler(SPACE, surrogate=surrogate, seed=0),
    )
    made.set_user_attr("folder", folder.name)
    FOLDERS.append(folder)
    for params in draws(N_BEFORE, 1000):
        made.enqueue_trial(params)
    made.optimize(objective, n_trials=N_BEFORE)
    return made


FOLDERS: list[tempfile.TemporaryDirectory[str]] = []
"""Kept until the process ends."""


def objective(trial: optuna.Trial) -> float:
    """Train nothing."""
    SPACE.suggest(trial)
    return value(trial.params)


def suggestions(n_past: int) -> Callable[[], float]:
    """Seconds from ask to the last parameter, of some suggestions."""

    def probe() -> float:
        seconds = 0.0
        for _ in range(N_EACH):
            began = time.process_time()
            trial = study(n_past).ask()
            SPACE.suggest(trial)
            seconds += time.process_time() - began
            study(n_past).tell(trial, value(trial.params))
        return seconds

    return probe


def fit() -> float:
    """Seconds of a fit."""
    past = past_tasks(20, 200)
    began = time.process_time()
    sn.MetaSurrogate.fit(SPACE, past)
    return time.process_time() - began


@cache
def pool() -> list[dict[str, object]]:
    """Architectures to predict."""
    return draws(2_000, 2000)


def predict() -> float:
    """Seconds of predicting architectures that a surrogate has not seen, given 100 results."""
    fresh = fitted().bind(sn.spaces.CellSpace())
    given = (pool()[:100], [value(params) for params in pool()[:100]])
    began = time.process_time()
    fresh.predict(pool(), given=given)
    return time.process_time() - began


@cache
def fitted() -> sn.MetaSurrogate:
    """A surrogate of five past tasks."""
    return sn.MetaSurrogate.fit(SPACE, past_tasks(5, 100))


def imported() -> float:
    """Seconds of importing the package in a fresh process."""
    code = "import time, surrogate_nas; surrogate_nas.SurrogateSampler; print(time.process_time())"
    command = [sys.executable, "-P", "-c", code]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


PROBES = {
    f"{N_EACH} suggestions, no past tasks": suggestions(0),
    f"{N_EACH} suggestions, 5 past tasks": suggestions(5),
    "fit, 20 past tasks of 200 pairs": fit,
    "predict 2,000 architectures": predict,
    "import, and the sampler": imported,
}
