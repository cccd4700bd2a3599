"""The grid of hypotheses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from surrogate_nas.surrogate.model import hypotheses
from surrogate_nas.surrogate.model.hypotheses import NOTHING, ONE, Hypotheses
from tests.helpers.worlds import (
    GRID,
)


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
