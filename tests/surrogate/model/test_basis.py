from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from surrogate_nas.surrogate.model import basis, past_models, prior
from surrogate_nas.surrogate.model.basis import POOLED, PastBasis, empty_basis
from surrogate_nas.surrogate.model.boosting import leaf_numbers, normal_scores
from surrogate_nas.surrogate.model.hypotheses import Hypotheses
from surrogate_nas.surrogate.model.kernel import KernelDistances
from surrogate_nas.surrogate.model.linear import Basis
from surrogate_nas.surrogate.model.past_models import MAX_BASIS
from surrogate_nas.surrogate.model.posterior import Posterior
from surrogate_nas.surrogate.model.prior import MOST_TREES
from tests.helpers.bases import (
    GRID,
    N_MANY,
    Tasks,
    mixes,
    shapes,
    tasks,
)

pytestmark = pytest.mark.slow


def test_no_past_tasks_make_an_empty_basis() -> None:
    empty = empty_basis()
    assert empty.mean.shape == empty.variance.shape == (0,)
    rows = np.zeros((7, 3))
    assert empty.raw(rows).shape == empty.leaves(rows).shape == (7, 0)
    assert empty.hypotheses.rows().tolist() == Hypotheses.grid(with_basis=False).rows().tolist()
    assert empty.log_prior.shape == (len(empty.hypotheses),)
    nothing = KernelDistances(*np.zeros((3, 0, 0)))
    seen = empty.at(empty.raw(rows[:0]))
    model = Posterior(empty.hypotheses, seen, nothing, np.zeros(0), empty.log_prior)
    assert model.transfer == 0


def test_one_task_has_one_basis_function() -> None:
    fitted = tasks(mixes(1)).fit()
    assert len(fitted.boosters) == 1
    np.testing.assert_array_equal(fitted.loadings, [[1.0]])


@pytest.mark.parametrize("n_tasks", [2, 3, MAX_BASIS])
def test_few_tasks_have_a_basis_function_each_and_one_together(n_tasks: int) -> None:
    past = tasks(mixes(n_tasks))
    fitted = past.fit()
    assert len(fitted.boosters) == n_tasks + 1
    wanted = np.column_stack([np.eye(n_tasks), np.full(n_tasks, POOLED)])
    np.testing.assert_allclose(fitted.loadings, wanted / np.hypot(1, POOLED))
    # A task's own and the common function are as sure as one alone would be.
    np.testing.assert_allclose((fitted.loadings**2).sum(axis=1), 1.0)
    np.testing.assert_allclose(fitted.mean, fitted.loadings.mean(axis=0))
    np.testing.assert_allclose(fitted.variance, (fitted.loadings**2).mean(axis=0))
    for k, (x, y) in enumerate(zip(past.rows, past.y, strict=True)):
        assert spearmanr(fitted.raw(x)[:, k], y).statistic > 0.9


def test_the_common_function_knows_what_no_task_alone_has_seen() -> None:
    # Eight halves of one and the same task, with few architectures each.
    past = tasks(np.tile([[0.5, 0.3, 0.2]], (8, 1)), n=25)
    x = np.random.default_rng(7).random((300, 4))
    truth = np.stack(shapes(x), axis=1) @ [0.5, 0.3, 0.2]
    *own, together = (spearmanr(one, truth).statistic for one in past.fit().raw(x).T)
    assert together > np.max(own)
    assert together > 0.9


def test_the_common_function_reads_some_of_many_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    past = tasks(mixes(3))
    whole = past.fit()
    monkeypatch.setattr(basis, "_POOLED_ROWS", 60)
    some = past.fit()
    *own, together = whole.raw(past.space_rows).T
    *same, other = some.raw(past.space_rows).T
    np.testing.assert_array_equal(own, same)
    assert 0.5 < np.corrcoef(together, other)[0, 1] < 0.999


@pytest.mark.parametrize("n_tasks", [1, 3, MAX_BASIS + 2])
def test_leaves_are_those_of_the_first_trees_of_each_function(n_tasks: int) -> None:
    past = tasks(mixes(n_tasks))
    fitted = past.fit()
    found = fitted.leaves(past.space_rows)
    assert found.shape[0] == len(past.space_rows)
    assert len(fitted.boosters) <= found.shape[1] <= MOST_TREES
    wanted = leaf_numbers(fitted.boosters, past.space_rows, MOST_TREES)
    np.testing.assert_array_equal(found, wanted)


def test_basis_functions_are_standardized_over_space_and_past_architectures() -> None:
    past = tasks(mixes(3))
    values = past.fit().raw(np.concatenate([past.space_rows, *past.rows]))
    np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(values.std(axis=0), 1.0, rtol=1e-9)


def test_the_prior_of_the_weights_is_attached() -> None:
    past = tasks(mixes(2))
    fitted = past.fit()
    values = fitted.raw(past.space_rows)
    for y in (None, np.arange(200.0)):
        attached = fitted.at(values, y)
        assert isinstance(attached, Basis)
        np.testing.assert_array_equal(attached.values, values)
        np.testing.assert_array_equal(attached.mean, fitted.mean)
        np.testing.assert_array_equal(attached.variance, fitted.variance)
        np.testing.assert_array_equal(attached.tasks, fitted.loadings)


def test_units_of_past_tasks_do_not_matter() -> None:
    past = tasks(mixes(3))
    other = Tasks(past.rows, [np.exp(normal_scores(y)) for y in past.y], past.space_rows)
    one, same = past.fit(), other.fit()
    np.testing.assert_array_equal(one.raw(past.space_rows), same.raw(past.space_rows))
    np.testing.assert_array_equal(one.log_prior, same.log_prior)


@pytest.mark.parametrize("n_tasks", [3, MAX_BASIS + 2])
def test_fits_are_the_same_bit_for_bit(n_tasks: int) -> None:
    past = tasks(mixes(n_tasks), n=30)
    one, same = past.fit(seed=5), past.fit(seed=5)
    np.testing.assert_array_equal(one.raw(past.space_rows), same.raw(past.space_rows))
    np.testing.assert_array_equal(one.loadings, same.loadings)
    np.testing.assert_array_equal(one.log_prior, same.log_prior)
    other = past.fit(seed=6)
    assert not np.array_equal(one.raw(past.space_rows), other.raw(past.space_rows))


def test_a_past_task_that_teaches_nothing_breaks_nothing() -> None:
    past = tasks(mixes(2))
    past.rows.append(np.random.default_rng(9).random((2, 4)))
    past.y.append(np.array([0.0, 0.0]))
    fitted = past.fit()
    values = fitted.raw(past.space_rows)
    np.testing.assert_allclose(values[:, 2], 0.0, atol=1e-9)
    assert np.isfinite(values).all()
    assert np.isfinite(fitted.log_prior).all()


@pytest.fixture(scope="module")
def many() -> tuple[Tasks, PastBasis]:
    """More past tasks than basis functions."""
    past = tasks(mixes(N_MANY))
    return past, past.fit()


@pytest.fixture(scope="module")
def uncompressed(many: tuple[Tasks, PastBasis]) -> PastBasis:
    """The same with a basis function each."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (basis, past_models, prior):
            patch.setattr(module, "MAX_BASIS", N_MANY)
        return many[0].fit()


def test_many_tasks_are_compressed(many: tuple[Tasks, PastBasis]) -> None:
    past, fitted = many
    assert len(fitted.boosters) == MAX_BASIS
    assert fitted.loadings.shape == (N_MANY, MAX_BASIS)
    assert fitted.raw(past.space_rows).shape == (200, MAX_BASIS)
    assert fitted.log_prior.shape == (len(GRID),)


def test_of_many_tasks_the_target_may_be_like_those_that_rank_its_results_best(
    many: tuple[Tasks, PastBasis],
) -> None:
    past, fitted = many
    values = fitted.raw(past.space_rows)
    predictions = values @ fitted.loadings.T
    for sign in (1.0, -1.0):
        y = sign * predictions[:, 5] + 0.1 * np.random.default_rng(0).normal(size=200)
        correlations = [np.corrcoef(one, y)[0, 1] for one in predictions.T]
        best = np.sort(np.argsort(correlations)[-basis._ONE_OF :])
        assert (5 in best) == (sign > 0)
        attached = fitted.at(values, y)
        np.testing.assert_array_equal(attached.tasks, fitted.loadings[best])
    assert basis._ONE_OF < N_MANY


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_results_choose_among_many_tasks_without_an_error(
    many: tuple[Tasks, PastBasis], n: int
) -> None:
    past, fitted = many
    values = fitted.raw(past.space_rows[:n])
    for y in (None, np.zeros(n), np.arange(float(n))):
        attached = fitted.at(values, y)
        assert attached.tasks.shape == (basis._ONE_OF, MAX_BASIS)
        assert np.isfinite(attached.tasks).all()


def test_loadings_give_each_task_back(
    many: tuple[Tasks, PastBasis], uncompressed: PastBasis
) -> None:
    _, fitted = many
    x = np.random.default_rng(5).random((300, 4))
    again, wanted = fitted.raw(x) @ fitted.loadings.T, uncompressed.raw(x)[:, :N_MANY]
    correlations = [np.corrcoef(a, w)[0, 1] for a, w in zip(again.T, wanted.T, strict=True)]
    assert np.min(correlations) > 0.8
    assert np.mean(correlations) > 0.9


def test_compression_keeps_the_mean_of_all_tasks(
    many: tuple[Tasks, PastBasis], uncompressed: PastBasis
) -> None:
    _, fitted = many
    x = np.random.default_rng(6).random((300, 4))
    mean = fitted.raw(x) @ fitted.mean
    wanted = uncompressed.raw(x)[:, :N_MANY].mean(axis=1)
    assert spearmanr(mean, wanted).statistic > 0.9
    assert mean.std() == pytest.approx(wanted.std(), rel=0.1)


def test_compression_keeps_the_prior_variance(many: tuple[Tasks, PastBasis]) -> None:
    fitted = many[1]
    # Each task has variance 1 over the landmarks; the last components of 24 are cut off.
    assert 0.95 < fitted.variance.sum() <= 1.0
    assert np.all(np.diff(fitted.variance) <= 1e-12)
    # Three functions make up all tasks, so few components carry nearly all of it.
    assert fitted.variance[:4].sum() > 0.8


def test_the_sign_of_components_is_fixed(many: tuple[Tasks, PastBasis]) -> None:
    assert np.all(many[1].loadings.sum(axis=0) >= -1e-9)
