from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from surrogate_nas import posterior
from surrogate_nas.posterior import Basis, Hypotheses, Posterior, log_evidence

FloatArray = npt.NDArray[np.float64]

OFFSET_VARIANCE = 100.0
GRID = Hypotheses.grid(with_basis=True)
SOME = range(0, len(GRID.noise), 5)
"""Hypotheses of every kind: 5 is coprime to the lengths of the grid's axes but not to its size."""


@dataclass(frozen=True)
class World:
    """n observed architectures followed by m candidates."""

    n: int
    basis: Basis
    distance: FloatArray
    y: FloatArray

    def model(self, log_prior: FloatArray | None = None, y: FloatArray | None = None) -> Posterior:
        """The posterior of the observed ones."""
        n_hypotheses = len(Hypotheses.grid(with_basis=self.basis.values.shape[1] > 0).noise)
        return Posterior(
            self.seen,
            self.distance[: self.n, : self.n],
            self.y[: self.n] if y is None else y,
            np.zeros(n_hypotheses) if log_prior is None else log_prior,
        )

    @property
    def seen(self) -> Basis:
        return self.basis.take(np.arange(self.n))

    @property
    def unseen(self) -> Basis:
        return self.basis.take(np.arange(self.n, len(self.y)))

    @property
    def near(self) -> FloatArray:
        """Distances from the candidates to the observed, (m, n)."""
        return self.distance[self.n :, : self.n]

    def predict(self, log_prior: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the candidates."""
        return self.model(log_prior).predict(self.unseen, self.near)

    def evidence(self, y: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
        """Of every hypothesis."""
        observed = self.y[: self.n] if y is None else y
        return log_evidence(GRID, self.seen, self.distance[: self.n, : self.n], observed)


def world(seed: int = 0, n: int = 9, m: int = 5, r: int = 2) -> World:
    """Random points, random basis functions with a random prior, values that they half explain."""
    rng = np.random.default_rng(seed)
    points = rng.random((n + m, 4))
    distance = np.abs(points[:, None] - points[None]).mean(axis=2)
    values = rng.normal(size=(n + m, r))
    basis = Basis(values, rng.normal(0.3, 0.3, r), rng.uniform(0.2, 1.0, r))
    y = 0.4 + values.sum(axis=1) + np.sin(5 * points[:, 0]) + rng.normal(0.0, 0.1, n + m)
    return World(n, basis, distance, y)


def only(index: int) -> FloatArray:
    """The log prior of certainty."""
    log_prior = np.full(len(GRID.noise), -np.inf)
    log_prior[index] = 0.0
    return log_prior


def moments(w: World, g: int) -> tuple[FloatArray, FloatArray]:
    """Prior mean and covariance of all noise-free values over s, as the module documents them."""
    phi, variance = w.basis.values, np.diag(w.basis.variance)
    mean = GRID.transfer[g] * phi @ w.basis.mean
    covariance = (
        OFFSET_VARIANCE
        + GRID.weight[g] ** 2 * phi @ variance @ phi.T
        + GRID.residual[g] ** 2 * np.exp(-w.distance / GRID.length[g])
    )
    return mean, covariance


def log_density(w: World, g: int, inverse_scale: float, y: FloatArray) -> float:
    """log p(y | hypothesis, scale) + log prior of the scale, worth one observation."""
    mean, covariance = moments(w, g)
    noisy = covariance[: w.n, : w.n] + GRID.noise[g] ** 2 * np.eye(w.n)
    density = multivariate_normal(mean[: w.n] / inverse_scale, noisy / inverse_scale**2)
    prior = math.log(inverse_scale) - 0.5 * inverse_scale**2
    constant = 0.5 * w.n * math.log(2 * math.pi)
    return float(density.logpdf(y - y.mean())) + constant + prior


def test_the_grid_holds_every_combination_once() -> None:
    rows = set(
        zip(GRID.transfer, GRID.weight, GRID.residual, GRID.length, GRID.noise, strict=True)
    )
    wanted = itertools.product(
        posterior.TRANSFERS, posterior.RESIDUALS, posterior.LENGTHS, posterior.NOISES
    )
    assert rows == {(*pair, r, length, noise) for pair, r, length, noise in wanted}
    alone = Hypotheses.grid(with_basis=False)
    assert not alone.transfer.any()
    assert not alone.weight.any()
    assert len(alone.noise) * len(posterior.TRANSFERS) == len(GRID.noise)


@pytest.mark.parametrize("g", SOME)
def test_one_hypothesis_is_the_textbook_conditional_gaussian(g: int) -> None:
    w = world(g)
    mean, std = w.predict(only(g))

    n, u = w.n, w.evidence()[1][g]
    prior, covariance = moments(w, g)
    inverse = np.linalg.inv(covariance[:n, :n] + GRID.noise[g] ** 2 * np.eye(n))
    gain = covariance[n:, :n] @ inverse
    center = w.y[:n].mean()
    wanted = prior[n:] + gain @ ((w.y[:n] - center) * u - prior[:n])
    left = covariance[n:, n:] - gain @ covariance[:n, n:]
    np.testing.assert_allclose(mean, wanted / u + center, rtol=1e-7)
    np.testing.assert_allclose(std, np.sqrt(np.diag(left)) / u, rtol=1e-6)


@pytest.mark.parametrize("g", SOME)
def test_one_hypothesis_has_the_textbook_weights_and_noise(g: int) -> None:
    w = world(g)
    model = w.model(only(g))
    n, u = w.n, w.evidence()[1][g]
    prior, covariance = moments(w, g)
    inverse = np.linalg.inv(covariance[:n, :n] + GRID.noise[g] ** 2 * np.eye(n))
    # Covariance of the weights with the observations: V Phi^T.
    shared = GRID.weight[g] ** 2 * np.diag(w.basis.variance) @ w.seen.values.T
    surprise = (w.y[:n] - w.y[:n].mean()) * u - prior[:n]
    wanted = GRID.transfer[g] * w.basis.mean + shared @ inverse @ surprise
    np.testing.assert_allclose(model.weights, wanted, rtol=1e-6, atol=1e-9)
    assert model.noise == pytest.approx(GRID.noise[g] / u)


def test_without_a_residual_it_is_bayesian_linear_regression(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(posterior, "TRANSFERS", ((1.0, 0.5),))
    monkeypatch.setattr(posterior, "RESIDUALS", (1e-7,))
    monkeypatch.setattr(posterior, "LENGTHS", (1.0,))
    monkeypatch.setattr(posterior, "NOISES", (0.2,))
    w = world(1, n=12)
    model = w.model(np.zeros(1))
    mean, std = model.predict(w.unseen, w.near)

    grid = Hypotheses.grid(with_basis=True)
    _, (u,) = log_evidence(grid, w.seen, w.distance[: w.n, : w.n], w.y[: w.n])
    center = w.y[: w.n].mean()
    # Offset and weights as one vector of coefficients, in its own (weight space) form.
    design = np.column_stack([np.ones(len(w.y)), w.basis.values])
    before = np.concatenate([[0.0], w.basis.mean])
    precision = np.diag(1.0 / np.concatenate([[OFFSET_VARIANCE], 0.25 * w.basis.variance]))
    seen = design[: w.n]
    covariance = np.linalg.inv(precision + seen.T @ seen / 0.04)
    after = covariance @ (precision @ before + seen.T @ ((w.y[: w.n] - center) * u) / 0.04)
    new = design[w.n :]
    np.testing.assert_allclose(model.weights, after[1:], rtol=1e-6)
    np.testing.assert_allclose(mean, new @ after / u + center, rtol=1e-6)
    variance = np.einsum("ij,jk,ik->i", new, covariance, new)
    np.testing.assert_allclose(std, np.sqrt(variance) / u, rtol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_evidence_is_the_density_of_the_documented_model(seed: int) -> None:
    w = world(seed, n=7)
    evidence, inverse_scale = w.evidence()
    wanted = [log_density(w, g, u, w.y[: w.n]) for g, u in enumerate(inverse_scale)]
    np.testing.assert_allclose(evidence, wanted, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("change", [0.5, 0.9, 0.999, 1.001, 1.1, 2.0])
def test_no_other_scale_has_more_evidence(change: float) -> None:
    w = world(3, n=7)
    evidence, inverse_scale = w.evidence()
    other = [log_density(w, g, change * u, w.y[: w.n]) for g, u in enumerate(inverse_scale)]
    # Near its maximum a density changes by the square of the step.
    assert np.all(evidence > np.array(other) + 0.5 * (1.0 - change) ** 2)


def test_the_scale_is_found_whatever_the_prior_guess() -> None:
    w = world(4, n=40)
    _, inverse_scale = w.evidence()
    _, smaller = w.evidence(0.01 * w.y[: w.n])
    none = GRID.transfer == 0
    # The guess counts as one observation among 41, more where the guess is far from the data.
    ratio = smaller[none] / (100 * inverse_scale[none])
    assert np.all((ratio > 0.05) & (ratio <= 1.0))
    _, larger = w.evidence(100.0 * w.y[: w.n])
    np.testing.assert_allclose(larger[none] / (0.01 * inverse_scale[none]), 1.0, atol=0.05)


def test_without_observations_it_predicts_the_prior() -> None:
    w = world(5, n=0, m=6)
    log_prior = np.log(np.random.default_rng(0).dirichlet(np.ones(len(GRID.noise))))
    for g in SOME:
        mean, std = w.predict(only(g))
        prior, covariance = moments(w, g)
        np.testing.assert_allclose(mean, prior, atol=1e-12)
        np.testing.assert_allclose(std**2, np.diag(covariance) - OFFSET_VARIANCE, rtol=1e-9)
        np.testing.assert_allclose(
            w.model(only(g)).weights, GRID.transfer[g] * w.basis.mean, atol=1e-12
        )
    np.testing.assert_allclose(w.model(log_prior).probability, np.exp(log_prior), rtol=1e-9)


def test_without_observations_or_basis_it_predicts_nothing_in_particular() -> None:
    w = world(5, n=0, m=6, r=0)
    mean, std = w.predict()
    np.testing.assert_array_equal(mean, 0.0)
    assert np.all(std > 0)
    assert w.model().weights.shape == (0,)


def test_predicting_no_candidates_is_no_error() -> None:
    w = world(6, m=0)
    mean, std = w.predict()
    assert mean.shape == std.shape == (0,)


@pytest.mark.parametrize("n", [0, 1, 2, 9])
@pytest.mark.parametrize("r", [0, 2])
def test_probabilities(n: int, r: int) -> None:
    model = world(7, n=n, r=r).model()
    assert model.probability.sum() == pytest.approx(1.0)
    assert np.all(model.probability >= 0)
    assert 0.0 <= model.transfer <= 1.0
    assert model.transfer > 0 if r else model.transfer == 0
    assert model.noise > 0


def test_one_observation_prefers_no_hypothesis_on_its_own_account() -> None:
    # What it is alone goes into the offset.
    w = world(8, n=1)
    zero = w.model(y=np.zeros(1))
    far = w.model(y=np.full(1, 1e6))
    np.testing.assert_allclose(zero.probability, far.probability)


def test_mixture_has_the_moments_of_its_parts() -> None:
    w = world(9)
    log_prior = np.logaddexp(only(0), only(30))
    model = w.model(log_prior)
    share = model.probability[[0, 30]]
    assert share.min() > 0.001, "the test needs a true mixture"
    parts = [w.predict(only(g)) for g in (0, 30)]
    mean, std = model.predict(w.unseen, w.near)
    means, stds = np.stack([m for m, _ in parts]), np.stack([s for _, s in parts])
    second = share @ (stds**2 + means**2)
    np.testing.assert_allclose(mean, share @ means)
    np.testing.assert_allclose(std, np.sqrt(second - (share @ means) ** 2), rtol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 3, 20])
def test_the_hypotheses_left_out_of_predictions_hardly_count(n: int) -> None:
    w = world(10, n=n)
    model = w.model()
    parts = [w.predict(only(g)) for g in range(len(GRID.noise))]
    whole = model.probability @ np.stack([mean for mean, _ in parts])
    mean, std = model.predict(w.unseen, w.near)
    assert np.all(np.abs(mean - whole) < 0.05 * std)


def test_many_observations_leave_few_hypotheses_to_average_over() -> None:
    assert len(world(10, n=60).model()._members) < len(world(10, n=3).model()._members) / 2


seeds = st.integers(0, 10_000)


@given(seed=seeds)
@settings(max_examples=15, deadline=None)
def test_the_order_of_observations_does_not_matter(seed: int) -> None:
    w = world(seed)
    order = np.concatenate(
        [np.random.default_rng(seed).permutation(w.n), np.arange(w.n, len(w.y))]
    )
    other = World(w.n, w.basis.take(order), w.distance[np.ix_(order, order)], w.y[order])
    np.testing.assert_allclose(w.predict(), other.predict(), rtol=1e-6)
    np.testing.assert_allclose(w.model().weights, other.model().weights, rtol=1e-5, atol=1e-8)


@given(seed=seeds, shift=st.floats(-1e3, 1e3))
@settings(max_examples=15, deadline=None)
def test_a_constant_added_to_all_values_is_added_to_predictions(seed: int, shift: float) -> None:
    w = world(seed)
    other = World(w.n, w.basis, w.distance, w.y + shift)
    (mean, std), (moved, same) = w.predict(), other.predict()
    np.testing.assert_allclose(moved, mean + shift, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(same, std, rtol=1e-5)


@given(seed=seeds, factor=st.floats(0.1, 10.0), flip=st.booleans())
@settings(max_examples=15, deadline=None)
def test_units_and_sign_of_a_basis_function_do_not_matter(
    seed: int, factor: float, flip: bool
) -> None:
    w = world(seed)
    by = np.array([-factor if flip else factor, 1.0])
    basis = Basis(w.basis.values * by, w.basis.mean / by, w.basis.variance / by**2)
    other = World(w.n, basis, w.distance, w.y)
    np.testing.assert_allclose(w.predict(), other.predict(), rtol=1e-6)
    np.testing.assert_allclose(other.model().weights * by, w.model().weights, rtol=1e-5, atol=1e-8)


@given(seed=seeds, factor=st.floats(-100.0, 100.0))
@settings(max_examples=15, deadline=None)
def test_means_are_linear_in_the_values_where_past_tasks_are_ignored(
    seed: int, factor: float
) -> None:
    # Exact for one hypothesis; an average over them shifts its weights, see the next test.
    w = world(seed)
    other = World(w.n, w.basis, w.distance, w.y * factor)
    mean, _ = w.predict(only(0))
    scaled, _ = other.predict(only(0))
    np.testing.assert_allclose(scaled, mean * factor, rtol=1e-6, atol=1e-6 * abs(factor) + 1e-300)


@pytest.mark.parametrize("factor", [0.2, 0.5, 2.0, 5.0])
def test_units_of_the_values_hardly_matter(factor: float) -> None:
    w = world(11, n=40)
    other = World(w.n, w.basis, w.distance, w.y * factor)
    (mean, std), (scaled, wide) = w.predict(), other.predict()
    assert np.all(np.abs(scaled / factor - mean) < 0.3 * std)
    np.testing.assert_allclose(wide / factor, std, rtol=0.3)


def test_a_constant_added_to_a_basis_function_hardly_matters() -> None:
    w = world(12, n=20)
    basis = Basis(w.basis.values + np.array([2.0, 0.0]), w.basis.mean, w.basis.variance)
    other = World(w.n, basis, w.distance, w.y)
    (mean, std), (moved, same) = w.predict(), other.predict()
    assert np.all(np.abs(moved - mean) < 0.1 * std)
    np.testing.assert_allclose(same, std, rtol=0.1)


def test_an_observed_architecture_is_better_known_than_a_far_one() -> None:
    w = world(13, r=0)
    model = w.model()
    seen_mean, seen_std = model.predict(w.seen, w.distance[: w.n, : w.n])
    _, far_std = model.predict(w.seen, w.distance[: w.n, : w.n] + 3.0)
    assert np.all(seen_std < 0.5 * far_std)
    assert np.corrcoef(seen_mean, w.y[: w.n])[0, 1] > 0.95


def test_does_not_change_its_arguments() -> None:
    w = world(14)
    copies = [a.copy() for a in (w.basis.values, w.basis.mean, w.distance, w.y)]
    w.predict()
    for now, before in zip((w.basis.values, w.basis.mean, w.distance, w.y), copies, strict=True):
        np.testing.assert_array_equal(now, before)


@dataclass(frozen=True)
class Problem:
    """A smooth target function in [0, 1]^6, a dozen noisy observations and 80 candidates."""

    w: World
    truth: FloatArray
    rng: np.random.Generator

    def with_basis(self, *columns: FloatArray) -> World:
        """Past tasks that predict the given values, with the prior of equally many."""
        r = len(columns)
        values = np.column_stack(columns) if r else np.zeros((len(self.truth), 0))
        share = np.full(r, 1.0 / max(r, 1))
        return World(self.w.n, Basis(values, share, share), self.w.distance, self.w.y)

    def error(self, *columns: FloatArray) -> float:
        """Mean absolute error of the candidates, in standard deviations of the target."""
        w = self.with_basis(*columns)
        mean, _ = w.predict()
        return float(np.abs(mean - self.truth[w.n :]).mean())

    def related(self) -> FloatArray:
        """A past task that agrees but for some noise (correlation 0.96)."""
        return self.truth + 0.3 * self.rng.normal(size=len(self.truth))

    def shuffled(self) -> FloatArray:
        """A past task that has nothing to do with this one."""
        return self.rng.permutation(self.truth)


def problem(seed: int, n: int = 12) -> Problem:
    rng = np.random.default_rng(seed)
    points = rng.random((n + 80, 6))
    distance = np.abs(points[:, None] - points[None]).mean(axis=2)
    truth = points @ rng.normal(size=6) + np.sin(6 * points[:, 0]) * points[:, 1]
    truth = (truth - truth.mean()) / truth.std()
    y = truth + 0.05 * rng.normal(size=len(truth))
    return Problem(
        World(n, Basis(np.zeros((n + 80, 0)), *np.zeros((2, 0))), distance, y), truth, rng
    )


PROBLEMS = range(10)


def test_a_related_past_task_gets_the_weight_and_unrelated_ones_lose_it() -> None:
    weights = []
    for seed in PROBLEMS:
        p = problem(seed)
        model = p.with_basis(p.shuffled(), p.related(), p.shuffled()).model()
        weights.append(np.abs(model.weights))
        assert model.weights.argmax() == 1
        assert model.transfer > 0.9
    first, related, last = np.mean(weights, axis=0)
    # All three begin with a third, and a dozen values cannot rule out chance agreement.
    assert related > 0.8
    assert max(first, last) < 0.25


@pytest.mark.parametrize("seed", PROBLEMS)
def test_a_contrary_past_task_is_read_the_other_way_round(seed: int) -> None:
    p = problem(seed)
    (weight,) = p.with_basis(-p.related()).model().weights
    assert weight < -0.5


@pytest.mark.parametrize("seed", PROBLEMS)
def test_shuffling_a_past_task_takes_its_weight(seed: int) -> None:
    p = problem(seed)
    (related,) = p.with_basis(p.related()).model().weights
    (shuffled,) = p.with_basis(p.shuffled()).model().weights
    assert abs(shuffled) < 0.5 * related


def test_related_past_tasks_halve_the_error() -> None:
    alone, related = [], []
    for seed in PROBLEMS:
        p = problem(seed)
        alone.append(p.error())
        related.append(p.error(p.related()))
    assert np.all(np.array(related) < alone)
    assert np.mean(related) < 0.55 * np.mean(alone)


@pytest.mark.parametrize("kind", ["contrary", "shuffled", "both", "many"])
def test_misleading_past_tasks_do_little_harm(kind: str) -> None:
    alone, misled = [], []
    for seed in PROBLEMS:
        p = problem(seed)
        columns = {
            "contrary": [-p.related()],
            "shuffled": [p.shuffled()],
            "both": [-p.related(), p.shuffled()],
            "many": [p.shuffled() for _ in range(8)],
        }[kind]
        alone.append(p.error())
        misled.append(p.error(*columns))
    assert np.mean(misled) < 1.1 * np.mean(alone)
    assert np.all(np.array(misled) < 1.4 * np.array(alone))


def test_standard_deviations_are_about_right() -> None:
    scores = []
    for seed in PROBLEMS:
        p = problem(seed, n=30)
        w = p.with_basis(p.related(), p.shuffled())
        mean, std = w.predict()
        scores.append((mean - p.truth[w.n :]) / std)
    assert 0.5 < np.std(scores) < 1.5
    assert np.mean(np.abs(scores) < 2) > 0.85


def test_many_observations_are_all_used() -> None:
    w = world(15, n=300, m=20)
    mean, std = w.predict()
    assert np.mean(std) < 0.5
    assert np.corrcoef(mean, w.y[w.n :])[0, 1] > 0.9
    # The worst observation takes no part in the choice of hypotheses, yet it is remembered.
    rows = posterior._spread(w.y[: w.n])
    left_out = np.setdiff1d(np.arange(w.n), rows)[0]
    y = w.y[: w.n].copy()
    y[left_out] += 0.01
    moved, _ = w.model(y=y).predict(w.unseen, w.near)
    assert not np.array_equal(moved, mean)


@pytest.mark.parametrize("n", [1, 200, 201, 250, 1000])
def test_evidence_reads_the_best_and_an_even_share_of_the_rest(n: int) -> None:
    y = np.random.default_rng(n).normal(size=n)
    rows = posterior._spread(y)
    assert len(rows) == len(set(rows.tolist())) == min(n, 200)
    assert np.all(np.diff(rows) > 0)
    best = np.argsort(-y)[:100]
    assert set(best.tolist()) <= set(rows.tolist())
    assert int(y.argmin()) in rows
