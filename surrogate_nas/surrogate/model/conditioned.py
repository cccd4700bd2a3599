"""One hypothesis of the model, conditioned on the target's results; arrays only.

The model and its notation: :mod:`surrogate_nas.surrogate.model.posterior`. Everything here is a
Gaussian process with explicit basis functions (Rasmussen & Williams 2006, section 2.7).
"""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt
from scipy.linalg.lapack import dpotrf, dpotrs, dtrtrs

from surrogate_nas.surrogate.model.evidence import OFFSET_VARIANCE
from surrogate_nas.surrogate.model.hypotheses import Hypothesis
from surrogate_nas.surrogate.model.kernel import KernelDistances
from surrogate_nas.surrogate.model.linear import Basis

FloatArray = npt.NDArray[np.float64]


@final
class ConditionedHypothesis:
    """A hypothesis that knows the target's results.

    Args:
        hypothesis: What it takes for granted.
        weight_mean: Prior mean of the basis functions' weights, (r,).
        basis: Basis functions at n observed architectures, then at p pending ones.
        distances: Kernel distances of all these to each other, (n + p, n + p).
        y: Values of the observed ones around their mean, in the units of the prior guess of the
            scale, (n,).
        inverse_scale: Inverse of the scale, as the evidence has found it.
        extra_variance: Variance of each value beside the noise, in units of the scale squared,
            (n,). None where there is none.
    """

    def __init__(
        self,
        hypothesis: Hypothesis,
        weight_mean: FloatArray,
        basis: Basis,
        distances: KernelDistances,
        y: FloatArray,
        inverse_scale: float,
        extra_variance: FloatArray | None,
    ) -> None:
        self.hypothesis = hypothesis
        self.weight_mean = weight_mean
        self._n = n = len(y)
        self.scale = 1.0 / inverse_scale
        self.predictive_scale = np.sqrt((n + 2.0) / n) * self.scale if n else self.scale
        """Scale of what is predicted, wider than the scale itself.

        The scale is estimated from n values. So the prediction is a Student t with n + 2 degrees
        of freedom, two of them from the prior guess. It is replaced by a normal distribution of
        the same variance.
        """
        self._observed = basis.values
        # NOTE: before the first result the offset is unknown and the same for all architectures,
        # so it would only widen all intervals alike.
        self._offset = OFFSET_VARIANCE if n else 0.0
        self._factor = self._factorized(basis, distances, extra_variance)
        self._alpha = self._solved(y * inverse_scale)
        seen = basis.values[:n]
        step = hypothesis.weight**2 * basis.variance * (seen.T @ self._alpha)
        self.weights = weight_mean + step
        """Posterior mean of the basis functions' weights, (r,), in units of the scale."""

    def _factorized(
        self, basis: Basis, distances: KernelDistances, extra_variance: FloatArray | None
    ) -> FloatArray | None:
        """Return the Cholesky factor of the covariance of all results, (n + p, n + p).

        None where there is no architecture at all.
        """
        rows, correlation = basis.values, distances.correlation(self.hypothesis.kernel)
        if not len(rows):
            return None
        covariance = self.covariance(basis.variance, rows, rows, correlation)
        noise = np.full(len(covariance), self.hypothesis.noise**2)
        if extra_variance is not None:
            noise[: self._n] += extra_variance
        covariance[np.diag_indices(len(covariance))] += noise
        return _factor(covariance)

    def _solved(self, y: FloatArray) -> FloatArray:
        """Return alpha = K^-1 (y - prior mean), (n,): Rasmussen & Williams 2006, algorithm 2.1.

        Args:
            y: Observed values in units of the scale, (n,).
        """
        if not self._n or self._factor is None:
            return np.zeros(0)
        # NOTE: observed architectures stand before the pending ones, so the upper left corner of
        # the factor is the factor of their own covariance.
        corner = self._factor[: self._n, : self._n]
        prior_mean = self._observed[: self._n] @ self.weight_mean
        alpha, _ = dpotrs(corner, y - prior_mean, lower=True)
        return np.asarray(alpha)

    def covariance(
        self, variance: FloatArray, left: FloatArray, right: FloatArray, correlation: FloatArray
    ) -> FloatArray:
        """Return the covariance of two sets of architectures, in units of the scale squared.

        Args:
            variance: Prior variance of the weights, (r,).
            left: Basis functions at n architectures, (n, r).
            right: Basis functions at m architectures, (m, r).
            correlation: Correlation of the residuals, (n, m).
        """
        linear = self.hypothesis.weight**2 * (left * variance) @ right.T
        return np.asarray(linear + self.hypothesis.residual**2 * correlation + self._offset)

    def mean(self, basis: Basis, correlation: FloatArray) -> FloatArray:
        """Return the mean that :meth:`predict` returns, (m,), in much less time.

        Args:
            basis: Basis functions at m candidates.
            correlation: Correlation of their residuals with those of the n + p architectures.
        """
        # NOTE: the covariance with each observed architecture, (m, n), is never formed. It is what
        # takes the time where m is large, and only the variance needs it.
        linear = basis.values @ self.weights
        residual = self.hypothesis.residual**2 * (correlation[:, : self._n] @ self._alpha)
        rest = residual + self._offset * self._alpha.sum()
        return np.asarray((linear + rest) * self.scale)

    def predict(self, basis: Basis, correlation: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return mean and variance of the noise-free value at m candidates, (m,) each.

        Args:
            basis: Basis functions at m candidates.
            correlation: Correlation of their residuals with those of the n + p architectures.
        """
        hypothesis = self.hypothesis
        mean = basis.values @ self.weight_mean
        linear = hypothesis.weight**2 * (basis.values**2 @ basis.variance)
        prior = linear + hypothesis.residual**2
        if self._factor is None:
            return mean * self.scale, prior * self.scale**2
        cross = self.covariance(basis.variance, basis.values, self._observed, correlation)
        mean = mean + cross[:, : self._n] @ self._alpha
        # NOTE: pending architectures have no value yet. They stand in the factor, so the variance
        # near them falls, and not in alpha, so the mean does not move.
        white, _ = dtrtrs(self._factor, cross.T, lower=True)
        variance = prior + self._offset - (white**2).sum(axis=0)
        return mean * self.scale, np.maximum(variance, 0.0) * self.predictive_scale**2

    @property
    def noise(self) -> float:
        """Standard deviation of a measurement around the noise-free value."""
        return float(self.hypothesis.noise * self.predictive_scale)


def _factor(covariance: FloatArray) -> FloatArray:
    """Return the lower Cholesky factor, (n, n); the entries above its diagonal mean nothing."""
    # NOTE: LAPACK is called directly, here and where the factor is used. For matrices this small,
    # SciPy's own checks take several times as long as the arithmetic.
    factor, info = dpotrf(covariance, lower=True, clean=False)
    if info:
        raise np.linalg.LinAlgError(f"covariance is not positive definite (row {info})")
    return np.asarray(factor)
