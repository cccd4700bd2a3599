from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import spearmanr

from surrogate_nas import basis
from surrogate_nas.basis import MAX_BASIS, POOLED, PastBasis, PastModels, empty_basis, fit_models
from surrogate_nas.boosting import leaf_numbers, normal_scores, predict_trees
from surrogate_nas.distillation import Points
from surrogate_nas.hypotheses import KERNELS, MEAN, NOISES, ONE, RESIDUALS, TRANSFERS, Hypotheses
from surrogate_nas.posterior import Basis, Nearness, Posterior

FloatArray = npt.NDArray[np.float64]

GRID = Hypotheses.grid()


def near(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean absolute difference of coordinates, and again in place of traits."""
    apart = np.asarray(np.abs(a[:, None] - b[None]).mean(axis=2))
    return apart, apart


def shapes(x: FloatArray) -> list[FloatArray]:
    """Three functions of rows (n, 4) in [0, 1] that have little to do with each other."""
    return [
        2 * x[:, 0] + x[:, 1] ** 2,
        np.sin(6 * x[:, 2]) + 0.5 * x[:, 3],
        (x[:, 0] - 0.5) * (x[:, 3] - 0.5) * 4 - x[:, 1],
    ]


@dataclass(frozen=True)
class Tasks:
    """Past tasks: rows, which are their own coordinates, and values."""

    rows: list[FloatArray]
    gains: list[FloatArray]
    space_rows: FloatArray

    def fit(self, seed: int = 0) -> PastBasis:
        return self.models(seed).basis()[0]

    def models(self, seed: int = 0, hypotheses: Hypotheses = GRID) -> PastModels:
        return fit_models(
            [Points(x, x) for x in self.rows],
            self.gains,
            features=[None] * len(self.rows),
            space=Points(self.space_rows, self.space_rows),
            distances=near,
            hypotheses=hypotheses,
            seed=seed,
        )


def tasks(mixes: FloatArray, n: int = 50) -> Tasks:
    """One task for each row of mixes (K, 3), which weigh the three functions."""
    rng = np.random.default_rng(0)
    rows = [rng.random((n, 4)) for _ in mixes]
    gains = [
        # The units of tasks differ; nothing may depend on them.
        10.0 ** rng.integers(-3, 4)
        * (np.stack(shapes(x), axis=1) @ mix + rng.normal(0.0, 0.02, n))
        for x, mix in zip(rows, mixes, strict=True)
    ]
    return Tasks(rows, gains, rng.random((200, 4)))


def mixes(n_tasks: int, seed: int = 1) -> FloatArray:
    """Random positive shares of the three functions, so that tasks are related."""
    return np.random.default_rng(seed).dirichlet(np.ones(3), n_tasks)


def test_no_past_tasks_make_an_empty_basis() -> None:
    empty = empty_basis()
    assert empty.mean.shape == empty.variance.shape == (0,)
    rows = np.zeros((7, 3))
    assert empty.raw(rows).shape == empty.leaves(rows).shape == (7, 0)
    assert empty.hypotheses.rows().tolist() == Hypotheses.grid(with_basis=False).rows().tolist()
    assert empty.log_prior.shape == (len(empty.hypotheses),)
    nothing = Nearness(*np.zeros((3, 0, 0)))
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
    for k, (x, y) in enumerate(zip(past.rows, past.gains, strict=True)):
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
    assert len(fitted.boosters) <= found.shape[1] <= basis._LEAVES
    wanted = leaf_numbers(fitted.boosters, past.space_rows, basis._LEAVES)
    np.testing.assert_array_equal(found, wanted)


def test_basis_functions_are_standardized_over_space_and_past_architectures() -> None:
    past = tasks(mixes(3))
    values = past.fit().raw(np.concatenate([past.space_rows, *past.rows]))
    np.testing.assert_allclose(values.mean(axis=0), 0.0, atol=1e-9)
    np.testing.assert_allclose(values.std(axis=0), 1.0, rtol=1e-9)


def test_many_past_architectures_are_represented_by_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basis, "_LANDMARKS", 210)
    past = tasks(mixes(2))
    known, space = [Points(x, x) for x in past.rows], Points(past.space_rows, past.space_rows)
    landmarks = basis._landmarks(known, space, np.random.default_rng(0)).rows
    assert len(landmarks) == 210
    np.testing.assert_array_equal(landmarks[:200], past.space_rows)
    pooled = {tuple(row) for row in np.concatenate(past.rows)}
    chosen = {tuple(row) for row in landmarks[200:]}
    assert len(chosen) == 10
    assert chosen <= pooled


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
    other = Tasks(past.rows, [np.exp(normal_scores(y)) for y in past.gains], past.space_rows)
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
    past.gains.append(np.array([0.0, 0.0]))
    fitted = past.fit()
    values = fitted.raw(past.space_rows)
    np.testing.assert_allclose(values[:, 2], 0.0, atol=1e-9)
    assert np.isfinite(values).all()
    assert np.isfinite(fitted.log_prior).all()


N_MANY = MAX_BASIS + 8


@pytest.fixture(scope="module")
def many() -> tuple[Tasks, PastBasis]:
    """More past tasks than basis functions."""
    past = tasks(mixes(N_MANY))
    return past, past.fit()


@pytest.fixture(scope="module")
def uncompressed(many: tuple[Tasks, PastBasis]) -> PastBasis:
    """The same with a basis function each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(basis, "MAX_BASIS", N_MANY)
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


def test_one_past_task_says_nothing_about_the_world() -> None:
    np.testing.assert_array_equal(tasks(mixes(1)).fit().log_prior, 0.0)


def test_the_prior_is_a_probability_that_rules_nothing_out() -> None:
    log_prior = tasks(mixes(4)).fit().log_prior
    assert np.exp(log_prior).sum() == pytest.approx(1.0)
    assert log_prior.min() >= np.log(1 / len(log_prior) / 5) - 1e-9


def test_the_prior_is_of_the_hypotheses_that_were_asked_for() -> None:
    own = Hypotheses.grid(transfers=[(MEAN, 0.5), (ONE, 0.3)], noises=[0.1])
    fitted = tasks(mixes(3)).models(hypotheses=own).basis()[0]
    assert fitted.hypotheses is own
    assert fitted.log_prior.shape == (len(own),)


def test_the_prior_leaves_every_kernel_an_equal_share() -> None:
    # Past tasks of mere noise would teach that neighbours have nothing in common.
    prior = np.exp(tasks(mixes(4)).fit().log_prior).reshape(
        len(TRANSFERS), len(RESIDUALS), len(KERNELS), len(NOISES)
    )
    np.testing.assert_allclose(prior, np.broadcast_to(prior[:, :, :1], prior.shape))
    assert prior.max() > 2 * prior.min()


def masses(fitted: PastBasis) -> list[float]:
    """Prior probability of each way to use past tasks, in the order of TRANSFERS."""
    prior = np.exp(fitted.log_prior)
    return [
        float(prior[(GRID.transfer == transfer) & (GRID.weight == weight)].sum())
        for transfer, weight in TRANSFERS
    ]


def test_the_prior_learns_what_past_tasks_say_of_each_other() -> None:
    alike = tasks(np.tile([[1.0, 0.5, 0.0]], (8, 1)))
    # Half of the tasks want the opposite: they say much, but their mean says nothing.
    contrary = replace(alike, gains=[y * (-1) ** k for k, y in enumerate(alike.gains)])
    rng = np.random.default_rng(3)
    unrelated = replace(alike, gains=[rng.permutation(y) for y in alike.gains])

    # Four pairs of twins: in all others there is one task to be like.
    pairs = tasks(np.repeat(3 * np.random.default_rng(5).normal(size=(4, 3)), 2, axis=0))

    ignored, mean, _, any_sign, one = masses(alike.fit())
    assert mean > 0.7
    assert max(ignored, any_sign, one) < 0.1
    ignored, mean, _, any_sign, one = masses(contrary.fit())
    assert any_sign + one > 0.7
    assert max(ignored, mean) < 0.1
    ignored, *used = masses(unrelated.fit())
    assert ignored > 0.88
    assert max(used) < 0.1
    ignored, mean, near_mean, any_sign, one = masses(pairs.fit())
    assert one > max(ignored, mean, near_mean, any_sign)


def test_past_tasks_that_rank_each_other_by_chance_say_nothing() -> None:
    rng = np.random.default_rng(0)

    def judged(rho: float) -> list[tuple[int, float, FloatArray]]:
        """Six tasks of 101 values, each ranked by five others."""
        each = [rho + rng.normal(0.0, 0.1, 5) for _ in range(6)]
        return [(101, float(one.mean()), one) for one in each]

    assert sum(basis._say_anything(judged(0.0)) for _ in range(200)) < 20
    assert all(basis._say_anything(judged(0.15)) for _ in range(20))
    # Upside down says something, too, as does one good task for each among four of no worth.
    assert all(basis._say_anything(judged(-0.25)) for _ in range(20))
    pairs = [(n, 0.0, np.where(np.arange(5) == 0, 0.8, each)) for n, _, each in judged(0.0)]
    assert basis._say_anything(pairs)
    assert basis._say_anything([])


def test_doubt_leaves_hypotheses_their_order_and_needs_one_of_no_transfer() -> None:
    prior = np.array([0.1, 0.3, 0.4, 0.2])
    doubted = basis._doubted(prior, np.array([True, True, False, False]))
    np.testing.assert_allclose(doubted, [0.225, 0.675, 0.2 / 3, 0.1 / 3])
    for same in (True, False):
        np.testing.assert_array_equal(basis._doubted(prior, np.full(4, same)), prior)


def test_quality_says_how_well_the_others_predict_a_task() -> None:
    alike = np.array([[0.5, 0.3, 0.2]]) + 0.05 * np.random.default_rng(0).random((7, 3))
    past = tasks(alike, n=200)
    past.gains[1] = np.random.default_rng(1).permutation(past.gains[1])
    past.gains[2] = -past.gains[2]
    _, quality = past.models().basis()
    assert all(one is not None for one in quality)
    good, shuffled, negated, *others = (float(one or 0.0) for one in quality)
    assert min(good, *others) > 0.4
    assert abs(shuffled) < 0.3
    assert negated < -0.4


def test_quality_is_the_rank_correlation_with_the_mean_of_the_others() -> None:
    models = tasks(mixes(4), n=60).models()
    _, quality = models.basis()
    shift, spread = models.predictions.mean(axis=0), models.predictions.std(axis=0)
    for task in range(4):
        others = [k for k in range(4) if k != task]
        predicted = [
            (predict_trees(models.boosters[k], models.known[task].rows) - shift[k]) / spread[k]
            for k in others
        ]
        wanted = spearmanr(np.mean(predicted, axis=0), models.gains[task]).statistic
        assert quality[task] == pytest.approx(wanted)


def test_quality_is_unknown_of_a_single_task_and_of_few_values() -> None:
    assert tasks(mixes(1)).models().basis()[1] == [None]
    past = tasks(mixes(2))
    past.rows.append(past.rows[0][:4])
    past.gains.append(past.gains[0][:4])
    quality = past.models().basis()[1]
    assert [one is None for one in quality] == [False, False, True]


def test_of_many_tasks_some_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(basis, "_JUDGED", 5)
    past = tasks(mixes(9), n=20)
    quality = past.models().basis()[1]
    assert sum(one is not None for one in quality) == 5
    assert past.models().basis()[1] == quality


@pytest.mark.parametrize("n_tasks", [4, MAX_BASIS + 3])
def test_a_task_left_out_plays_no_part(n_tasks: int) -> None:
    past = tasks(mixes(n_tasks), n=30)
    left_out, quality = past.models().basis(without=1)
    assert len(left_out.loadings) == len(quality) == n_tasks - 1
    other = Tasks(past.rows, [*past.gains], past.space_rows)
    other.gains[1] = np.random.default_rng(3).permutation(past.gains[1])
    same, same_quality = other.models().basis(without=1)
    np.testing.assert_array_equal(left_out.raw(past.space_rows), same.raw(past.space_rows))
    np.testing.assert_array_equal(left_out.log_prior, same.log_prior)
    np.testing.assert_array_equal(left_out.loadings, same.loadings)
    assert quality == same_quality


def test_leaving_out_is_like_fitting_to_the_others() -> None:
    past = tasks(mixes(5), n=80)
    left_out, _ = past.models().basis(without=4)
    fitted = Tasks(past.rows[:4], past.gains[:4], past.space_rows).fit()
    for one, other in zip(
        left_out.raw(past.space_rows).T, fitted.raw(past.space_rows).T, strict=True
    ):
        assert np.corrcoef(one, other)[0, 1] > 0.99
