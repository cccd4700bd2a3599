from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Callable
from typing import Any, final

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from surrogate_nas.screening.base_proposals import (
    BaseProposals,
    advance_counters,
    counters_of,
    seeded,
)
from surrogate_nas.space import Distributions, ParameterSpace, suggest_from
from tests.helpers.toys import ToySpace

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")

SPACE: Distributions = {
    "rate": FloatDistribution(1e-4, 1e-1, log=True),
    "width": IntDistribution(1, 64),
    "op": CategoricalDistribution(("conv", "pool", "skip")),
}
NUMBERS = {name: d for name, d in SPACE.items() if name != "op"}
WHOLE: Distributions = {"depth": IntDistribution(1, 9), "width": IntDistribution(1, 64)}

BASES: dict[str, Callable[[], BaseSampler]] = {
    "random": lambda: optuna.samplers.RandomSampler(),
    "tpe": lambda: optuna.samplers.TPESampler(n_startup_trials=3),
    "tpe, univariate": lambda: optuna.samplers.TPESampler(
        n_startup_trials=3, multivariate=False, constant_liar=False
    ),
    "gp": lambda: optuna.samplers.GPSampler(n_startup_trials=3),
    "cmaes": lambda: optuna.samplers.CmaEsSampler(
        n_startup_trials=3, warn_independent_sampling=False
    ),
    "nsga2": lambda: optuna.samplers.NSGAIISampler(population_size=3),
    "nsga3": lambda: optuna.samplers.NSGAIIISampler(population_size=3),
    "qmc": lambda: optuna.samplers.QMCSampler(warn_independent_sampling=False),
    "brute force": lambda: optuna.samplers.BruteForceSampler(),
}


def studied(
    n_trials: int = 6,
    space: Distributions | None = None,
    sampler: BaseSampler | None = None,
) -> optuna.Study:
    """A study of a few trials with results."""
    sampler = sampler or optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    parameters = SPACE if space is None else space

    def objective(trial: optuna.Trial) -> float:
        params = {name: suggest_from(trial, name, d) for name, d in parameters.items()}
        return float(params["width"])

    study.optimize(objective, n_trials=n_trials)
    return study


def proposals(
    base: BaseSampler | Callable[[int], BaseSampler],
    study: optuna.Study,
    n: int = 4,
    seed: int = 0,
    space: Distributions | None = None,
) -> list[dict[str, Any]]:
    wanted = ParameterSpace(SPACE if space is None else space)
    ask = BaseProposals(base, seed, study, study.get_trials(deepcopy=False))
    drawn = [dict(params) for params, _ in ask(wanted, n)]
    advance_counters(study, ask.advanced)
    return drawn


def everything(study: optuna.Study) -> tuple[Any, ...]:
    """All that a study's storage holds."""
    storage = study._storage
    return (
        copy.deepcopy(storage.get_all_trials(study._study_id)),
        copy.deepcopy(storage.get_study_system_attrs(study._study_id)),
        copy.deepcopy(storage.get_study_user_attrs(study._study_id)),
    )


@pytest.mark.parametrize("name", BASES)
def test_proposals_follow_from_the_seed_alone(name: str) -> None:
    used = BASES[name]()
    studied(sampler=used, space=WHOLE)
    study, same = studied(n_trials=4, space=WHOLE), studied(n_trials=4, space=WHOLE)

    first = proposals(used, study, n=2, space=WHOLE)

    assert first == proposals(BASES[name](), same, n=2, space=WHOLE)
    assert all(set(params) == set(WHOLE) for params in first)


@pytest.mark.parametrize("name", ["random", "tpe", "nsga2"])
def test_another_seed_gives_other_proposals(name: str) -> None:
    study = studied()

    assert proposals(BASES[name](), study, seed=0) != proposals(BASES[name](), study, seed=1)


def test_a_factory_gets_the_seed() -> None:
    seeds: list[int] = []

    def factory(seed: int) -> BaseSampler:
        seeds.append(seed)
        return optuna.samplers.RandomSampler(seed=seed)

    study = studied()

    assert proposals(factory, study, seed=7) == proposals(factory, study, seed=7)
    assert seeds == [7, 7]


@pytest.mark.parametrize("name", sorted(set(BASES) - {"qmc"}))
def test_neither_study_nor_sampler_is_touched(name: str) -> None:
    study = studied(n_trials=4, space=WHOLE)
    before = everything(study)
    sampler = seeded(BASES[name](), 0)
    state = pickle.dumps(sampler)

    proposals(sampler, study, n=3, space=WHOLE)

    assert everything(study) == before
    assert pickle.dumps(sampler) == state


def test_proposals_bring_the_attributes_that_the_base_wants_stored() -> None:
    sampler = optuna.samplers.CmaEsSampler(
        n_startup_trials=1, warn_independent_sampling=False, seed=0
    )
    study = studied(space=NUMBERS)
    ask = BaseProposals(sampler, 0, study, study.trials)

    ((_, attrs),) = ask(ParameterSpace(NUMBERS), 1)

    assert any(name.startswith("cma:") for name in attrs)


def test_constant_liar_spreads_the_proposals() -> None:
    space: Distributions = {f"op{i}": CategoricalDistribution("abcde") for i in range(6)}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(
        lambda trial: sum(suggest_from(trial, n, d) == "a" for n, d in space.items()), n_trials=30
    )

    drawn = proposals(optuna.samplers.TPESampler(), study, n=32, space=space)

    assert len({tuple(params.values()) for params in drawn}) >= 30


def test_counters_of_quasi_monte_carlo_advance() -> None:
    sampler = optuna.samplers.QMCSampler(seed=0, warn_independent_sampling=False)
    study = studied(space=NUMBERS)

    first = proposals(sampler, study, space=NUMBERS)
    second = proposals(sampler, study, space=NUMBERS)

    assert not {str(params) for params in first} & {str(params) for params in second}
    (counter,) = study._storage.get_study_system_attrs(study._study_id).values()
    assert counter == 7  # the last of eight, from 0


def test_a_proposal_that_nobody_asks_for_costs_nothing() -> None:
    sampler = optuna.samplers.QMCSampler(seed=0, warn_independent_sampling=False)
    study = studied(space=NUMBERS)

    assert proposals(sampler, study, n=0, space=NUMBERS) == []
    assert study._storage.get_study_system_attrs(study._study_id) == {}


def test_parents_of_another_study_are_not_taken_over() -> None:
    sampler = optuna.samplers.NSGAIISampler(population_size=2, seed=0)
    study = studied(sampler=sampler, n_trials=7)
    before = everything(study)
    assert any("parent" in name for name in before[1])

    proposals(sampler, study)

    assert everything(study) == before


def test_conditional_spaces_are_proposed_whole() -> None:
    space = ToySpace()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: float(space.suggest(trial)["width"]), n_trials=12)
    ask = BaseProposals(optuna.samplers.TPESampler(seed=0), 0, study, study.trials)

    drawn = [params for params, _ in ask(space, 12)]

    assert all(space.from_params(params) for params in drawn)
    assert {params["depth"] for params in drawn} == {1, 2}


@final
class Counting(BaseSampler):
    """Draws nothing of its own and remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[list[tuple[TrialState, dict[str, Any]]]] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> Counting:
        return self

    def infer_relative_search_space(self, study: optuna.Study, trial: Any) -> Distributions:
        trials = study.get_trials(deepcopy=False)[:-1]
        self.seen.append([(t.state, t.system_attrs) for t in trials])
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: Any, search_space: Distributions
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: optuna.Study, trial: Any, param_name: str, param_distribution: Any
    ) -> Any:
        return 0.5


def test_the_replica_holds_trials_that_finished_well_or_run() -> None:
    space: Distributions = {"x": FloatDistribution(0, 1)}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL):
        asked = study.ask(space)
        study.tell(asked, 1.0 if state == TrialState.COMPLETE else None, state=state)
    study.ask(space)
    study.ask()  # has no parameters yet
    study.enqueue_trial({"x": 0.1})
    base = Counting()

    proposals(base, study, n=1, space=space)

    states = [state for state, _ in base.seen[0]]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING]


def test_fixed_parameters_of_old_trials_are_left_behind() -> None:
    space: Distributions = {"x": FloatDistribution(0, 1)}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial({"x": 0.25})
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    assert study.trials[0].system_attrs == {"fixed_params": {"x": 0.25}}
    base = Counting()

    drawn = proposals(base, study, n=1, space=space)

    assert drawn == [{"x": 0.5}]
    assert base.seen[0] == [(TrialState.COMPLETE, {})]
    assert study.trials[0].system_attrs == {"fixed_params": {"x": 0.25}}


def test_the_log_tells_of_real_studies_only(caplog: pytest.LogCaptureFixture) -> None:
    optuna.logging.enable_propagation()
    try:
        with caplog.at_level(logging.INFO, logger="optuna"):
            study = studied(n_trials=0)
            proposals(optuna.samplers.RandomSampler(), study)
    finally:
        optuna.logging.disable_propagation()

    messages = {record.getMessage() for record in caplog.records}
    assert messages == {f"A new study created in memory with name: {study.study_name}"}


@final
class Nested:
    """Stands in for a part of Optuna that holds a random state, and a way back to its owner."""

    def __init__(self, owner: object) -> None:
        self.owner = owner
        self.generator = np.random.default_rng()


Nested.__module__ = "optuna.elsewhere"


def test_states_of_parts_are_reset_even_where_they_point_back() -> None:
    def sampler() -> Any:
        made: Any = optuna.samplers.RandomSampler()
        made.part = Nested(made)
        return made

    first, second = (seeded(sampler(), 5) for _ in range(2))
    other = seeded(sampler(), 6)

    draws = [one.part.generator.random() for one in (first, second, other)]  # type: ignore[attr-defined]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("counters", [None, 5, "qmc", [1], {"a": "1", "b": None, "c": True}])
def test_what_is_no_counter_is_left_out(counters: Any) -> None:
    """A trial's attribute may be anybody's."""
    study = optuna.create_study()
    advance_counters(study, counters)
    assert counters_of(study) == {}
    advance_counters(study, {"d": 3, "e": 10**30, "f": 0.5})
    assert counters_of(study) == {"d": 3, "e": 10**30}
