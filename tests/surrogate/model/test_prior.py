"""What past tasks say of each other before the first trial."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import spearmanr

from surrogate_nas.surrogate.model import prior
from surrogate_nas.surrogate.model.basis import PastBasis, assemble
from surrogate_nas.surrogate.model.boosting import predict_trees
from surrogate_nas.surrogate.model.hypotheses import (
    KERNELS,
    MEAN,
    NOISES,
    ONE,
    RESIDUALS,
    TRANSFERS,
    Hypotheses,
)
from surrogate_nas.surrogate.model.past_models import MAX_BASIS
from tests.helpers.bases import (
    GRID,
    Tasks,
    mixes,
    tasks,
)


def test_one_past_task_says_nothing_about_the_world() -> None:
    np.testing.assert_array_equal(tasks(mixes(1)).fit().log_prior, 0.0)


def test_the_prior_is_a_probability_that_rules_nothing_out() -> None:
    log_prior = tasks(mixes(4)).fit().log_prior
    assert np.exp(log_prior).sum() == pytest.approx(1.0)
    assert log_prior.min() >= np.log(1 / len(log_prior) / 5) - 1e-9


def test_the_prior_is_of_the_hypotheses_that_were_asked_for() -> None:
    own = Hypotheses.grid(transfers=[(MEAN, 0.5), (ONE, 0.3)], noises=[0.1])
    fitted = assemble(tasks(mixes(3)).models(hypotheses=own))[0]
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


@pytest.mark.no_cover
def test_the_prior_learns_what_past_tasks_say_of_each_other() -> None:
    alike = tasks(np.tile([[1.0, 0.5, 0.0]], (8, 1)))
    # Half of the tasks want the opposite: they say much, but their mean says nothing.
    contrary = replace(alike, y=[y * (-1) ** k for k, y in enumerate(alike.y)])
    rng = np.random.default_rng(3)
    unrelated = replace(alike, y=[rng.permutation(y) for y in alike.y])

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


def test_quality_says_how_well_the_others_predict_a_task() -> None:
    alike = np.array([[0.5, 0.3, 0.2]]) + 0.05 * np.random.default_rng(0).random((7, 3))
    past = tasks(alike, n=200)
    past.y[1] = np.random.default_rng(1).permutation(past.y[1])
    past.y[2] = -past.y[2]
    _, quality = assemble(past.models())
    assert all(one is not None for one in quality)
    good, shuffled, negated, *others = (float(one or 0.0) for one in quality)
    assert min(good, *others) > 0.4
    assert abs(shuffled) < 0.3
    assert negated < -0.4


def test_quality_is_the_rank_correlation_with_the_mean_of_the_others() -> None:
    models = tasks(mixes(4), n=60).models()
    _, quality = assemble(models)
    shift, spread = models.predictions.mean(axis=0), models.predictions.std(axis=0)
    for task in range(4):
        others = [k for k in range(4) if k != task]
        predicted = [
            (predict_trees(models.boosters[k], models.known[task].rows) - shift[k]) / spread[k]
            for k in others
        ]
        wanted = spearmanr(np.mean(predicted, axis=0), models.y[task]).statistic
        assert quality[task] == pytest.approx(wanted)


def test_quality_is_unknown_of_a_single_task_and_of_few_values() -> None:
    assert assemble(tasks(mixes(1)).models())[1] == [None]
    past = tasks(mixes(2))
    past.rows.append(past.rows[0][:4])
    past.y.append(past.y[0][:4])
    quality = assemble(past.models())[1]
    assert [one is None for one in quality] == [False, False, True]


def test_of_many_tasks_some_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prior, "MOST_JUDGED", 5)
    past = tasks(mixes(9), n=20)
    quality = assemble(past.models())[1]
    assert sum(one is not None for one in quality) == 5
    assert assemble(past.models())[1] == quality


@pytest.mark.parametrize("n_tasks", [4, MAX_BASIS + 3])
def test_a_task_left_out_plays_no_part(n_tasks: int) -> None:
    past = tasks(mixes(n_tasks), n=30)
    left_out, quality = assemble(past.models(), without=1)
    assert len(left_out.loadings) == len(quality) == n_tasks - 1
    other = Tasks(past.rows, [*past.y], past.space_rows)
    other.y[1] = np.random.default_rng(3).permutation(past.y[1])
    same, same_quality = assemble(other.models(), without=1)
    np.testing.assert_array_equal(left_out.raw(past.space_rows), same.raw(past.space_rows))
    np.testing.assert_array_equal(left_out.log_prior, same.log_prior)
    np.testing.assert_array_equal(left_out.loadings, same.loadings)
    assert quality == same_quality


def test_leaving_out_is_like_fitting_to_the_others() -> None:
    past = tasks(mixes(5), n=80)
    left_out, _ = assemble(past.models(), without=4)
    fitted = Tasks(past.rows[:4], past.y[:4], past.space_rows).fit()
    for one, other in zip(
        left_out.raw(past.space_rows).T, fitted.raw(past.space_rows).T, strict=True
    ):
        assert np.corrcoef(one, other)[0, 1] > 0.99
