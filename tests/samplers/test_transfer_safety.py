"""Past tasks that mislead do no lasting harm, and one that helps is found among many that do not.

All through the public API, on a space of 1024 architectures whose tasks are known wholly: a value
is a sum of one number a choice. Margins are on averages over several laws, with room for chance.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from scipy.stats import spearmanr

from surrogate_nas import MetaSurrogate, PastTask, SurrogateSampler
from surrogate_nas.space import Distributions

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

FloatArray = npt.NDArray[np.float64]
Params = list[dict[str, str]]

OPS = "abcd"
SPACE: Distributions = {f"op{i}": CategoricalDistribution(OPS) for i in range(5)}
SIZE = len(OPS) ** len(SPACE)
LAWS = range(8)
N_TRIALS = 25


def law(seed: int) -> FloatArray:
    """What each of four choices is worth, five times, (5, 4)."""
    return np.random.default_rng(seed).normal(size=(len(SPACE), len(OPS)))


def worth(one: dict[str, Any], of: FloatArray) -> float:
    return float(sum(of[i, OPS.index(one[name])] for i, name in enumerate(SPACE)))


def draw(n: int, rng: np.random.Generator) -> Params:
    """Architectures that differ."""
    numbers = rng.permutation(SIZE)[:n].tolist()
    return [{name: OPS[k // 4**i % 4] for i, name in enumerate(SPACE)} for k in numbers]


def measured(params: Params, of: FloatArray, rng: np.random.Generator) -> FloatArray:
    return np.array([worth(one, of) for one in params]) + 0.2 * rng.normal(size=len(params))


def past_task(name: str, of: FloatArray, seed: int) -> PastTask:
    rng = np.random.default_rng(seed)
    params = draw(80, rng)
    return PastTask(name, params, measured(params, of, rng).tolist())


def shuffled(name: str, seed: int) -> PastTask:
    """A task whose values belong to other architectures than its own."""
    task = past_task(name, law(seed), seed)
    values = np.random.default_rng(seed + 1).permutation(task.values)
    return PastTask(name, task.params, values.tolist())


def rank_correlation(surrogate: MetaSurrogate, of: FloatArray, n: int, seed: int) -> float:
    """How well it ranks new architectures after n random results."""
    rng = np.random.default_rng(seed)
    params = draw(n + 200, rng)
    values = measured(params[:n], of, rng).tolist()
    mean, _ = surrogate.predict(params[n:], (params[:n], values))
    truth = [worth(one, of) for one in params[n:]]
    return float(spearmanr(mean, truth).statistic)


@dataclass(frozen=True)
class Search:
    """A study and how far each of its trials was from the best architecture, (n_trials,)."""

    study: optuna.Study
    regret: FloatArray

    @property
    def weights(self) -> dict[str, float]:
        """What the study says of past tasks."""
        found: dict[str, float] = self.study.user_attrs["past_task_weights"]
        return found


def search(surrogate: MetaSurrogate | None, seed: int, n_trials: int = N_TRIALS) -> Search:
    of = law(seed)
    sampler = SurrogateSampler(SPACE, surrogate=surrogate, n_candidates=64, seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler)

    def objective(trial: optuna.Trial) -> float:
        one = {name: trial.suggest_categorical(name, OPS) for name in SPACE}
        noise = 0.1 * np.random.default_rng([seed, trial.number]).normal()
        return worth(one, of) + float(noise)

    study.optimize(objective, n_trials=n_trials)
    best = of.max(axis=1).sum()
    return Search(study, np.array([best - worth(trial.params, of) for trial in study.trials]))


@functools.cache
def negated(seed: int) -> MetaSurrogate:
    """Three past tasks that say the opposite of a law, each in its own words."""
    tasks = [-law(seed) + 0.3 * law(100 + 10 * seed + k) for k in range(3)]
    return MetaSurrogate.fit(SPACE, [past_task(f"p{k}", one, k) for k, one in enumerate(tasks)])


@functools.cache
def misled() -> list[Search]:
    return [search(negated(seed), seed) for seed in LAWS]


@functools.cache
def alone() -> list[Search]:
    return [search(None, seed) for seed in LAWS]


def test_negated_past_tasks_are_read_the_other_way_round_or_ignored() -> None:
    for found in misled():
        ignored = found.study.user_attrs["past_tasks_ignored"]
        believed = [weight for name, weight in found.weights.items() if name not in ignored]
        # Alike as they are, one of them may correct the others, by less than these say.
        assert sum(w for w in believed if w > 0) < 0.5 * sum(-w for w in believed if w < 0)
    assert np.mean([sum(found.weights.values()) for found in misled()]) < -0.5


def test_negated_past_tasks_are_found_out_with_the_first_control() -> None:
    # Three results: what past tasks liked best, a random draw, and what was chosen after it.
    sums = [sum(search(negated(seed), seed, n_trials=4).weights.values()) for seed in LAWS]
    assert np.mean(sums) < 0.5


def test_negated_past_tasks_do_not_make_the_best_worse() -> None:
    found, wanted = (np.mean([one.regret.min() for one in many]) for many in (misled(), alone()))
    assert found < wanted + 0.2


def test_negated_past_tasks_do_not_waste_the_first_trials() -> None:
    # They say which architectures to avoid, so that the first ten are better for them, not worse.
    found, wanted = (np.mean([one.regret[:10] for one in many]) for many in (misled(), alone()))
    assert found < wanted


@functools.cache
def new() -> MetaSurrogate:
    """A surrogate without past tasks."""
    return MetaSurrogate.fit(SPACE)


def test_one_good_past_task_is_found_among_twenty() -> None:
    weights, gained = [], []
    for seed in range(6):
        past = [shuffled(f"shuffled {k}", 1000 + 20 * seed + k) for k in range(19)]
        past.insert(7, past_task("good", law(seed), 50))
        surrogate = MetaSurrogate.fit(SPACE, past)
        rng = np.random.default_rng(seed)
        params = draw(15, rng)
        given = params, measured(params, law(seed), rng).tolist()
        found = surrogate.condition(given).weights
        weights.append(found.pop("good"))
        assert weights[-1] > max(abs(weight) for weight in found.values())
        with_past, without = (
            rank_correlation(one, law(seed), 15, seed) for one in (surrogate, new())
        )
        gained.append(with_past - without)
    assert np.mean(weights) > 0.35
    assert np.mean(gained) > 0.04


def test_shuffled_past_tasks_are_doubted_and_cost_little() -> None:
    before, lost = [], []
    for seed in LAWS:
        past = [shuffled(f"shuffled {k}", 1000 + 20 * seed + k) for k in range(6)]
        surrogate = MetaSurrogate.fit(SPACE, past)
        before.append(surrogate.condition(None).transfer)
        with_past, without = (
            rank_correlation(one, law(seed), 20, seed) for one in (surrogate, new())
        )
        lost.append(without - with_past)
    assert max(before) < 0.5
    assert np.mean(before) < 0.35
    assert np.mean(lost) < 0.05
