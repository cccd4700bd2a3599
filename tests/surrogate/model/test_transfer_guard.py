"""When past tasks are not trusted: before the first result, and against the target's own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.special import logsumexp

from surrogate_nas.surrogate.model.transfer_guard import (
    Agreement,
    guard_before_results,
    guard_during_search,
    rank_each_other,
)

FloatArray = npt.NDArray[np.float64]
NOTHING = np.array([True, True, False, False, False])


def test_past_tasks_that_rank_each_other_by_chance_say_nothing() -> None:
    rng = np.random.default_rng(0)

    def judged(rho: float) -> list[Agreement]:
        """Six tasks of 101 values, each ranked by five others."""
        each = [rho + rng.normal(0.0, 0.1, 5) for _ in range(6)]
        return [Agreement(101, float(one.mean()), one) for one in each]

    assert sum(rank_each_other(judged(0.0)) for _ in range(200)) < 20
    assert all(rank_each_other(judged(0.15)) for _ in range(20))
    # Upside down says something, too, as does one good task for each among four of no worth.
    assert all(rank_each_other(judged(-0.25)) for _ in range(20))
    pairs = [
        Agreement(one.n, 0.0, np.where(np.arange(5) == 0, 0.8, one.with_each))
        for one in judged(0.0)
    ]
    assert rank_each_other(pairs)
    assert rank_each_other([])


def test_the_guard_leaves_hypotheses_their_order_and_needs_one_of_no_transfer() -> None:
    prior = np.array([0.1, 0.3, 0.4, 0.2])
    result = guard_before_results(prior, np.array([True, True, False, False]))
    np.testing.assert_allclose(result, [0.225, 0.675, 0.2 / 3, 0.1 / 3])
    for same in (True, False):
        np.testing.assert_array_equal(guard_before_results(prior, np.full(4, same)), prior)


def log_prior(nothing: float) -> FloatArray:
    """Five hypotheses, the first two of which have so much of the probability."""
    return np.log([0.25 * nothing, 0.75 * nothing, *((1.0 - nothing) * np.array([0.5, 0.3, 0.2]))])


@pytest.mark.parametrize("nothing", [0.02, 0.3])
def test_results_against_past_tasks_leave_these_half_of_the_prior(nothing: float) -> None:
    """All else keeps its proportions; by how much the results speak against them is evidence."""
    prior = log_prior(nothing)
    after = guard_during_search(prior, np.array([0.0, 1.0, -0.5, 0.0, 0.5]), NOTHING, 5)
    np.testing.assert_allclose(np.exp(after[:2]), [0.125, 0.375])
    np.testing.assert_allclose(np.exp(after[2:]), [0.25, 0.15, 0.1])


def test_it_is_the_average_over_each_side_that_counts() -> None:
    """One hypothesis of past tasks that fits better than all others is enough, if it is likely."""
    prior = log_prior(0.1)
    for best, is_same in ((0.0, False), (2.0, True)):
        evidence = np.array([0.0, 0.0, best, -2.0, -2.0])
        speaks_for = logsumexp(evidence[2:], b=[0.5, 0.3, 0.2]) > 0.0
        assert speaks_for == is_same
        after = guard_during_search(prior, evidence, NOTHING, 5)
        assert (after is prior) == is_same


def test_doubt_needs_results_and_a_choice() -> None:
    """Four results say too little; and doubt is never lessened."""
    prior, against = log_prior(0.02), np.array([9.0, 9.0, 0.0, 0.0, 0.0])
    assert guard_during_search(prior, against, NOTHING, 4) is prior
    assert guard_during_search(prior, against, NOTHING, 5) is not prior
    doubtful = log_prior(0.9)
    assert guard_during_search(doubtful, against, NOTHING, 9) is doubtful
    for same in (True, False):
        assert guard_during_search(prior, against, np.full(5, same), 9) is prior
