"""Bayesian linear combination of basis functions plus a Gaussian process; arrays only.

Model of the target task's values y at n architectures, in units of an unknown scale s:

    y / s = offset + Phi w + g + noise,    w ~ N(t mu, t_w^2 diag(v)),    g ~ GP(0, t_g^2 k),

with Phi (n, r) the basis functions (past tasks' predictions), mu (r,) and v (r,) their prior mean
and variance, k = exp(-distance / length) and a flat prior on the offset. What this conditions on
is Gaussian, so every posterior is closed form (Rasmussen & Williams 2006, ch. 2.7: a Gaussian
process with explicit basis functions). The five hyperparameters (t, t_w, t_g, length, noise) live
on a small grid: each point of it is one hypothesis, from "past tasks say nothing here" to "this
task is their mean", and predictions average over the hypotheses by their evidence. Larger is
better.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular

FloatArray = npt.NDArray[np.float64]

_OFFSET_VARIANCE = 100.0
_SCALE_WEIGHT = 1.0
"""How many observations the prior guess of the scale is worth."""
_MAX_EVIDENCE = 200
"""Observations that decide between hypotheses; beyond, more only confirm them."""
_KEPT = 0.99
"""Share of the probability that predictions average over: the likeliest hypotheses that hold it.
Few results need many of them, at little cost each; many results leave a few."""

TRANSFERS = ((0.0, 0.0), (1.0, 0.15), (1.0, 0.5), (1.0, 1.5))
RESIDUALS = (0.15, 0.5, 1.5)
LENGTHS = (0.25, 1.0)
NOISES = (0.03, 0.2)


@final
@dataclass(frozen=True)
class Hypotheses:
    """The grid of hyperparameters, each array (g,)."""

    transfer: FloatArray
    """Factor of the basis functions' prior mean: 0 ignores past tasks."""
    weight: FloatArray
    """How far the weights may stray from it."""
    residual: FloatArray
    """Standard deviation of what no past task knows."""
    length: FloatArray
    """Distance over which that is alike, as a share of the parameters."""
    noise: FloatArray
    """Standard deviation of training the same architecture again."""

    @staticmethod
    def grid(*, with_basis: bool) -> Hypotheses:
        """All combinations; without basis functions those that differ in the residual alone."""
        transfers = TRANSFERS if with_basis else TRANSFERS[:1]
        rows = list(itertools.product(transfers, RESIDUALS, LENGTHS, NOISES))
        table = np.array([(t, w, r, length, n) for (t, w), r, length, n in rows])
        return Hypotheses(*table.T)


@final
@dataclass(frozen=True)
class Basis:
    """Basis functions at n architectures and the prior of their weights.

    Args:
        values: Phi, (n, r).
        mean: Prior mean of the weights, (r,).
        variance: Prior variance of the weights for a weight scale of 1, (r,).
    """

    values: FloatArray
    mean: FloatArray
    variance: FloatArray

    def take(self, rows: npt.NDArray[np.intp]) -> Basis:
        """Return the basis at some of the architectures."""
        return Basis(self.values[rows], self.mean, self.variance)


def log_evidence(
    hypotheses: Hypotheses, basis: Basis, distance: FloatArray, y: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return each hypothesis's log marginal likelihood and its inverse scale, both (g,).

    Args:
        hypotheses: The grid.
        basis: Basis functions at the n observed architectures.
        distance: Distances between them, (n, n).
        y: Their values in units of the prior guess of the scale, (n,).
    """
    n = len(y)
    if n == 0:
        return np.zeros(len(hypotheses.noise)), np.ones(len(hypotheses.noise))
    factors = np.linalg.cholesky(_covariances(hypotheses, basis, distance))
    center = y.mean()
    prior = hypotheses.transfer[:, None] * (basis.values @ basis.mean)  # (g, n)
    stacked = np.stack([np.broadcast_to(y - center, prior.shape), prior], axis=-1)  # (g, n, 2)
    white = np.linalg.solve(factors, stacked)
    a = (white[..., 0] ** 2).sum(axis=1) + _SCALE_WEIGHT
    b = (white[..., 0] * white[..., 1]).sum(axis=1)
    c = (white[..., 1] ** 2).sum(axis=1)
    total = n + _SCALE_WEIGHT
    # The inverse scale that maximizes total * log(u) - (u^2 a - 2 u b + c) / 2.
    inverse_scale = (b + np.sqrt(b**2 + 4 * total * a)) / (2 * a)
    log_det = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)
    fit = inverse_scale**2 * a - 2 * inverse_scale * b + c
    return total * np.log(inverse_scale) - 0.5 * fit - log_det, inverse_scale


def _covariances(hypotheses: Hypotheses, basis: Basis, distance: FloatArray) -> FloatArray:
    """Covariance of y / s under every hypothesis, (g, n, n)."""
    n = len(distance)
    linear = (basis.values * basis.variance) @ basis.values.T
    kernels = {length: np.exp(-distance / length) for length in set(hypotheses.length)}
    covariances = np.empty((len(hypotheses.noise), n, n))
    for index, out in enumerate(covariances):
        out[:] = hypotheses.residual[index] ** 2 * kernels[hypotheses.length[index]]
        out += hypotheses.weight[index] ** 2 * linear + _OFFSET_VARIANCE
        out[np.diag_indices(n)] += hypotheses.noise[index] ** 2
    return covariances


@final
class Posterior:
    """The model conditioned on the target's observations.

    Args:
        basis: Basis functions at the n observed architectures.
        distance: Distances between them, (n, n).
        y: Their values in units of the prior guess of the scale, (n,).
        log_prior: Log prior of each hypothesis of the grid, (g,).
    """

    def __init__(
        self, basis: Basis, distance: FloatArray, y: FloatArray, log_prior: FloatArray
    ) -> None:
        self._hypotheses = Hypotheses.grid(with_basis=basis.values.shape[1] > 0)
        self._basis = basis
        self._center = float(y.mean()) if len(y) else 0.0
        rows = _spread(y)
        evidence, scale = log_evidence(
            self._hypotheses, basis.take(rows), distance[np.ix_(rows, rows)], y[rows]
        )
        score = evidence + log_prior
        probability = np.exp(score - score.max())
        self.probability: FloatArray = probability / probability.sum()
        """Posterior probability of each hypothesis, (g,)."""
        order = np.argsort(-self.probability, kind="stable")
        kept = order[: np.searchsorted(self.probability[order].cumsum(), _KEPT) + 1]
        self._members = [
            _Member(self._hypotheses, int(g), basis, distance, y - self._center, float(scale[g]))
            for g in kept
        ]
        self._share = self.probability[kept] / self.probability[kept].sum()

    def predict(self, basis: Basis, distance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of the noise-free value, each (m,).

        Args:
            basis: Basis functions at the m candidates.
            distance: Distances from the candidates to the observed architectures, (m, n).
        """
        parts = [member.predict(basis, distance) for member in self._members]
        means = np.stack([mean for mean, _ in parts])
        variances = np.stack([variance for _, variance in parts])
        mean = self._share @ means
        spread = self._share @ (variances + (means - mean) ** 2)
        return mean + self._center, np.sqrt(np.maximum(spread, 1e-18))

    @property
    def noise(self) -> float:
        """Standard deviation of an observation around the noise-free value."""
        return float(np.sqrt(self._share @ [member.noise**2 for member in self._members]))

    @property
    def weights(self) -> FloatArray:
        """Posterior mean of the basis functions' weights, (r,), in units of the scale."""
        return np.asarray(self._share @ np.stack([m.weights for m in self._members]))

    @property
    def transfer(self) -> float:
        """Posterior probability that past tasks say anything about this one."""
        return float(self.probability[self._hypotheses.transfer > 0].sum())


@final
class _Member:
    """One hypothesis, conditioned."""

    def __init__(
        self,
        hypotheses: Hypotheses,
        index: int,
        basis: Basis,
        distance: FloatArray,
        y: FloatArray,
        inverse_scale: float,
    ) -> None:
        self._transfer = hypotheses.transfer[index]
        self._weight = hypotheses.weight[index]
        self._residual = hypotheses.residual[index]
        self._length = hypotheses.length[index]
        self._scale = 1.0 / inverse_scale
        self.noise = hypotheses.noise[index] * self._scale
        self._observed = basis.values
        prior = self._transfer * (basis.values @ basis.mean)
        covariance = self._cross(basis.variance, basis.values, basis.values, distance)
        covariance[np.diag_indices(len(y))] += hypotheses.noise[index] ** 2
        self._factor = cho_factor(covariance, lower=True) if len(y) else None
        self._alpha = (
            cho_solve(self._factor, y * inverse_scale - prior)
            if self._factor is not None
            else np.zeros(0)
        )
        pull = self._weight**2 * basis.variance * (basis.values.T @ self._alpha)
        self.weights = self._transfer * basis.mean + pull

    def _cross(
        self, variance: FloatArray, left: FloatArray, right: FloatArray, distance: FloatArray
    ) -> FloatArray:
        """Covariance between two sets of architectures, in units of the scale squared."""
        linear = self._weight**2 * (left * variance) @ right.T
        kernel = self._residual**2 * np.exp(-distance / self._length)
        return np.asarray(linear + kernel + _OFFSET_VARIANCE)

    def predict(self, basis: Basis, distance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and variance of the noise-free value at m candidates, each (m,)."""
        mean = self._transfer * (basis.values @ basis.mean)
        own = self._weight**2 * (basis.values**2 @ basis.variance) + self._residual**2
        if self._factor is None:
            # Nothing observed: the offset is unknown and the same for all, so it is left out.
            return mean * self._scale, own * self._scale**2
        cross = self._cross(basis.variance, basis.values, self._observed, distance)
        mean = mean + cross @ self._alpha
        white = solve_triangular(self._factor[0], cross.T, lower=True)
        variance = own + _OFFSET_VARIANCE - (white**2).sum(axis=0)
        return mean * self._scale, np.maximum(variance, 0.0) * self._scale**2


def _spread(y: FloatArray) -> npt.NDArray[np.intp]:
    """Rows that decide between hypotheses: all, or the best half and an even share of the rest."""
    if len(y) <= _MAX_EVIDENCE:
        return np.arange(len(y))
    order = np.argsort(-y, kind="stable")
    half = _MAX_EVIDENCE // 2
    rest = np.linspace(half, len(y) - 1, _MAX_EVIDENCE - half).astype(np.intp)
    return np.sort(np.concatenate([order[:half], order[rest]]))
