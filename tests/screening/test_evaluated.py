from __future__ import annotations

import datetime
import math
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from surrogate_nas.screening.evaluated import Evaluated
from surrogate_nas.screening.known_trials import TrialReader
from surrogate_nas.screening.objectives import best_rows, non_dominated
from surrogate_nas.space import Distributions, ParameterSpace

SPACE: Distributions = {"x": IntDistribution(0, 99)}
MAXIMIZE, MINIMIZE = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def trial(x: int, *values: float, **changes: Any) -> FrozenTrial:
    return create_trial(
        params={"x": x}, distributions=SPACE, values=list(values) or None, **changes
    )


def seen(trials: list[FrozenTrial], *directions: StudyDirection) -> Evaluated:
    known = TrialReader(ParameterSpace(SPACE))(trials)
    return Evaluated.of(known, directions or (MAXIMIZE,))


def test_without_trials_there_are_empty_arrays() -> None:
    found = seen([], MAXIMIZE, MINIMIZE)

    assert len(found) == 0
    assert found.values.shape == (0, 2)
    assert found.violations.shape == (0, 0)
    assert found.best(3).tolist() == found.front.tolist() == []


def test_constraints_of_either_form_are_columns_in_order_of_their_names() -> None:
    trials = [
        trial(0, 1.0, constraints={"size": -1.0, "delay": 2.0}),
        trial(1, 2.0, constraints={"size": 3.0}),
        trial(2, 3.0),
    ]
    found = seen(trials)

    assert found.violations.tolist() == [[2.0, -1.0], [0.0, 3.0], [0.0, 0.0]]
    assert found.is_feasible.tolist() == [False, False, True]
    old = seen([trial(0, 1.0, system_attrs={"constraints": [0.5, math.nan]})])
    assert old.violations.tolist() == [[0.5, math.inf]]


def test_constraints_of_a_sampler_are_seen_too() -> None:
    with pytest.warns(FutureWarning, match="constraints_func"):
        sampler = optuna.samplers.NSGAIISampler(constraints_func=lambda t: [t.params["x"] - 50.0])
    study = optuna.create_study(sampler=sampler)
    study.optimize(lambda t: float(t.suggest_int("x", 0, 99)), n_trials=5)
    found = seen(study.trials, MINIMIZE)

    wanted = [[t.params["x"] - 50.0] for t in study.trials]
    assert found.violations.tolist() == wanted
    assert found.values[:, 0].tolist() == [-t.params["x"] for t in study.trials]


def test_what_could_not_be_trained_is_the_worst_and_violates_a_constraint() -> None:
    trials = [
        trial(0, 1.0, 9.0),
        trial(1, 2.0, 5.0),
        trial(2, state=TrialState.PRUNED, user_attrs={"infeasible": "out of memory"}),
        trial(3, state=TrialState.PRUNED),
    ]
    found = seen(trials, MAXIMIZE, MINIMIZE)

    assert found.values.tolist() == [[1.0, -9.0], [2.0, -5.0], [1.0, -9.0]]
    assert found.violations.tolist() == [[0.0], [0.0], [1.0]]
    assert found.best(3).tolist() == [1, 0, 2]
    assert seen(trials[2:3]).values.tolist() == [[0.0]]


def test_values_that_are_not_finite_have_no_row() -> None:
    found = seen([trial(0, math.inf), trial(1, 2.0)])

    assert [params["x"] for params in found.params] == [1]
    assert len(found.taken) == 2


def test_seconds_are_those_of_the_training_where_they_are_stored() -> None:
    start = datetime.datetime(2024, 1, 1)
    timed = trial(0, 1.0, user_attrs={"train_seconds": 7.5})
    told = trial(1, 1.0)
    told.datetime_start, told.datetime_complete = start, start + datetime.timedelta(seconds=3)
    unknown = trial(2, 1.0)
    unknown.datetime_start = None
    found = seen([timed, told, unknown])

    assert found.seconds[:2].tolist() == [7.5, 3.0]
    assert math.isnan(found.seconds[2])


def test_the_front_is_feasible_and_not_dominated() -> None:
    points = [(1.0, 1.0), (0.0, 2.0), (0.0, 1.0), (5.0, 5.0), (1.0, 1.0)]
    trials = [
        trial(x, *values, constraints={"c": 1.0 if x == 3 else 0.0})
        for x, values in enumerate(points)
    ]
    found = seen(trials, MAXIMIZE, MAXIMIZE)

    assert found.front.tolist() == [0, 1, 4]
    assert found.best(9).tolist() == [0, 1, 4, 2, 3]
    assert found.best(2).tolist() == [0, 1]


@pytest.mark.parametrize("o", [1, 2, 3, 4])
def test_no_row_of_a_front_is_dominated_and_every_other_is(o: int) -> None:
    values = np.random.default_rng(o).integers(0, 5, size=(60, o)).astype(float)
    kept = non_dominated(values)
    for row, is_kept in zip(values, kept, strict=True):
        dominating = (values >= row).all(axis=1) & (values > row).any(axis=1)
        assert is_kept == (not dominating.any())


def test_with_one_objective_the_best_are_in_order_of_violation_and_value() -> None:
    values = np.array([[1.0], [3.0], [2.0], [9.0], [3.0]])
    violations = np.array([[0.0, 0.0], [0.0, -5.0], [0.0, 0.0], [2.0, 0.0], [0.5, 0.5]])

    assert best_rows(values, violations, 9).tolist() == [1, 2, 0, 4, 3]
    assert best_rows(values, violations, 2).tolist() == [1, 2]
