"""What holds whatever else changes: see "Invariants" in ARCHITECTURE.md."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from surrogate_nas.past.history import read_history
from surrogate_nas.running.study import create_study
from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.screening.base_proposals import BaseSamplerLike
from surrogate_nas.screening.rules import PoolMix
from surrogate_nas.space import Distributions
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from tests.helpers import synthetic
from tests.helpers.toys import ToySpace, ToyTask

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
]

NUMBERS: Distributions = {
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "width": IntDistribution(1, 64),
    "depth": IntDistribution(1, 9),
}


def numbers(trial: optuna.trial.BaseTrial) -> float:
    rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    return trial.suggest_int("width", 1, 64) + trial.suggest_int("depth", 1, 9) - 100 * rate


BASES: dict[str, Callable[[], BaseSampler]] = {
    "tpe": lambda: optuna.samplers.TPESampler(n_startup_trials=4, seed=5),
    "random": lambda: optuna.samplers.RandomSampler(seed=5),
    "nsga2": lambda: optuna.samplers.NSGAIISampler(population_size=4, seed=5),
    "cmaes": lambda: optuna.samplers.CmaEsSampler(n_startup_trials=3, seed=5),
    "qmc": lambda: optuna.samplers.QMCSampler(seed=5),
}
LIKE_BASES: dict[str, Callable[[], BaseSamplerLike | None]] = {
    **BASES,
    "none": lambda: None,
    "tpe, no seed": lambda: optuna.samplers.TPESampler(n_startup_trials=4),
    "cmaes, no seed": lambda: optuna.samplers.CmaEsSampler(n_startup_trials=3),
    "factory": lambda: lambda seed: optuna.samplers.NSGAIISampler(population_size=4, seed=seed),
}


def parameters(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials]


def memory(_folder: Path) -> BaseStorage:
    return InMemoryStorage()


def database(folder: Path) -> BaseStorage:
    return RDBStorage(f"sqlite:///{folder}/nas.db")


def journal(folder: Path) -> BaseStorage:
    return JournalStorage(JournalFileBackend(f"{folder}/nas.journal"))


# With screening off, the trials are the base sampler's.


@pytest.mark.parametrize("make_storage", [memory, database], ids=["memory", "sqlite"])
@pytest.mark.parametrize("name", sorted(set(BASES) - {"qmc"}))
def test_one_candidate_is_the_base_s(
    name: str, make_storage: Callable[[Path], BaseStorage], tmp_path: Path
) -> None:
    storage = make_storage(tmp_path)
    ours = SurrogateSampler(NUMBERS, base_sampler=BASES[name](), n_candidates=1, seed=0)
    studies = [
        optuna.create_study(direction="maximize", sampler=sampler, storage=storage)
        for sampler in (BASES[name](), ours)
    ]
    for study in studies:
        study.optimize(numbers, n_trials=12)

    assert parameters(studies[0]) == parameters(studies[1])
    assert all(trial.user_attrs == {} for trial in studies[1].trials)


def test_one_candidate_of_the_default_is_that_of_tpe() -> None:
    ours = SurrogateSampler(synthetic.SPACE, n_candidates=1, seed=3)
    studies = [
        optuna.create_study(direction="maximize", sampler=sampler)
        for sampler in (optuna.samplers.TPESampler(seed=3), ours)
    ]
    for study in studies:
        study.optimize(synthetic.objective, n_trials=15)

    assert parameters(studies[0]) == parameters(studies[1])


# Same seed, same storage: same study.


def screened(
    base: BaseSamplerLike | None, storage: BaseStorage, n_trials: int, per_run: int
) -> list[dict[str, Any]]:
    """Run a study, every so often with a sampler and a study object made anew."""
    while True:
        sampler = SurrogateSampler(
            NUMBERS, base_sampler=base, n_candidates=8, n_startup_trials=3, seed=1
        )
        study = optuna.create_study(
            study_name="s",
            direction="maximize",
            sampler=sampler,
            storage=storage,
            load_if_exists=True,
        )
        missing = n_trials - len(study.trials)
        if missing <= 0:
            return parameters(study)
        study.optimize(numbers, n_trials=min(missing, per_run))


@pytest.mark.parametrize("name", LIKE_BASES)
def test_a_stopped_study_continues_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    whole = screened(LIKE_BASES[name](), InMemoryStorage(), 10, 10)

    assert screened(LIKE_BASES[name](), InMemoryStorage(), 10, 1) == whole
    assert screened(LIKE_BASES[name](), journal(tmp_path), 10, 4) == whole


ELSEWHERE = """
import json, warnings
import optuna
from tests import test_invariants as t
optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.simplefilter("ignore")
print(json.dumps(t.all_bases()))
"""


def all_bases() -> dict[str, list[dict[str, Any]]]:
    studies = {
        name: screened(base(), InMemoryStorage(), 8, 8) for name, base in LIKE_BASES.items()
    }
    surrogate = MetaSurrogate.fit(synthetic.SPACE, synthetic.past_tasks(), seed=0)
    sampler = SurrogateSampler(synthetic.SPACE, surrogate=surrogate, n_candidates=16, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(synthetic.objective, n_trials=6)
    return {**studies, "past": parameters(study)}


def run(script: str, **environment: str) -> str:
    """What a script prints in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        cwd=Path(__file__).parents[1],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_another_process_makes_the_same_study() -> None:
    elsewhere = json.loads(run(ELSEWHERE, PYTHONHASHSEED="123"))

    assert elsewhere == all_bases()


# Trials live in Optuna's storage, and are the target's alone.


def test_past_tasks_leave_no_trial_behind(tmp_path: Path) -> None:
    storage = database(tmp_path)
    for seed in range(2):
        old = optuna.create_study(
            study_name=f"old {seed}",
            direction="maximize",
            storage=storage,
            sampler=optuna.samplers.RandomSampler(seed=seed),
        )
        old.optimize(lambda trial: 100 + synthetic.objective(trial), n_trials=8)
    surrogate = MetaSurrogate.fit(
        synthetic.SPACE, read_history(storage, space=synthetic.SPACE, exclude=["new"])
    )
    sampler = SurrogateSampler(synthetic.SPACE, surrogate=surrogate, n_candidates=16, seed=0)
    study = optuna.create_study(
        study_name="new", direction="maximize", storage=storage, sampler=sampler
    )
    study.optimize(synthetic.objective, n_trials=4)

    assert len(study.trials) == 4
    assert [trial.value for trial in study.trials] == [
        synthetic.gain(trial.params) for trial in study.trials
    ]
    assert study.best_value < 100


def test_a_study_is_readable_by_optuna_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    space = ToySpace()
    study = create_study(
        ToyTask(), space, storage=url, study_name="toy", n_candidates=8, limits={"depth": 3}
    )
    study.optimize(lambda trial: float(space.suggest(trial)["width"]), n_trials=7)

    read = run(
        f"""
import json, sys, optuna
study = optuna.load_study(study_name="toy", storage={url!r})
assert "surrogate_nas" not in sys.modules
print(json.dumps([[t.params, t.value, t.user_attrs] for t in study.trials]))
"""
    )
    assert json.loads(read) == [[t.params, t.value, t.user_attrs] for t in study.trials]


# It searches better than its base.

SEEDS = range(5)


@functools.cache
def bests_of_tpe() -> float:
    return bests(lambda seed: optuna.samplers.TPESampler(seed=seed), 30)


def bests(make: Callable[[int], BaseSampler], n_trials: int) -> float:
    """Median over seeds of the best value after some trials."""
    return float(np.median([synthetic.best_after(make(seed), n_trials) for seed in SEEDS]))


def ours(surrogate: MetaSurrogate | None = None) -> Callable[[int], BaseSampler]:
    mix = PoolMix(n_base=4)  # the rest of TPE's proposals would cost most of the time
    return lambda seed: SurrogateSampler(
        synthetic.SPACE, surrogate=surrogate, n_candidates=32, mix=mix, seed=seed
    )


@pytest.mark.no_cover
def test_it_searches_better_than_its_base() -> None:
    assert bests(ours(), 30) > bests_of_tpe() + 0.5


@pytest.mark.no_cover
def test_good_past_tasks_save_most_trials() -> None:
    surrogate = MetaSurrogate.fit(synthetic.SPACE, synthetic.past_tasks())

    assert bests(ours(surrogate), 5) > bests_of_tpe()


@pytest.mark.no_cover
def test_misleading_past_tasks_do_no_lasting_harm() -> None:
    surrogate = MetaSurrogate.fit(synthetic.SPACE, synthetic.past_tasks(sign=-1.0))

    # A tenth of the spread of all architectures' values, 2.06.
    assert bests(ours(surrogate), 30) > bests_of_tpe() - 0.2
