from __future__ import annotations

import copy

import numpy as np
import pytest
from scipy.stats import spearmanr

from surrogate_nas.past.past_task import PastTask
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from surrogate_nas.surrogate.model.past_models import MAX_BASIS
from tests.helpers.nets import (
    CANDIDATES,
    CONSTANT,
    PAST,
    SPACE,
    TRUTH,
    TWELVE,
    draw,
    error,
    fitted_to,
    meaningless,
    pairs,
    related,
    unrelated,
)

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]


@pytest.fixture(scope="module")
def mixed() -> MetaSurrogate:
    return fitted_to("mixed")


@pytest.fixture(scope="module")
def alone() -> MetaSurrogate:
    """Without past tasks."""
    return fitted_to("no past")


@pytest.mark.parametrize("n_past", [0, 2])
def test_the_same_seed_gives_the_same_answer_bit_for_bit(n_past: int) -> None:
    past = PAST["two tasks"][:n_past]
    one, same = (MetaSurrogate.fit(SPACE, past, seed=7) for _ in range(2))
    for given in (None, TWELVE):
        np.testing.assert_array_equal(
            one.predict(CANDIDATES, given), same.predict(CANDIDATES, given)
        )
    other = MetaSurrogate.fit(SPACE, past, seed=8)
    is_same = np.array_equal(one.predict(CANDIDATES)[0], other.predict(CANDIDATES)[0])
    assert is_same == (n_past == 0)


def test_inputs_are_not_changed() -> None:
    past, given, candidates = copy.deepcopy((PAST["two tasks"], TWELVE, CANDIDATES))
    fitted = MetaSurrogate.fit(SPACE, past)
    fitted.predict(candidates, given, direction="minimize")
    fitted.condition(given, pending=candidates[:3]).predict(candidates)
    assert (given, candidates) == (TWELVE, CANDIDATES)
    for now, before in zip(past, PAST["two tasks"], strict=True):
        assert (now.params, now.values) == (before.params, before.values)


def test_later_changes_of_the_inputs_do_not_change_a_fit() -> None:
    past = copy.deepcopy(PAST["two tasks"])
    fitted = MetaSurrogate.fit(SPACE, past)
    before = fitted.predict(CANDIDATES)
    for task in past:
        for one in task.params:
            assert isinstance(one, dict)
            one.clear()
    np.testing.assert_array_equal(fitted.predict(CANDIDATES), before)


def test_a_past_loss_is_a_past_score_turned_round() -> None:
    score = related(0)
    loss = PastTask(score.name, score.params, [-value for value in score.values], "minimize")
    one, same = (MetaSurrogate.fit(SPACE, [task]) for task in (score, loss))
    np.testing.assert_array_equal(one.predict(CANDIDATES), same.predict(CANDIDATES))


def test_learns_an_easy_function_from_the_target_alone(alone: MetaSurrogate) -> None:
    assert error(alone, 5) < CONSTANT
    assert error(alone, 12) < 0.7 * CONSTANT
    assert error(alone, 60) < 0.15 * CONSTANT


@pytest.mark.parametrize("past", ["two tasks", "mixed", "many"])
def test_past_tasks_teach_what_a_few_results_cannot(past: str, alone: MetaSurrogate) -> None:
    fitted = MetaSurrogate.fit(SPACE, PAST[past])
    assert spearmanr(fitted.predict(CANDIDATES)[0], TRUTH).statistic > 0.9
    for n, factor in ((5, 0.6), (12, 0.6)):
        assert error(fitted, n) < factor * error(alone, n)
    assert error(fitted, 60) < 0.15 * CONSTANT


def test_one_past_task_is_believed_before_there_are_results() -> None:
    mean, _ = MetaSurrogate.fit(SPACE, [related(0)]).predict(CANDIDATES)
    assert spearmanr(mean, TRUTH).statistic > 0.9


@pytest.mark.parametrize("n_past", [1, 6, MAX_BASIS + 4])
def test_unrelated_past_tasks_do_little_harm(n_past: int, alone: MetaSurrogate) -> None:
    fitted = MetaSurrogate.fit(SPACE, [unrelated(k) for k in range(n_past)])
    # With one past task there is no other that could tell what it is worth; results must.
    for n, factor in ((5, 1.2), (12, 1.15), (25, 1.15)):
        assert error(fitted, n) < factor * error(alone, n)
    assert error(fitted, 60) < 0.15 * CONSTANT


def test_meaningless_past_tasks_do_passing_harm(alone: MetaSurrogate) -> None:
    # A world in which all tasks are noise: that it expects the same of the target costs a little.
    fitted = MetaSurrogate.fit(SPACE, [meaningless(k) for k in range(6)])
    for n, factor in ((5, 1.25), (12, 1.4), (25, 1.15), (60, 1.1)):
        assert error(fitted, n) < factor * error(alone, n)


def test_contrary_past_tasks_are_read_the_other_way_round(alone: MetaSurrogate) -> None:
    past = [
        PastTask(task.name, task.params, [-value for value in task.values], task.direction)
        for task in (related(0), related(1))
    ]
    fitted = MetaSurrogate.fit(SPACE, past)
    assert spearmanr(fitted.predict(CANDIDATES)[0], TRUTH).statistic < -0.9
    for n in (5, 12):
        assert error(fitted, n) < 0.7 * error(alone, n)


def test_standard_deviations_cover_measured_values(mixed: MetaSurrogate) -> None:
    params, values = pairs(200, 50)
    mean, std = mixed.predict(params, pairs(20, 51))
    score = (np.array(values) - mean) / std
    assert 0.4 < np.std(score) < 1.5
    assert np.mean(np.abs(score) < 2) > 0.88


def test_without_results_predictions_are_standard_scores(mixed: MetaSurrogate) -> None:
    params = draw(500, 9)
    mean, std = mixed.predict(params)
    assert abs(mean.mean()) < 0.3
    assert 0.3 < mean.std() < 1.5
    assert 0.3 < np.mean(std) < 3.0
    down, _ = mixed.predict(params, direction="minimize")
    np.testing.assert_array_equal(down, -mean)


def test_with_nothing_at_all_every_architecture_is_alike() -> None:
    mean, std = MetaSurrogate.fit(SPACE).predict(CANDIDATES)
    np.testing.assert_array_equal(mean, 0.0)
    assert len(set(std.tolist())) == 1


def test_many_results_work(mixed: MetaSurrogate) -> None:
    mean, _ = mixed.predict(CANDIDATES, pairs(260, 70))
    assert np.abs(mean - TRUTH).mean() < 0.15 * CONSTANT
