from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import norm, rankdata, spearmanr

from surrogate_nas.surrogate.model.boosting import (
    average_ranks,
    fit_trees,
    leaf_numbers,
    normal_scores,
    predict_trees,
    rank_correlation,
    same_leaf,
)

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


@pytest.mark.parametrize(("most", "each"), [(2, 1), (3, 1), (20, 10), (1, 1), (10_000, 60)])
def test_leaf_numbers_are_those_of_the_first_trees_of_each_model(most: int, each: int) -> None:
    models = [fit_trees(*rows(100, seed=seed), seed=seed) for seed in (0, 1)]
    x, _ = rows(30, seed=2)
    found = leaf_numbers(models, x, most)
    wanted = [np.asarray(model.predict(x, pred_leaf=True))[:, :each] for model in models]
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found, np.hstack(wanted))


def test_rows_in_the_same_leaf_of_a_tree_are_predicted_alike_by_it() -> None:
    model = fit_trees(*rows(100), seed=0)
    x, _ = rows(30, seed=1)
    (leaves,) = leaf_numbers([model], x, 1).T
    first = np.asarray(model.predict(x, num_iteration=1))
    assert len(set(leaves.tolist())) > 3
    for leaf in set(leaves.tolist()):
        assert len(set(first[leaves == leaf].tolist())) == 1


def test_leaf_numbers_without_models_or_rows() -> None:
    model = fit_trees(*rows(100), seed=0)
    assert leaf_numbers([], np.zeros((4, 5)), 10).shape == (4, 0)
    assert leaf_numbers([model], np.zeros((0, 5)), 10).shape[0] == 0


def test_same_leaf_is_the_share_of_trees() -> None:
    a = np.array([[0, 1, 2, 3], [0, 0, 0, 0]], dtype=np.int16)
    b = np.array([[0, 1, 2, 3], [0, 1, 5, 5], [4, 4, 4, 4]], dtype=np.int16)
    np.testing.assert_array_equal(same_leaf(a, b), [[1.0, 0.5, 0.0], [0.25, 0.25, 0.0]])


@pytest.mark.parametrize(("n", "m", "t"), [(0, 3, 0), (3, 0, 0), (0, 0, 0), (2, 3, 0)])
def test_without_rows_or_trees_nothing_is_in_the_same_leaf(n: int, m: int, t: int) -> None:
    a, b = np.zeros((n, t), dtype=np.int16), np.zeros((m, t), dtype=np.int16)
    np.testing.assert_array_equal(same_leaf(a, b), np.zeros((n, m)))


def test_same_leaf_is_a_kernel() -> None:
    # Symmetric, 1 with itself, and no negative variance of anything.
    models = [fit_trees(*rows(100), seed=0)]
    leaves = leaf_numbers(models, rows(40, seed=1)[0], 20)
    together = same_leaf(leaves, leaves)
    np.testing.assert_array_equal(together, together.T)
    np.testing.assert_array_equal(np.diag(together), 1.0)
    assert np.linalg.eigvalsh(together).min() > -1e-9
    assert 0 < together[~np.eye(40, dtype=bool)].mean() < 1


@pytest.mark.parametrize("n", [1, 2, 7, 100])
@pytest.mark.parametrize("n_values", [1, 3, 1000])
def test_ranks_are_scipy_s(n: int, n_values: int) -> None:
    y = np.random.default_rng(n).integers(0, n_values, n).astype(float)

    assert np.array_equal(average_ranks(y), rankdata(y))
