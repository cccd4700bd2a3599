"""Spaces as Optuna's users write them: all that its own samplers run with, ours runs with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest

import surrogate_nas as sn
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import as_space, distributions
from tests.helpers.samplers import distinct, sampler, studied

as_before = pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")
STORAGES = [None, "sqlite:///:memory:"]


def searched(
    space: Callable[[optuna.trial.BaseTrial], Any],
    value: Callable[[Any], float],
    n_trials: int,
    storage: str | None = None,
    **changes: Any,
) -> optuna.Study:
    """A study whose startup is short, so that the surrogate has a say in most of it."""
    chosen = sampler(space, **{"n_startup_trials": 2, **changes})
    return studied(chosen, lambda trial: value(space(trial)), n_trials, storage=storage)


TUPLES: Any = ((16,), (16, 32))
LISTS: Any = ([8], [8, 8], {"k": 3})


def widths(trial: optuna.trial.BaseTrial) -> list[Any]:
    return [
        trial.suggest_categorical("widths", TUPLES),
        trial.suggest_categorical("more", LISTS),
        trial.suggest_categorical("last", LISTS),
    ]


@as_before
@pytest.mark.parametrize("storage", STORAGES)
def test_choices_that_are_no_keys_are_told_apart(storage: str | None) -> None:
    study = searched(widths, lambda found: float(sum(map(len, found))), 18, storage)

    assert distinct(study) == 18
    assert all(trial.user_attrs["n_candidates"] > 0 for trial in study.trials)


@as_before
def test_a_tuple_reaches_the_objective_as_a_tuple_after_it_was_stored() -> None:
    seen = []
    searched(widths, lambda found: float(len(seen.append(found[0]) or found[0])), 8, STORAGES[1])  # type: ignore[func-returns-value]

    assert {type(one) for one in seen} == {tuple}


def flag(trial: optuna.trial.BaseTrial) -> Any:
    return trial.suggest_categorical("flag", (True, 1, 2))


def test_choices_that_python_calls_equal_are_trained_once_each() -> None:
    seen: list[Any] = []
    searched(flag, lambda found: float(len(seen.append(found) or seen)), 3)  # type: ignore[func-returns-value]

    assert {(type(one), one) for one in seen} == {(bool, True), (int, 1), (int, 2)}


def endless(trial: optuna.trial.BaseTrial) -> int:
    n = 0
    while trial.suggest_categorical(f"one_more_{n}", [True, False]):
        n += 1
    return n


def test_a_space_that_first_values_never_leave_is_searched() -> None:
    study = searched(endless, lambda n: -abs(float(n) - 3), 6)

    assert distinct(study) == 6


def tree(trial: optuna.trial.BaseTrial, name: str = "t") -> int:
    if trial.suggest_categorical(name, ("split", "leaf", "end")) != "split":
        return 1
    return tree(trial, name + "l") + tree(trial, name + "r")


def test_a_recursive_space_is_searched() -> None:
    study = searched(tree, float, 5)

    assert distinct(study) == 5


def far(trial: optuna.trial.BaseTrial) -> float:
    wide = trial.suggest_int("wide", -(2**63), 2**63 - 1)
    return wide / 2**63 + trial.suggest_int("huge", 0, 2**70) / 2**70


@pytest.mark.parametrize("storage", STORAGES)
def test_whole_numbers_beyond_64_bits_are_searched(storage: str | None) -> None:
    study = searched(far, float, 6, storage)

    assert distinct(study) == 6
    for trial in study.trials:
        assert trial.params == trial.system_attrs["surrogate_nas:params"]


def refusing(trial: optuna.trial.BaseTrial) -> int:
    a, b = trial.suggest_int("a", 0, 9), trial.suggest_int("b", 0, 9)
    if a <= b:
        raise optuna.TrialPruned("a must be larger")
    return a - b


@pytest.mark.parametrize("n_candidates", [16, 256])
def test_combinations_that_the_space_refuses_are_drawn_again(n_candidates: int) -> None:
    study = searched(refusing, float, 8, n_candidates=n_candidates)

    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in study.trials)
    assert sum(trial.user_attrs["n_infeasible"] for trial in study.trials) > 0
    assert set(distributions(as_space(refusing))) == {"a", "b"}
    with pytest.raises(SpaceError, match="space has accepted"):
        as_space(refusing).from_params({"a": 1, "b": 2})


def hopeless(trial: optuna.trial.BaseTrial) -> None:
    trial.suggest_int("a", 0, 9)
    raise optuna.TrialPruned


def test_a_space_that_refuses_everything_is_an_error_that_says_so() -> None:
    with pytest.raises(SpaceError, match=r"TrialPruned in \d+ random draws"):
        searched(hopeless, float, 1)


def untried(trial: optuna.trial.BaseTrial) -> int:
    """Prunes what was tried before, as Optuna's users write it."""
    found = trial.suggest_int("a", 0, 5)
    if any(other.params == trial.params for other in trial.study.get_trials(deepcopy=False)[:-1]):  # type: ignore[attr-defined]
        raise optuna.TrialPruned
    return found


def test_a_space_may_look_at_its_study() -> None:
    study = searched(untried, float, 6)

    assert sorted(trial.params["a"] for trial in study.trials) == [0, 1, 2, 3, 4, 5]


# Constraints


def constrained(trial: optuna.trial.BaseTrial) -> float:
    value = trial.suggest_int("a", 0, 9) + trial.suggest_float("c", 0.0, 1.0)
    trial.set_constraint("a at most 3", trial.params["a"] - 3)
    return value


def plain(trial: optuna.trial.BaseTrial) -> float:
    return trial.suggest_int("a", 0, 9) + trial.suggest_float("c", 0.0, 1.0)


def excess(trial: optuna.trial.FrozenTrial) -> tuple[float]:
    return (trial.params["a"] - 3,)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore:.*constraints_func")
@pytest.mark.parametrize("is_in_base", [True, False])
def test_violations_become_rare_whoever_stores_the_constraints(is_in_base: bool) -> None:
    base = optuna.samplers.TPESampler(seed=0, constraints_func=excess if is_in_base else None)
    chosen = sn.SurrogateSampler(
        {
            "a": optuna.distributions.IntDistribution(0, 9),
            "c": optuna.distributions.FloatDistribution(0.0, 1.0),
        },
        base_sampler=base,
        n_candidates=64,
        seed=1,
    )
    study = studied(chosen, plain if is_in_base else constrained, 24)
    late = study.trials[12:]

    assert sum(trial.params["a"] > 3 for trial in late) <= 3
    assert study.best_value > 3.5
