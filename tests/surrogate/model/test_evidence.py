"""How likely hypotheses make results, against the density of the documented model."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import multivariate_normal

from surrogate_nas.surrogate.model.hypotheses import NOTHING
from tests.helpers.worlds import (
    EVERY,
    GRID,
    ORIGIN,
    TASK,
    World,
    moments,
    world,
)

FloatArray = npt.NDArray[np.float64]


def log_density(w: World, h: int, inverse_scale: float) -> float:
    """log p(y | hypothesis, scale) + log prior of the scale, worth one observation."""
    mean, covariance = moments(w, h)
    noisy = covariance[: w.n, : w.n] + EVERY.noise[h] ** 2 * np.eye(w.n)
    density = multivariate_normal(mean[: w.n] / inverse_scale, noisy / inverse_scale**2)
    prior = math.log(inverse_scale) - 0.5 * inverse_scale**2
    constant = 0.5 * w.n * math.log(2 * math.pi)
    return float(density.logpdf(w.observed - w.observed.mean())) + constant + prior


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_evidence_is_the_density_of_the_documented_model(seed: int) -> None:
    w = world(seed, n=7)
    evidence, inverse_scale = w.evidence()
    wanted = [log_density(w, h, u) for h, u in enumerate(inverse_scale)]
    np.testing.assert_allclose(evidence, wanted, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("change", [0.5, 0.9, 0.999, 1.001, 1.1, 2.0])
def test_no_other_scale_has_more_evidence(change: float) -> None:
    w = world(3, n=7)
    evidence, inverse_scale = w.evidence()
    other = [log_density(w, h, change * u) for h, u in enumerate(inverse_scale)]
    # Near its maximum a density changes by the square of the step.
    assert np.all(evidence > np.array(other) + 0.5 * (1.0 - change) ** 2)


def test_the_scale_is_found_whatever_the_prior_guess() -> None:
    w = world(4, n=40)
    _, inverse_scale = w.evidence()
    _, smaller = replace(w, y=0.01 * w.y).evidence()
    none = EVERY.transfer == NOTHING
    # The guess counts as one observation among 41, more where the guess is far from the data.
    ratio = smaller[none] / (100 * inverse_scale[none])
    assert np.all((ratio > 0.05) & (ratio <= 1.0))
    _, larger = replace(w, y=100.0 * w.y).evidence()
    np.testing.assert_allclose(larger[none] / (0.01 * inverse_scale[none]), 1.0, atol=0.05)


def test_the_order_of_past_tasks_does_not_matter() -> None:
    w = world(16)
    turned = replace(w.basis, tasks=w.basis.tasks[::-1])
    evidence, _ = replace(w, basis=turned).evidence()
    wanted, _ = w.evidence()
    for g in range(len(GRID)):
        np.testing.assert_allclose(evidence[g == ORIGIN][::-1], wanted[g == ORIGIN])
    assert set(TASK.tolist()) == {-1, 0, 1, 2}
