from __future__ import annotations

import math
from typing import Literal

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial

from surrogate_nas.results.expected import ExpectedBest
from surrogate_nas.results.figure_data import (
    best_found,
    limits_around,
    past_task_weights,
    predicted_measured,
    rank_correlation,
    screening,
)
from surrogate_nas.results.summary import summarize
from tests.helpers.stored_studies import searched, study_of


@pytest.mark.parametrize(
    ("direction", "bests", "best_at"),
    [("maximize", [1, 3, 3, 4], 4), ("minimize", [1, 1, 0.5, 0.5], 3)],
)
def test_the_best_so_far_follows_the_direction(
    direction: Literal["minimize", "maximize"], bests: list[float], best_at: int
) -> None:
    study = optuna.create_study(direction=direction)
    study.add_trials([create_trial(value=value) for value in (1.0, 3.0, 0.5, 4.0)])
    found = best_found(summarize(study), None, most=10)

    assert found.n.tolist() == [1, 2, 3, 4]
    assert found.values.tolist() == [1, 3, 0.5, 4]
    assert found.bests.tolist() == bests
    assert (found.n_all, found.best_at) == (4, best_at)
    assert found.limits == pytest.approx((0.15, 4.35))


def test_few_of_many_results_are_shown_and_all_are_counted() -> None:
    """The axis is that of all results."""
    band = ExpectedBest(np.array([1]), np.array([0.0]), np.array([1.0]))
    found = best_found(summarize(study_of([float(n) for n in range(100)])), band, most=5)

    assert len(found.n) == len(found.values) == len(found.bests) <= 5
    assert found.n[-1] == 100
    assert (found.n_all, found.best_at) == (100, 100)
    assert found.limits == pytest.approx((-9.9, 108.9))
    assert found.expected is band


def test_predictions_stand_beside_their_results() -> None:
    found = predicted_measured(summarize(searched(3)), most=10)

    assert found.measured.tolist() == [0, 2, 4]
    assert found.predicted.tolist() == [0, 1, 2]
    assert found.stds.tolist() == [0.5, 0.5, 0.5]
    assert found.diagonal.tolist() == [0, 4]
    assert found.limits == pytest.approx((-0.4, 4.4))
    assert found.rho == 1.0


def test_a_prediction_in_nonsense_units_does_not_stretch_the_diagonal() -> None:
    study = study_of([0.5, 0.75])
    study.add_trial(
        create_trial(value=0.6, user_attrs={"predicted_value": 1e6, "predicted_std": 1.0})
    )
    found = predicted_measured(summarize(study), most=10)

    assert found.diagonal.tolist() == [0.6, 0.6]
    assert math.isnan(found.rho)


def test_the_rank_correlation_has_a_limit_of_chance() -> None:
    summary = summarize(searched(10))
    found = rank_correlation(summary)

    assert found.n.tolist() == list(range(3, 11))
    assert found.rho.tolist() == [rho for _, rho in summary.rank_correlations]
    assert found.chance[0] == 1.0
    assert found.chance[-1] == pytest.approx(1.645 / 3)


def test_the_heaviest_past_tasks_are_kept_the_lightest_first() -> None:
    summary = summarize(searched())
    found = past_task_weights(summary, most=10)

    assert list(found.names) == ["dogs", "cats"]
    assert list(found.ignored) == [True, False]
    assert found.weights.tolist() == [0.01, 0.5]
    assert found.transfer == summary.transfer
    assert list(past_task_weights(summary, most=1).names) == ["cats"]


@pytest.mark.parametrize("n_trials", [4, 60, 61, 1000])
def test_all_candidates_are_in_some_group(n_trials: int) -> None:
    summary = summarize(searched(n_trials))
    found = screening(summary)

    assert len(found.numbers) <= 60
    assert found.numbers[0] == 0
    assert sum(found.trained) == n_trials
    assert sum(found.worse) + sum(found.trained) == summary.n_screened
    assert sum(found.duplicates) == summary.n_duplicates
    assert sum(found.infeasible) == summary.n_infeasible
    assert (found.size == 1) == (n_trials <= 60)


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        ([], None),
        ([math.nan, math.inf], None),
        ([2.0, 2.0], None),
        ([0.0, 1.0, math.inf, math.nan], (-0.1, 1.1)),
    ],
)
def test_an_axis_ends_around_the_finite_values(
    values: list[float], limits: tuple[float, float] | None
) -> None:
    found = limits_around(np.array(values))
    assert found == (limits if limits is None else pytest.approx(limits))
