"""Observations that are known less well than others."""

from __future__ import annotations

import numpy as np
import pytest

from surrogate_nas.surrogate.model.evidence import log_evidence
from surrogate_nas.surrogate.model.posterior import Posterior
from tests.helpers.worlds import EVERY, World, moments, world

LITTLE = np.array([0.0, 0.3, 0.0, 2.0, 0.1, 0.0, 0.0, 0.5, 0.0])


def model(w: World, extra: np.ndarray | None) -> Posterior:
    distances = w.whole.take(np.arange(w.n))
    log_prior = np.zeros(len(w.hypotheses))
    return Posterior(w.hypotheses, w.seen, distances, w.observed, log_prior, extra)


@pytest.mark.parametrize("h", [0, 50, 200])
def test_extra_variance_is_added_on_the_diagonal(h: int) -> None:
    """The textbook's conditional Gaussian, with a noise of each observation's own."""
    w = world(h)
    one = w.only(h)
    distances = one.whole.take(np.arange(w.n))
    u = log_evidence(
        one.hypotheses.spread_out(len(one.seen.tasks)), one.seen, distances, one.observed, LITTLE
    )[1][0]
    mean, std = model(one, LITTLE).predict(one.unseen, one.distances)

    n = w.n
    prior, covariance = moments(w, h)
    noise = np.diag(EVERY.noise[h] ** 2 + LITTLE)
    gain = covariance[n:, :n] @ np.linalg.inv(covariance[:n, :n] + noise)
    center = w.observed.mean()
    wanted = prior[n:] + gain @ ((w.observed - center) * u - prior[:n])
    left = covariance[n:, n:] - gain @ covariance[:n, n:]
    np.testing.assert_allclose(mean, wanted / u + center, rtol=1e-6)
    widened = 1.0 + 2.0 / n  # the scale is unknown
    np.testing.assert_allclose(std, np.sqrt(np.diag(left) * widened) / u, rtol=1e-5)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_extra_variance_changes_nothing(seed: int) -> None:
    """Bit for bit, whether it is left out or zero."""
    w = world(seed, n=120)
    wanted = w.predict()
    for extra in (None, np.zeros(w.n)):
        for left, right in zip(
            model(w, extra).predict(w.unseen, w.distances), wanted, strict=True
        ):
            np.testing.assert_array_equal(left, right)


def test_what_is_hardly_known_hardly_counts() -> None:
    """A wild value that is known to be uncertain moves no prediction as a certain one does."""
    w = world(3, n=12)
    wild = w.y.copy()
    wild[4] += 5.0
    changed = World(w.n, w.basis, w.whole, wild, w.hypotheses)
    unsure = np.zeros(w.n)
    unsure[4] = 1e4
    before, _ = w.predict()
    certain, _ = changed.predict()
    uncertain, _ = model(changed, unsure).predict(w.unseen, w.distances)
    assert np.abs(uncertain - before).max() < 0.3 * np.abs(certain - before).max()


@pytest.mark.parametrize("n", [0, 1, 9, 40])
def test_a_preview_has_the_mean_of_the_prediction(n: int) -> None:
    """And a standard deviation of one hypothesis, the whole one where there is no other."""
    w = world(n, n=n)
    mean, std = w.model().preview(w.unseen, w.distances)
    np.testing.assert_allclose(mean, w.predict()[0], rtol=1e-9, atol=1e-9)
    assert (std > 0).all()

    for h in (0, 100, 250):
        one = w.only(h)
        for left, right in zip(
            one.model().preview(one.unseen, one.distances), one.predict(), strict=True
        ):
            np.testing.assert_allclose(left, right, rtol=1e-7, atol=1e-9)
