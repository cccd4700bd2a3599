"""The grid of hypotheses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from surrogate_nas.surrogate.model import hypotheses
from surrogate_nas.surrogate.model.hypotheses import MEAN, NOTHING, ONE, Hypotheses, Hypothesis
from surrogate_nas.surrogate.model.kernel import Kernel
from tests.helpers.worlds import EVERY, GRID, N_TASKS, ORIGIN


def test_the_grid_holds_every_combination_once() -> None:
    rows = [tuple(row) for row in GRID.rows()]
    wanted = itertools.product(
        hypotheses.TRANSFERS, hypotheses.RESIDUALS, hypotheses.KERNELS, hypotheses.NOISES
    )
    assert len(GRID) == len(rows) == len(set(rows))
    assert set(rows) == {(*pair, r, *kernel, noise) for pair, r, kernel, noise in wanted}


def test_the_grid_of_one_s_own_choice() -> None:
    grid = Hypotheses.grid(
        transfers=[(ONE, 0.1)], residuals=[1.0, 2.0], kernels=[(0.5, 0.2, 1.0)], noises=[0.3]
    )
    assert grid.rows().tolist() == [[ONE, 0.1, r, 0.5, 0.2, 1.0, 0.3] for r in (1.0, 2.0)]


def test_without_past_tasks_no_hypothesis_needs_them() -> None:
    alone = Hypotheses.grid(with_basis=False)
    assert not alone.transfer.any()
    assert not alone.weight.any()
    assert not alone.leaves.any()
    ignoring = GRID.rows()[(GRID.transfer == NOTHING) & (GRID.leaves == 0)]
    np.testing.assert_array_equal(alone.rows(), ignoring)


@pytest.mark.parametrize("n_tasks", [1, 2, 5])
def test_spread_out_is_the_grid_with_one_hypothesis_for_each_task(n_tasks: int) -> None:
    every, origin, task = GRID.spread_out(n_tasks)
    is_one = GRID.transfer == ONE
    assert len(every) == len(origin) == len(task) == (~is_one).sum() + n_tasks * is_one.sum()
    np.testing.assert_array_equal(every.rows(), GRID.rows()[origin])
    np.testing.assert_array_equal(task >= 0, every.transfer == ONE)
    for g in np.flatnonzero(is_one):
        assert sorted(task[origin == g].tolist()) == list(range(n_tasks))
    assert np.all(np.bincount(origin)[~is_one] == 1)


def test_a_hypothesis_has_named_fields() -> None:
    rows = np.array([[ONE, 0.1, 1.0, 0.5, 0.2, 1.0, 0.3], [MEAN, 0.5, 0.2, 2.0, 0.0, 0.0, 0.1]])
    grid = Hypotheses.from_rows(rows)
    assert grid.each() == [
        Hypothesis(ONE, 0.1, 1.0, Kernel(length=0.5, traits=0.2, leaves=1.0), 0.3),
        Hypothesis(MEAN, 0.5, 0.2, Kernel(length=2.0, traits=0.0, leaves=0.0), 0.1),
    ]
    np.testing.assert_array_equal(grid.rows(), rows)
    np.testing.assert_array_equal(grid.take(np.array([1])).rows(), rows[[1]])


def test_hypotheses_without_transfer_are_what_differs_in_more_than_that() -> None:
    rest, place = EVERY.without_transfer()
    assert not rest.transfer.any()
    np.testing.assert_array_equal(rest.rows()[place, 1:], EVERY.rows()[:, 1:])
    assert len({tuple(row) for row in rest.rows()}) == len(rest) < len(EVERY)


def test_past_tasks_share_a_prior_and_average_an_evidence() -> None:
    grid = GRID.spread_out(N_TASKS)
    log_prior = np.log(np.random.default_rng(0).dirichlet(np.ones(len(GRID))))
    split = np.exp(grid.split(log_prior))
    np.testing.assert_allclose(np.bincount(ORIGIN, split), np.exp(log_prior))
    for g in np.flatnonzero(GRID.transfer == ONE):
        assert np.ptp(split[g == ORIGIN]) == 0.0
    evidence = np.random.default_rng(1).normal(size=len(EVERY))
    wanted = [np.log(np.exp(evidence[g == ORIGIN]).mean()) for g in range(len(GRID))]
    np.testing.assert_allclose(grid.averaged(evidence), wanted)
