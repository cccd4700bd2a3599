"""A past task's trees, taught by a stronger teacher where results are few."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import spearmanr

from surrogate_nas.surrogate.model.boosting import fit_trees, normal_scores, predict_trees
from surrogate_nas.surrogate.model.distillation import (
    MOST_TAUGHT,
    Points,
    concatenated,
    fit_taught,
)

FloatArray = npt.NDArray[np.float64]


def distance_between(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean absolute difference of coordinates, and again in place of traits."""
    apart = np.asarray(np.abs(a[:, None] - b[None]).mean(axis=2))
    return apart, apart


def points(n: int, seed: int) -> Points:
    """Random rows (n, 5) that are their own coordinates."""
    rows = np.random.default_rng(seed).random((n, 5))
    return Points(rows, rows)


def truth(x: FloatArray) -> FloatArray:
    """A smooth function of all columns but the last."""
    return np.asarray(2 * x[:, 0] + np.sin(5 * x[:, 1]) + x[:, 2] * x[:, 3])


def correlation(known: Points, y: FloatArray, *, is_taught: bool, seed: int = 0) -> float:
    """How well trees rank 500 architectures that they have not seen."""
    space, new = points(400, 1), points(500, 2)
    model = (
        fit_taught(known, normal_scores(y), space, distance_between, seed)
        if is_taught
        else fit_trees(known.rows, normal_scores(y), seed)
    )
    return float(spearmanr(predict_trees(model, new.rows), truth(new.rows)).statistic)


@pytest.mark.parametrize(("n", "gain"), [(15, 0.01), (40, 0.02), (100, 0.005)])
def test_on_few_results_the_taught_trees_rank_better(n: int, gain: float) -> None:
    taught, alone = [], []
    for seed in range(4):
        known = points(n, 10 + seed)
        y = truth(known.rows) + np.random.default_rng(seed).normal(0.0, 0.2, n)
        taught.append(correlation(known, y, is_taught=True, seed=seed))
        alone.append(correlation(known, y, is_taught=False, seed=seed))
    assert np.mean(taught) > np.mean(alone) + gain


def test_on_many_results_they_are_the_trees_alone() -> None:
    known = points(MOST_TAUGHT + 1, 3)
    y = normal_scores(truth(known.rows))
    model = fit_taught(known, y, points(50, 4), distance_between, seed=7)
    assert model.model_to_string() == fit_trees(known.rows, y, 7).model_to_string()


def test_the_same_seed_teaches_the_same_trees() -> None:
    known, space = points(30, 3), points(100, 4)
    y = normal_scores(truth(known.rows))
    one, same, other = (fit_taught(known, y, space, distance_between, seed) for seed in (1, 1, 2))
    assert one.model_to_string() == same.model_to_string()
    assert one.model_to_string() != other.model_to_string()


def test_equal_results_teach_a_constant() -> None:
    known, space = points(6, 3), points(20, 4)
    model = fit_taught(known, np.zeros(6), space, distance_between, seed=0)
    assert np.ptp(predict_trees(model, space.rows)) == 0.0


def test_architectures_are_taken_and_put_together_in_order() -> None:
    a, b = points(3, 0), Points(np.ones((2, 5)), np.zeros((2, 4))[:, :4])
    a = Points(a.rows, a.points[:, :4])
    whole = concatenated([a, b])
    assert len(whole) == 5
    np.testing.assert_array_equal(whole.rows, np.vstack([a.rows, b.rows]))
    np.testing.assert_array_equal(whole.points, np.vstack([a.points, b.points]))
    taken = whole.take(np.array([4, 0]))
    np.testing.assert_array_equal(taken.rows, whole.rows[[4, 0]])
    np.testing.assert_array_equal(taken.points, whole.points[[4, 0]])
