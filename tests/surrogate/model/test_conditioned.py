"""One conditioned hypothesis, against the textbook's formulas in another form."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from surrogate_nas.surrogate.model.hypotheses import MEAN, ONE, Hypotheses
from tests.helpers.worlds import (
    EVERY,
    OFFSET_VARIANCE,
    SOME,
    moments,
    prior_weights,
    world,
)

FloatArray = npt.NDArray[np.float64]


def widened(n: int) -> float:
    """Variance with the scale unknown over that with the scale at its most probable."""
    return 1.0 + 2.0 / n


@pytest.mark.parametrize("h", SOME)
def test_one_hypothesis_is_the_textbook_conditional_gaussian(h: int) -> None:
    w = world(h)
    mean, std = w.only(h).predict()

    n, u = w.n, w.evidence()[1][h]
    prior, covariance = moments(w, h)
    inverse = np.linalg.inv(covariance[:n, :n] + EVERY.noise[h] ** 2 * np.eye(n))
    gain = covariance[n:, :n] @ inverse
    center = w.observed.mean()
    wanted = prior[n:] + gain @ ((w.observed - center) * u - prior[:n])
    left = covariance[n:, n:] - gain @ covariance[:n, n:]
    np.testing.assert_allclose(mean, wanted / u + center, rtol=1e-7)
    np.testing.assert_allclose(std, np.sqrt(np.diag(left) * widened(n)) / u, rtol=1e-6)


@pytest.mark.parametrize("h", SOME)
def test_one_hypothesis_has_the_textbook_weights_and_noise(h: int) -> None:
    w = world(h)
    model = w.only(h).model()
    n, u = w.n, w.evidence()[1][h]
    prior, covariance = moments(w, h)
    inverse = np.linalg.inv(covariance[:n, :n] + EVERY.noise[h] ** 2 * np.eye(n))
    # Covariance of the weights with the observations: V Phi^T.
    shared = EVERY.weight[h] ** 2 * np.diag(w.basis.variance) @ w.seen.values.T
    surprise = (w.observed - w.observed.mean()) * u - prior[:n]
    wanted = prior_weights(w, h) + shared @ inverse @ surprise
    np.testing.assert_allclose(model.weights, wanted, rtol=1e-6, atol=1e-9)
    assert model.noise == pytest.approx(EVERY.noise[h] * math.sqrt(widened(n)) / u)


@pytest.mark.parametrize(("transfer", "task"), [(MEAN, 0), (ONE, 0), (ONE, 2)])
def test_without_a_residual_it_is_bayesian_linear_regression(transfer: float, task: int) -> None:
    w = world(1, n=12)
    grid = Hypotheses.grid(
        transfers=[(transfer, 0.5)], residuals=[1e-7], kernels=[(1.0, 0.0, 0.0)], noises=[0.2]
    )
    basis = replace(w.basis, tasks=w.basis.tasks[[task]])
    w = replace(w, basis=basis, hypotheses=grid)
    model = w.model()
    mean, std = w.predict()

    (u,) = w.evidence()[1]
    center = w.observed.mean()
    # Offset and weights as one vector of coefficients, in its own (weight space) form.
    design = np.column_stack([np.ones(len(w.y)), w.basis.values])
    before = np.concatenate([[0.0], basis.mean if transfer == MEAN else basis.tasks[0]])
    precision = np.diag(1.0 / np.concatenate([[OFFSET_VARIANCE], 0.25 * w.basis.variance]))
    seen = design[: w.n]
    covariance = np.linalg.inv(precision + seen.T @ seen / 0.04)
    after = covariance @ (precision @ before + seen.T @ ((w.observed - center) * u) / 0.04)
    new = design[w.n :]
    np.testing.assert_allclose(model.weights, after[1:], rtol=1e-6)
    np.testing.assert_allclose(mean, new @ after / u + center, rtol=1e-6)
    variance = np.einsum("ij,jk,ik->i", new, covariance, new)
    np.testing.assert_allclose(std, np.sqrt(variance * widened(w.n)) / u, rtol=1e-5)
