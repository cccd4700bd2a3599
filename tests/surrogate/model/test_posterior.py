from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from surrogate_nas.surrogate.model import posterior
from surrogate_nas.surrogate.model.hypotheses import NOTHING, ONE, Hypotheses
from surrogate_nas.surrogate.model.linear import Basis
from tests.helpers.worlds import (
    EVERY,
    GRID,
    N_TASKS,
    OFFSET_VARIANCE,
    ORIGIN,
    SOME,
    World,
    moments,
    prior_weights,
    world,
)

FloatArray = npt.NDArray[np.float64]


def test_probability_is_evidence_times_prior_which_past_tasks_share_equally() -> None:
    w = world(6)
    prior = np.random.default_rng(0).dirichlet(np.ones(len(GRID)))
    probability = replace(w, log_prior=np.log(prior)).model().probability
    share = np.where(EVERY.transfer == ONE, 1.0 / N_TASKS, 1.0)
    score = w.evidence()[0] + np.log(prior[ORIGIN] * share)
    np.testing.assert_allclose(probability, np.exp(score - logsumexp(score)), rtol=1e-9)


def test_what_past_tasks_say_of_each_other_does_not_outvote_the_results() -> None:
    """Against past tasks these start level with "they say nothing", else from their own prior."""
    nothing = EVERY.transfer == NOTHING
    alone = GRID.transfer == NOTHING
    prior = np.where(alone, 0.02 / alone.sum(), 0.98 / (~alone).sum())
    n_against = 0
    for seed in range(20):
        w = world(seed)
        if seed % 2:
            w = replace(w, y=w.y - w.basis.values.sum(axis=1))  # which past tasks know nothing of
        share = prior[ORIGIN] * np.where(EVERY.transfer == ONE, 1.0 / N_TASKS, 1.0)
        mass = share * np.exp(w.evidence()[0])
        odds = mass[~nothing].sum() / mass[nothing].sum() / 49.0
        is_against = odds < 1.0
        n_against += is_against
        transfer = replace(w, log_prior=np.log(prior)).model().transfer
        expected = odds / (1.0 + odds) if is_against else 49.0 * odds / (1.0 + 49.0 * odds)
        assert transfer == pytest.approx(expected, rel=1e-9)
    assert 3 <= n_against <= 17


def test_a_past_task_named_twice_is_one_task() -> None:
    # Else a crowd of alike past tasks would make "like one of them" likelier than it is.
    w = world(7)
    twice = replace(w, basis=replace(w.basis, tasks=np.repeat(w.basis.tasks, 2, axis=0)))
    _, origin, _ = GRID.spread_out(2 * N_TASKS)
    believed = np.bincount(origin, twice.model().probability)
    np.testing.assert_allclose(believed, np.bincount(ORIGIN, w.model().probability), rtol=1e-9)


def test_without_observations_it_predicts_the_prior() -> None:
    w = world(5, n=0, m=6)
    for h in SOME:
        mean, std = w.only(h).predict()
        prior, covariance = moments(w, h)
        np.testing.assert_allclose(mean, prior, atol=1e-12)
        np.testing.assert_allclose(std**2, np.diag(covariance) - OFFSET_VARIANCE, rtol=1e-9)
        weights = w.only(h).model().weights
        np.testing.assert_allclose(weights, prior_weights(w, h), atol=1e-12)
    believed = np.random.default_rng(0).dirichlet(np.ones(len(GRID)))
    model = replace(w, log_prior=np.log(believed)).model()
    np.testing.assert_allclose(np.bincount(ORIGIN, model.probability), believed, rtol=1e-9)
    assert model.transfer == pytest.approx(believed[GRID.transfer != NOTHING].sum())


def test_without_observations_or_basis_it_predicts_nothing_in_particular() -> None:
    w = world(5, n=0, m=6, r=0)
    mean, std = w.predict()
    np.testing.assert_array_equal(mean, 0.0)
    assert np.all(std > 0)
    assert w.model().weights.shape == (0,)


def test_predicting_no_candidates_is_no_error() -> None:
    mean, std = world(6, m=0).predict()
    assert mean.shape == std.shape == (0,)


@pytest.mark.parametrize("n", [0, 1, 2, 9])
@pytest.mark.parametrize("r", [0, 2])
def test_probabilities(n: int, r: int) -> None:
    w = world(7, n=n, r=r)
    model = w.model()
    assert model.probability.shape == (len(w.hypotheses.spread_out(N_TASKS)[0]),)
    assert model.probability.sum() == pytest.approx(1.0)
    assert np.all(model.probability >= 0)
    assert 0.0 <= model.transfer <= 1.0
    assert model.transfer > 0 if r else model.transfer == 0
    assert model.noise > 0


def test_one_observation_prefers_no_hypothesis_on_its_own_account() -> None:
    # What it is alone goes into the offset.
    w = world(8, n=1)
    zero = replace(w, y=0.0 * w.y).model()
    far = replace(w, y=0.0 * w.y + 1e6).model()
    np.testing.assert_allclose(zero.probability, far.probability)


def test_mixture_has_the_moments_of_its_parts() -> None:
    w = world(9)
    pair = [1, 30]
    mixed = replace(w, hypotheses=Hypotheses(*GRID.rows()[pair].T))
    share = mixed.model().probability
    assert share.min() > 0.01, "the test needs a true mixture"
    parts = [w.only(h).predict() for h in pair]
    mean, std = mixed.predict()
    means, stds = np.stack([m for m, _ in parts]), np.stack([s for _, s in parts])
    second = share @ (stds**2 + means**2)
    np.testing.assert_allclose(mean, share @ means)
    np.testing.assert_allclose(std, np.sqrt(second - (share @ means) ** 2), rtol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 3, 20])
def test_the_hypotheses_left_out_of_predictions_hardly_count(n: int) -> None:
    w = world(10, n=n)
    parts = [w.only(h).predict() for h in range(len(EVERY))]
    whole = w.model().probability @ np.stack([mean for mean, _ in parts])
    mean, std = w.predict()
    assert np.all(np.abs(mean - whole) < 0.05 * std)


def test_many_observations_leave_few_hypotheses_to_average_over() -> None:
    assert len(world(10, n=60).model().conditioned) < len(world(10, n=3).model().conditioned) / 2


seeds = st.integers(0, 10_000)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_the_order_of_observations_does_not_matter(seed: int) -> None:
    w = world(seed)
    order = np.concatenate(
        [np.random.default_rng(seed).permutation(w.n), np.arange(w.n, len(w.y))]
    )
    other = World(w.n, w.basis.take(order), w.whole.take(order), w.y[order])
    np.testing.assert_allclose(w.predict(), other.predict(), rtol=1e-6)
    np.testing.assert_allclose(w.model().weights, other.model().weights, rtol=1e-5, atol=1e-8)


@given(seed=seeds, shift=st.floats(-1e3, 1e3))
@settings(max_examples=15, deadline=None)
def test_a_constant_added_to_all_values_is_added_to_predictions(seed: int, shift: float) -> None:
    w = world(seed)
    (mean, std), (moved, same) = w.predict(), replace(w, y=w.y + shift).predict()
    np.testing.assert_allclose(moved, mean + shift, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(same, std, rtol=1e-5)


@given(seed=seeds, factor=st.floats(0.1, 10.0), flip=st.booleans())
@settings(max_examples=15, deadline=None)
def test_units_and_sign_of_a_basis_function_do_not_matter(
    seed: int, factor: float, flip: bool
) -> None:
    w = world(seed)
    by = np.array([-factor if flip else factor, 1.0])
    b = w.basis
    other = replace(w, basis=Basis(b.values * by, b.mean / by, b.variance / by**2, b.tasks / by))
    np.testing.assert_allclose(w.predict(), other.predict(), rtol=1e-6)
    np.testing.assert_allclose(other.model().weights * by, w.model().weights, rtol=1e-5, atol=1e-8)


@given(seed=seeds, factor=st.floats(-100.0, 100.0))
@settings(max_examples=15, deadline=None)
def test_means_are_linear_in_the_values_where_past_tasks_are_ignored(
    seed: int, factor: float
) -> None:
    # Exact for one hypothesis; an average over them shifts its weights, see the next test.
    w = world(seed).only(0)
    mean, _ = w.predict()
    scaled, _ = replace(w, y=w.y * factor).predict()
    np.testing.assert_allclose(scaled, mean * factor, rtol=1e-6, atol=1e-6 * abs(factor) + 1e-300)


@pytest.mark.parametrize("factor", [0.2, 0.5, 2.0, 5.0])
def test_units_of_the_values_hardly_matter(factor: float) -> None:
    w = world(11, n=40)
    (mean, std), (scaled, wide) = w.predict(), replace(w, y=w.y * factor).predict()
    assert np.all(np.abs(scaled / factor - mean) < 0.3 * std)
    np.testing.assert_allclose(wide / factor, std, rtol=0.3)


def test_a_constant_added_to_a_basis_function_hardly_matters() -> None:
    w = world(12, n=20)
    basis = replace(w.basis, values=w.basis.values + np.array([2.0, 0.0]))
    (mean, std), (moved, same) = w.predict(), replace(w, basis=basis).predict()
    assert np.all(np.abs(moved - mean) < 0.1 * std)
    np.testing.assert_allclose(same, std, rtol=0.1)


def test_an_observed_architecture_is_better_known_than_a_far_one() -> None:
    w = world(13, r=0)
    distances = w.whole.take(np.arange(w.n))
    seen_mean, seen_std = w.model().predict(w.seen, distances)
    far = replace(distances, parameters=distances.parameters + 3.0, traits=distances.traits + 3.0)
    _, far_std = w.model().predict(w.seen, far)
    assert np.all(seen_std < 0.5 * far_std)
    assert np.corrcoef(seen_mean, w.observed)[0, 1] > 0.95


def test_does_not_change_its_arguments() -> None:
    w = world(14)
    every = (*vars(w.basis).values(), *vars(w.whole).values(), w.y)
    arguments = [argument for argument in every if argument is not None]
    copies = [a.copy() for a in arguments]
    w.predict()
    for now, before in zip(arguments, copies, strict=True):
        np.testing.assert_array_equal(now, before)


def test_many_observations_are_all_used() -> None:
    w = world(15, n=300, m=20)
    mean, std = w.predict()
    assert np.mean(std) < 0.5
    assert np.corrcoef(mean, w.y[w.n :])[0, 1] > 0.9
    # The worst observation takes no part in the choice of hypotheses, yet it is remembered.
    rows = posterior.best_and_even(w.observed, posterior._MAX_EVIDENCE)
    left_out = np.setdiff1d(np.arange(w.n), rows)[0]
    y = w.y.copy()
    y[left_out] += 0.01
    moved, _ = replace(w, y=y).predict()
    assert not np.array_equal(moved, mean)


@pytest.mark.parametrize("n", [1, 100, 101, 150, 1000])
def test_evidence_reads_the_best_and_an_even_share_of_the_rest(n: int) -> None:
    most = posterior._MAX_EVIDENCE
    y = np.random.default_rng(n).normal(size=n)
    rows = posterior.best_and_even(y, most)
    assert len(rows) == len(set(rows.tolist())) == min(n, most)
    assert np.all(np.diff(rows) > 0)
    best = np.argsort(-y)[: most // 2]
    assert set(best.tolist()) <= set(rows.tolist())
    assert int(y.argmin()) in rows
