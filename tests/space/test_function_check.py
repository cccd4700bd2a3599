"""An objective that is given as the space is told before it is called hundreds of times."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import optuna
import pytest

import surrogate_nas as sn
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import as_space

objectives = pytest.mark.filterwarnings("error:The function")


def counting(function: Callable[[Any], Any]) -> tuple[Callable[[Any], Any], list[int]]:
    """Return a function with a list that grows with each of its calls."""
    calls: list[int] = []

    def counted(trial: Any) -> Any:
        calls.append(1)
        return function(trial)

    return counted, calls


def number(trial: optuna.trial.BaseTrial) -> float:
    return trial.suggest_float("x", 0, 1) ** 2


def slow(trial: optuna.trial.BaseTrial) -> None:
    trial.suggest_float("x", 0, 1)
    time.sleep(0.03)


def reporting(trial: optuna.trial.BaseTrial) -> None:
    trial.suggest_float("x", 0, 1)
    trial.report(1.0, 0)
    raise AssertionError("the training goes on")


def pruning(trial: optuna.trial.BaseTrial) -> None:
    trial.suggest_float("x", 0, 1)
    if trial.should_prune():
        raise optuna.TrialPruned


@objectives
@pytest.mark.parametrize(("objective", "said"), [(number, "returns a number"), (slow, "takes 0.")])
def test_an_objective_is_warned_of_after_a_handful_of_calls(
    objective: Callable[[Any], Any], said: str
) -> None:
    function, calls = counting(objective)
    with pytest.raises(UserWarning, match=rf"'counted' is given as a search space and {said}"):
        sn.SurrogateSampler(function)

    assert 1 <= len(calls) <= 3


@pytest.mark.parametrize("objective", [reporting, pruning])
def test_a_function_that_reports_is_refused_at_its_first_call(
    objective: Callable[[Any], Any],
) -> None:
    function, calls = counting(objective)
    with pytest.raises(SpaceError, match="only suggests"):
        sn.SurrogateSampler(function)

    assert len(calls) == 1


@objectives
def test_a_space_is_not_warned_of() -> None:
    def choices(trial: optuna.trial.BaseTrial) -> list[int]:
        return [trial.suggest_int("x", 0, 9)]

    def refusing(trial: optuna.trial.BaseTrial) -> bool:
        trial.suggest_int("x", 0, 9)
        raise optuna.TrialPruned

    for space in (choices, refusing, lambda trial: trial.suggest_int("x", 0, 9) > 3):
        as_space(space)


def test_the_same_function_is_checked_once() -> None:
    function, calls = counting(number)
    with pytest.warns(UserWarning, match="is given as a search space"):
        as_space(function)
    n = len(calls)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_space(function)

    assert len(calls) == n
