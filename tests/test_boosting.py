from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import norm, spearmanr

from surrogate_nas.boosting import fit_trees, normal_scores, predict_trees, rank_correlation

FloatArray = npt.NDArray[np.float64]


def rows(n: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Rows (n, 5) and what is to be learned from them."""
    x = np.random.default_rng(seed).random((n, 5))
    return x, 2 * x[:, 0] - x[:, 1] ** 2 + np.sin(4 * x[:, 2])


def test_normal_scores_are_quantiles_of_the_ranks() -> None:
    y = np.array([30.0, -1e9, 20.0, 20.0, 40.0])
    # Ranks 4, 1, 2.5, 2.5, 5, each less a half, of 5.
    wanted = norm.ppf([0.7, 0.1, 0.4, 0.4, 0.9])
    np.testing.assert_allclose(normal_scores(y), wanted)


def test_normal_scores_look_at_the_order_alone() -> None:
    y = np.random.default_rng(0).normal(size=50)
    np.testing.assert_array_equal(normal_scores(y), normal_scores(np.exp(3 * y) - 7))
    np.testing.assert_allclose(normal_scores(-y), -normal_scores(y), atol=1e-12)


@pytest.mark.parametrize("n", [1, 2, 3, 100])
def test_normal_scores_are_finite_and_centered(n: int) -> None:
    scores = normal_scores(np.random.default_rng(n).normal(size=n))
    assert np.isfinite(scores).all()
    assert scores.mean() == pytest.approx(0.0, abs=1e-12)


def test_normal_scores_of_equal_values_are_zero() -> None:
    np.testing.assert_allclose(normal_scores(np.full(7, 3.0)), 0.0, atol=1e-12)


@pytest.mark.parametrize("n", [40, 200])
def test_trees_learn_an_easy_function(n: int) -> None:
    x, y = rows(n)
    new, truth = rows(100, seed=1)
    predicted = predict_trees(fit_trees(x, y, seed=0), new)
    assert predicted.shape == (100,)
    assert spearmanr(predicted, truth).statistic > 0.85


def test_fits_are_the_same_bit_for_bit() -> None:
    x, y = rows(100)
    one, same = (fit_trees(x, y, seed=3) for _ in range(2))
    assert one.model_to_string() == same.model_to_string()
    np.testing.assert_array_equal(predict_trees(one, x), predict_trees(same, x))


def test_the_seed_has_a_say() -> None:
    x, y = rows(100)
    one, other = (fit_trees(x, y, seed=seed) for seed in (3, 4))
    assert one.model_to_string() != other.model_to_string()


@pytest.mark.parametrize("n", [2, 3, 5])
def test_few_rows_make_a_finite_model(n: int) -> None:
    x, y = rows(n)
    assert np.isfinite(predict_trees(fit_trees(x, y, seed=0), x)).all()


def test_absent_choices_are_learned_from_too() -> None:
    x, _ = rows(200)
    x[::2, 3] = np.nan
    y = np.where(np.isnan(x[:, 3]), -1.0, 1.0)
    predicted = predict_trees(fit_trees(x, y, seed=0), x)
    assert np.all(predicted * y > 0.5)


def test_does_not_change_its_arguments() -> None:
    x, y = rows(30)
    booster = fit_trees(x, y, seed=0)
    predict_trees(booster, x)
    again_x, again_y = rows(30)
    np.testing.assert_array_equal(x, again_x)
    np.testing.assert_array_equal(y, again_y)


def test_rank_correlation_is_spearmans_and_zero_where_nothing_is_ranked() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, 50).astype(float), rng.normal(size=50)
    assert rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert rank_correlation(b, np.exp(b)) == 1.0
    assert rank_correlation(b, -b) == -1.0
    assert rank_correlation(np.ones(50), b) == 0.0
