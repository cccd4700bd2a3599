"""Architectures whose values are still to come."""

from __future__ import annotations

import numpy as np
import pytest

from surrogate_nas.surrogate.model.linear import Basis
from surrogate_nas.surrogate.model.posterior import Posterior
from tests.helpers.worlds import World, world


def with_expected(w: World, p: int) -> tuple[Posterior, Posterior, Basis]:
    """Two posteriors of the same results, one of which expects p of the unseen ones."""
    log_prior = np.zeros(len(w.hypotheses))
    free = Posterior(w.hypotheses, w.seen, w.whole.take(np.arange(w.n)), w.observed, log_prior)
    rows = np.arange(w.n + p)
    busy = Posterior(w.hypotheses, w.basis.take(rows), w.whole.take(rows), w.observed, log_prior)
    return free, busy, w.unseen


@pytest.mark.parametrize("seed", [0, 3])
def test_expected_ones_leave_predictions_and_beliefs_where_they_are(seed: int) -> None:
    """Only how sure a prediction is changes; no hypothesis becomes likelier, nor the noise."""
    w = world(seed, m=9)
    p = 5
    free, busy, unseen = with_expected(w, p)
    mean, std = free.predict(unseen, w.distances)
    distances = type(w.whole)(
        *(getattr(w.whole, f)[w.n :, : w.n + p] for f in ("parameters", "traits", "same_leaf"))
    )
    mean_busy, std_busy = busy.predict(unseen, distances)

    np.testing.assert_array_equal(busy.probability, free.probability)
    np.testing.assert_allclose(busy.weights, free.weights, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(mean_busy, mean, rtol=1e-9, atol=1e-12)
    assert busy.noise == free.noise
    assert (std_busy <= std * (1 + 1e-9)).all()
    assert (std_busy[:p] < 0.9 * std[:p]).all()


def test_each_hypothesis_believes_its_own_prediction() -> None:
    """One hypothesis: as if the expected ones had been observed at what it predicts."""
    w = world(1, m=12).only(1)
    p = 4
    free, busy, unseen = with_expected(w, p)
    mean, _std = free.predict(unseen, w.distances)
    distances = type(w.whole)(
        *(getattr(w.whole, f)[w.n :, : w.n + p] for f in ("parameters", "traits", "same_leaf"))
    )
    _, std_busy = busy.predict(unseen, distances)
    # Observed values change no variance but by the scale, which the believer keeps.
    again = Posterior(
        w.hypotheses,
        w.basis.take(np.arange(w.n + p)),
        w.whole.take(np.arange(w.n + p)),
        np.append(w.observed, mean[:p]),
        np.zeros(1),
    )
    _, std_again = again.predict(unseen, distances)
    ratio = std_busy[p:] / std_again[p:]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)
