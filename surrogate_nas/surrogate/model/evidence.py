"""How likely each hypothesis makes the target's results; arrays only.

The model and its notation: :mod:`surrogate_nas.surrogate.model.posterior`.
"""

from __future__ import annotations

import numpy as np

from surrogate_nas.arrays import FloatArray
from surrogate_nas.surrogate.model.hypotheses import Hypotheses, SpreadGrid
from surrogate_nas.surrogate.model.kernel import KernelDistances
from surrogate_nas.surrogate.model.linear import Basis

OFFSET_VARIANCE = 100.0
"""Prior variance of the offset, in units of the scale squared: so wide that data decide alone."""
_SCALE_WEIGHT = 1.0
"""Number of observations that the prior guess of the scale is worth."""


def log_evidence(
    grid: SpreadGrid,
    basis: Basis,
    distances: KernelDistances,
    y: FloatArray,
    extra_variance: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return each hypothesis's log marginal likelihood and its inverse scale, (h,) each.

    The likelihood is Rasmussen & Williams 2006, eq. 2.30, up to a constant. It is taken at the
    scale that maximizes it together with the scale's prior.

    Args:
        grid: The hypotheses, h of them.
        basis: Basis functions at the n observed architectures.
        distances: Kernel distances of these to each other, (n, n).
        y: Their values in units of the prior guess of the scale, (n,).
        extra_variance: Variance of each value beside the noise, in units of the scale squared,
            (n,). None where there is none.
    """
    every = grid.hypotheses
    n = len(y)
    if n == 0:
        return np.zeros(len(every)), np.ones(len(every))
    # NOTE: hypotheses that differ in the transfer alone share one covariance and its factor L, as
    # all do that take the target for one of the past tasks.
    distinct, place = every.without_transfer()
    covariances = _covariances(distinct, basis, distances, extra_variance)
    factors = np.asarray(np.linalg.cholesky(covariances))
    prior_mean = basis.weight_means(every.transfer, grid.task) @ basis.values.T  # (h, n)
    white_y = _whitened_values(factors, y)[place]
    white_mean = np.empty_like(prior_mean)
    for index, factor in enumerate(factors):
        shares_factor = place == index
        white_mean[shares_factor] = np.linalg.solve(factor, prior_mean[shares_factor].T).T

    # NOTE: with u = 1 / s, the squared norm of L^-1 (u y - mean) is u^2 a - 2 u b + c. The prior
    # of the scale adds one observation at the prior guess: to a, and to the count.
    a = (white_y**2).sum(axis=1) + _SCALE_WEIGHT
    b = (white_y * white_mean).sum(axis=1)
    c = (white_mean**2).sum(axis=1)
    count = n + _SCALE_WEIGHT
    # This u maximizes count * log(u) - (u^2 a - 2 u b + c) / 2: the root of its derivative.
    u = (b + np.sqrt(b**2 + 4 * count * a)) / (2 * a)
    log_det = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)[place]
    misfit = u**2 * a - 2 * u * b + c
    return count * np.log(u) - 0.5 * misfit - log_det, u


def _whitened_values(factors: FloatArray, y: FloatArray) -> FloatArray:
    """Return L^-1 (y - mean of y) for each of k factors (k, n, n), (k, n)."""
    centered = np.broadcast_to(y - y.mean(), (len(factors), len(y)))[..., None]
    return np.asarray(np.linalg.solve(factors, centered)[:, :, 0])


def _covariances(
    hypotheses: Hypotheses,
    basis: Basis,
    distances: KernelDistances,
    extra_variance: FloatArray | None,
) -> FloatArray:
    """Return the covariance of y / s under each of k hypotheses, (k, n, n)."""
    points = hypotheses.each()
    linear = (basis.values * basis.variance) @ basis.values.T
    correlations = distances.correlations(point.kernel for point in points)
    n = len(linear)
    covariances = np.empty((len(points), n, n))
    for point, out in zip(points, covariances, strict=True):
        out[:] = point.residual**2 * correlations[point.kernel]
        out += point.weight**2 * linear + OFFSET_VARIANCE
        noise = point.noise**2
        out[np.diag_indices(n)] += noise if extra_variance is None else noise + extra_variance
    return covariances
