from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from surrogate_nas.errors import PastTaskError, StudyError
from surrogate_nas.past.past_task import (
    Direction,
    Given,
    PastTask,
    as_observations,
    from_trials,
    signed,
)

PARAMS = [{"x": 0.25}, {"x": 0.5}, {"x": 0.75}]
VALUES = [1.0, 3.0, 2.0]


def trial(x: float, value: float | None, state: TrialState = TrialState.COMPLETE) -> FrozenTrial:
    return create_trial(
        state=state,
        value=value,
        params={"x": x},
        distributions={"x": FloatDistribution(0.0, 1.0)},
    )


def trials() -> list[FrozenTrial]:
    return [trial(one["x"], value) for one, value in zip(PARAMS, VALUES, strict=True)]


def study(direction: Direction = "minimize") -> optuna.Study:
    made = optuna.create_study(direction=direction, study_name="mine")
    made.add_trials(trials())
    return made


@pytest.mark.parametrize(
    ("params", "values", "direction", "message"),
    [
        ([{"x": 1}], [1.0], "up", "'minimize' or 'maximize'; got 'up'"),
        ([], [], "maximize", "0 parameter sets and 0 values.*past task 'letters'"),
        ([{"x": 1}], [], "maximize", "1 parameter sets and 0 values"),
        ([], [1.0], "maximize", "0 parameter sets and 1 values"),
        ([{"x": 1}], [1.0, 2.0], "maximize", "1 parameter sets and 2 values"),
        ([{}, {}], [1.0, math.nan], "maximize", "nan at position 1.*Leave failed trainings out"),
        ([{}, {}], [math.inf, 1.0], "maximize", "inf at position 0"),
        ([{}, {}], [1.0, -math.inf], "maximize", "-inf at position 1"),
        ([{}, {}], [1.0, None], "maximize", "None at position 1"),
        ([{}, {}], [1.0, "2"], "maximize", "'2' at position 1"),
        ([{}, {}], [True, 1.0], "maximize", "True at position 0"),
        ([{}, {}], [np.float32("nan"), 1.0], "maximize", "at position 0"),
    ],
)
def test_refuses(params: Any, values: Any, direction: Any, message: str) -> None:
    with pytest.raises(PastTaskError, match=message):
        PastTask("letters", params, values, direction)


@pytest.mark.parametrize(
    "values",
    [[1, 2], [np.float32(1.0), np.int64(2)], (1.0, 2.0), np.array([1.0, 2.0])],
    ids=["int", "numpy scalars", "tuple", "array"],
)
def test_takes_numbers_of_any_kind(values: Any) -> None:
    task = PastTask("a", [{}, {}], values)
    assert len(task) == 2
    assert task.y.tolist() == [1.0, 2.0]
    assert task.y.dtype == np.float64


def test_larger_y_is_better_either_way() -> None:
    up, down = PastTask("a", PARAMS, VALUES), PastTask("a", PARAMS, VALUES, "minimize")
    assert up.y.tolist() == VALUES
    assert down.y.tolist() == [-1.0, -3.0, -2.0]
    assert signed(down.y, "minimize").tolist() == VALUES


def test_y_keeps_its_earlier_name() -> None:
    assert PastTask("a", PARAMS, VALUES, "minimize").gains.tolist() == [-1.0, -3.0, -2.0]


@pytest.mark.parametrize(
    ("values", "is_informative"), [([1.0], False), ([2, 2.0], False), ([1.0, 1.5], True)]
)
def test_informative_means_that_two_values_differ(
    values: list[float], is_informative: bool
) -> None:
    assert PastTask("a", [{}] * len(values), values).informative() is is_informative


def test_from_trials_leaves_out_what_did_not_finish_with_one_number() -> None:
    not_a_number = trial(0.1, 0.5)
    not_a_number.value = math.nan
    unfinished = [
        trial(0.1, 0.5, TrialState.PRUNED),
        trial(0.1, None, TrialState.FAIL),
        trial(0.1, None, TrialState.RUNNING),
        trial(0.1, None, TrialState.WAITING),
        trial(0.1, math.inf),
        not_a_number,
        create_trial(values=[1.0, 2.0], params={}, distributions={}),
    ]
    assert from_trials("a", unfinished, "maximize") is None
    task = from_trials("a", [*unfinished, *trials()], "minimize")
    assert task is not None
    assert (task.name, task.direction) == ("a", "minimize")
    assert list(task.params) == PARAMS
    assert list(task.values) == VALUES


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (PastTask("letters", PARAMS, VALUES, "minimize"), "letters"),
        (study(), "mine"),
        (trials(), "target"),
        (tuple(trials()), "target"),
        (tuple(trials()[:2]), "target"),
        ((PARAMS, VALUES), "target"),
        ((tuple(PARAMS), np.array(VALUES)), "target"),
    ],
    ids=["PastTask", "study", "list", "tuple", "tuple of two", "pair", "pair of arrays"],
)
def test_observations_come_in_every_form(given: Given, name: str) -> None:
    observed = as_observations(given, "minimize")
    assert observed is not None
    n = len(observed)
    assert n >= 2
    assert (observed.name, observed.direction) == (name, "minimize")
    assert list(observed.params) == PARAMS[:n]
    assert list(observed.values) == VALUES[:n]


@pytest.mark.parametrize("given", [None, [], (), ([], []), optuna.create_study()])
def test_no_observations(given: Given | None) -> None:
    assert as_observations(given, "maximize") is None


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_study_and_a_past_task_say_themselves_which_way_is_better(direction: Direction) -> None:
    other: Direction = "maximize" if direction == "minimize" else "minimize"
    for given in (study(direction), PastTask("a", PARAMS, VALUES, direction)):
        observed = as_observations(given, other)
        assert observed is not None
        assert observed.direction == direction


@pytest.mark.parametrize(
    "given",
    [
        [PARAMS, VALUES],
        (PARAMS, VALUES, "minimize"),
        [*trials(), 1.0],
        PARAMS,
    ],
    ids=["list", "triple", "mixed", "parameters alone"],
)
def test_refuses_other_forms(given: Any) -> None:
    with pytest.raises(PastTaskError, match=r"tuple \(params, values\); got .*tuple of two lists"):
        as_observations(given, "maximize")


@pytest.mark.parametrize("given", [([], [1.0]), ([{}], []), ([{}], [math.nan])])
def test_refuses_pairs_that_no_past_task_may_have(given: Given) -> None:
    with pytest.raises(PastTaskError):
        as_observations(given, "maximize")


def test_refuses_a_study_with_several_objectives() -> None:
    several = optuna.create_study(directions=["minimize", "maximize"], study_name="both")
    with pytest.raises(StudyError, match="2 objectives in study 'both'"):
        as_observations(several, "maximize")


def test_a_past_task_is_shown_in_a_line() -> None:
    task = PastTask("a", [{"x": 1}, {"x": 2}], [1.0, 2.0], "minimize", notes=("one", "two"))

    assert repr(task) == "<PastTask 'a': 2 pairs, minimize, 2 notes>"
    assert repr(PastTask("b", [{"x": 1}], [1.0])) == "<PastTask 'b': 1 pairs, maximize>"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((None, [1.0]), "a sequence of parameter sets; got None of type NoneType"),
        (([{}], None), "a sequence of values; got None"),
        (([{}], 5), "a sequence of values; got 5 of type int"),
        (([{}], "x"), "a sequence of values; got 'x'"),
        (([{}], {1: 2}), "a sequence of values; got {1: 2}"),
        (([{}], np.array(1.0)), "a sequence of values"),
        (([{}], np.zeros((1, 2))), "a sequence of values"),
        (({"a": 1}, [1.0]), "a sequence of parameter sets"),
        (([5], [1.0]), "as dicts of values by name; got 5"),
        (([{}], [10**400]), "finite numbers as values"),
        (([{}], np.array([1j])), "finite numbers as values"),
        (([{}], [True]), "finite numbers as values"),
        (([{}], [1.0], "maximize", 5), "as dicts of values by name; got 5"),
    ],
)
def test_strange_arguments_are_errors_of_ours(arguments: Any, said: str) -> None:
    with pytest.raises(PastTaskError, match=re.escape(said)):
        PastTask("strange", *arguments)
