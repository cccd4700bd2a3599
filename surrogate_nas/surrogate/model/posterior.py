"""Bayesian linear combination of basis functions plus a Gaussian process; arrays only.

Model of the target task's values y at n architectures, in units of an unknown scale s:

    y / s = offset + Phi w + g + noise,    w ~ N(t mu, t_w^2 diag(v)),    g ~ GP(0, t_g^2 k),

with Phi (n, r) the basis functions (past tasks' predictions), mu (r,) and v (r,) their prior mean
and variance, and a flat prior on the offset. The kernel k is exp(-distance / length), where the
distance counts parameters, traits or both, or k is the share of the past tasks' trees that put two
architectures in the same leaf (the kernel of Breiman 2000, "Some infinity theory for predictor
ensembles"): those trees split where past tasks differ. What this conditions on is Gaussian, so
every posterior is closed form (Rasmussen & Williams 2006, ch. 2.7: a Gaussian process with
explicit basis functions). The hyperparameters (t, t_w, t_g, k, noise) live on a small grid: each
point of it is one hypothesis, from "past tasks say nothing here" over "this task is their mean",
or the mean of those that are near by their meta-features, to "this task is like one of them", and
predictions average over the hypotheses by their evidence. Where that speaks against past tasks,
what these say of each other does not outvote it
(:mod:`surrogate_nas.surrogate.model.transfer_guard`). Larger is better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotrs, dtrtrs

from surrogate_nas.arrays import FloatArray, IndexArray
from surrogate_nas.surrogate.model.hypotheses import MEAN, NOTHING, SIMILAR, Hypotheses
from surrogate_nas.surrogate.model.transfer_guard import guard_during_search

Kernel = tuple[float, float, float]
"""Length, traits, leaves."""

_OFFSET_VARIANCE = 100.0
_SCALE_WEIGHT = 1.0
"""How many observations the prior guess of the scale is worth."""
_MAX_EVIDENCE = 100
"""Observations that decide between hypotheses; beyond, more only confirm them."""
_KEPT = 0.99
"""Share of the probability that predictions average over: the likeliest hypotheses that hold it.
Few results need many of them, at little cost each; many results leave a few."""
_PREVIEWED = 200
"""Hypotheses times observations that the variance of many candidates is averaged over: the time
that it takes is in proportion to that."""


@final
@dataclass(frozen=True)
class Basis:
    """Basis functions at n architectures and the prior of their weights.

    Args:
        values: Phi, (n, r).
        mean: Prior mean of the weights, (r,).
        variance: Prior variance of the weights for a weight scale of 1, (r,).
        tasks: Weights that make each of q past tasks, (q, r): what "like one of them" may mean.
        similar: Prior mean of the weights for a target like the past tasks similar to it, (r,).
            None where no meta-features say which these are: then the mean of all takes its place.
    """

    values: FloatArray
    mean: FloatArray
    variance: FloatArray
    tasks: FloatArray
    similar: FloatArray | None = None

    def take(self, rows: IndexArray) -> Basis:
        """Return the basis at some of the architectures."""
        return replace(self, values=self.values[rows])

    def weight_means(self, transfer: FloatArray, task: IndexArray) -> FloatArray:
        """Prior means of the weights under hypotheses (h,), (h, r)."""
        means = np.where((transfer == MEAN)[:, None], self.mean, 0.0)
        means[transfer == SIMILAR] = self.mean if self.similar is None else self.similar
        is_one = task >= 0
        means[is_one] = self.tasks[task[is_one]]
        return means


@final
@dataclass(frozen=True)
class KernelDistances:
    """How far n architectures are from m others, and how often trees tell them apart.

    Args:
        parameters: Share of the parameters in which they differ, 0 to 1, (n, m).
        traits: How much their traits differ, 1 for two random architectures, (n, m).
        same_leaf: Share of the past tasks' trees that put both in the same leaf, (n, m).
    """

    parameters: FloatArray
    traits: FloatArray
    same_leaf: FloatArray

    def take(self, rows: IndexArray) -> KernelDistances:
        """Return the distances of some architectures to each other, where n = m."""
        at = np.ix_(rows, rows)
        return KernelDistances(self.parameters[at], self.traits[at], self.same_leaf[at])

    def kernel(self, length: float, traits: float, leaves: float) -> FloatArray:
        """Correlation of the residual, (n, m)."""
        if leaves:
            return self.same_leaf
        distance = (1.0 - traits) * self.parameters + traits * self.traits
        return np.asarray(np.exp(-distance / length))


def log_evidence(
    hypotheses: Hypotheses,
    basis: Basis,
    distances: KernelDistances,
    y: FloatArray,
    extra: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return each hypothesis's log marginal likelihood and its inverse scale, both (h,).

    Under "like one of them" both are per past task; see :meth:`Hypotheses.spread_out`, whose
    longer grid the results belong to.

    Args:
        hypotheses: The grid.
        basis: Basis functions at the n observed architectures.
        distances: Kernel distances of these to each other, (n, n).
        y: Their values in units of the prior guess of the scale, (n,).
        extra: Variance of each beside the noise, in units of the scale squared, (n,).
    """
    every, _, task = hypotheses.spread_out(len(basis.tasks))
    n = len(y)
    if n == 0:
        return np.zeros(len(every)), np.ones(len(every))
    shapes, shape_of = np.unique(every.rows()[:, 1:], axis=0, return_inverse=True)
    factors = np.linalg.cholesky(_covariances(shapes, basis, distances, extra))
    prior = basis.weight_means(every.transfer, task) @ basis.values.T  # (h, n)
    centered = np.broadcast_to(y - y.mean(), (len(shapes), n))[..., None]
    white_y = np.linalg.solve(factors, centered)[shape_of, :, 0]
    white_prior = np.empty_like(prior)
    for index, factor in enumerate(factors):
        own = shape_of == index
        white_prior[own] = np.linalg.solve(factor, prior[own].T).T
    a = (white_y**2).sum(axis=1) + _SCALE_WEIGHT
    b = (white_y * white_prior).sum(axis=1)
    c = (white_prior**2).sum(axis=1)
    total = n + _SCALE_WEIGHT
    # The inverse scale that maximizes total * log(u) - (u^2 a - 2 u b + c) / 2.
    inverse_scale = (b + np.sqrt(b**2 + 4 * total * a)) / (2 * a)
    log_det = np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(axis=1)[shape_of]
    fit = inverse_scale**2 * a - 2 * inverse_scale * b + c
    return total * np.log(inverse_scale) - 0.5 * fit - log_det, inverse_scale


def _covariances(
    shapes: FloatArray, basis: Basis, distances: KernelDistances, extra: FloatArray | None
) -> FloatArray:
    """Covariance of y / s for rows of hypotheses without transfer, (h, n, n)."""
    n = len(distances.parameters)
    linear = (basis.values * basis.variance) @ basis.values.T
    kernels = {kind: distances.kernel(*kind) for kind in {tuple(row[2:5]) for row in shapes}}
    covariances = np.empty((len(shapes), n, n))
    for (weight, residual, *kind, noise), out in zip(shapes, covariances, strict=True):
        out[:] = residual**2 * kernels[tuple(kind)]
        out += weight**2 * linear + _OFFSET_VARIANCE
        out[np.diag_indices(n)] += noise**2 if extra is None else noise**2 + extra
    return covariances


@final
class Posterior:
    """The model conditioned on the target's observations.

    Architectures whose values are still to come may stand behind the observed ones: less is left
    to learn near them. Each hypothesis takes them for what it predicts, which is no evidence.

    Args:
        hypotheses: The grid.
        basis: Basis functions at the n observed architectures, then at the p expected ones.
        distances: Kernel distances of all these to each other, (n + p, n + p).
        y: Values of the observed ones in units of the prior guess of the scale, (n,).
        log_prior: Log prior of each hypothesis of the grid, (g,).
        extra: Variance of each value beside the noise, in units of the scale squared, (n,): how
            little is known of it. None without any such value.
    """

    def __init__(
        self,
        hypotheses: Hypotheses,
        basis: Basis,
        distances: KernelDistances,
        y: FloatArray,
        log_prior: FloatArray,
        extra: FloatArray | None = None,
    ) -> None:
        every, origin, task = hypotheses.spread_out(len(basis.tasks))
        self._transfer = every.transfer
        self._center = float(y.mean()) if len(y) else 0.0
        rows = spread(y, _MAX_EVIDENCE)
        evidence, scale = log_evidence(
            hypotheses,
            basis.take(rows),
            distances.take(rows),
            y[rows],
            None if extra is None else extra[rows],
        )
        prior = (log_prior - np.log(np.bincount(origin)))[origin]
        score = evidence + guard_during_search(prior, evidence, every.transfer == NOTHING, len(y))
        probability = np.exp(score - score.max())
        self.probability: FloatArray = probability / probability.sum()
        """Posterior probability of each hypothesis of the grid as it is spread out, (h,)."""
        order = np.argsort(-self.probability, kind="stable")
        kept = order[: np.searchsorted(self.probability[order].cumsum(), _KEPT) + 1]
        means = basis.weight_means(every.transfer, task)
        shapes = every.rows()
        self._members = [
            _Member(
                shapes[h], means[h], basis, distances, y - self._center, float(scale[h]), extra
            )
            for h in kept
        ]
        self._n_observed = len(y)
        self._share = self.probability[kept] / self.probability[kept].sum()

    def predict(self, basis: Basis, distances: KernelDistances) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of the noise-free value, each (m,).

        Args:
            basis: Basis functions at the m candidates.
            distances: Kernel distances of these to the observed and the expected architectures,
                (m, n + p).
        """
        kernels = {member.kernel: distances.kernel(*member.kernel) for member in self._members}
        parts = [member.predict(basis, kernels[member.kernel]) for member in self._members]
        means = np.stack([mean for mean, _ in parts])
        variances = np.stack([variance for _, variance in parts])
        mean = self._share @ means
        spread = self._share @ (variances + (means - mean) ** 2)
        return mean + self._center, np.sqrt(np.maximum(spread, 1e-18))

    def preview(self, basis: Basis, distances: KernelDistances) -> tuple[FloatArray, FloatArray]:
        """Return the mean, and nearly the standard deviation, of more candidates, each (m,).

        The costly part of :meth:`predict` is each hypothesis's own variance, one triangular solve
        each. So that is averaged over the likeliest ones only, the fewer the more observations
        there are. The mean, and how far hypotheses disagree about it, are linear in what
        candidates have in common with the observed ones, and exact.

        Args:
            basis: As in :meth:`predict`.
            distances: As in :meth:`predict`.
        """
        kernels = {member.kernel: distances.kernel(*member.kernel) for member in self._members}
        means = np.stack([m.mean(basis, kernels[m.kernel]) for m in self._members])
        mean = self._share @ means
        spread = self._share @ (means - mean) ** 2
        some = self._members[: max(_PREVIEWED // (1 + self._n_observed), 1)]
        share = self._share[: len(some)] / self._share[: len(some)].sum()
        within = np.stack([m.predict(basis, kernels[m.kernel])[1] for m in some])
        return mean + self._center, np.sqrt(np.maximum(spread + share @ within, 1e-18))

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
        return float(self.probability[self._transfer != NOTHING].sum())


@final
class _Member:
    """One hypothesis, conditioned."""

    def __init__(
        self,
        shape: FloatArray,
        mean: FloatArray,
        basis: Basis,
        distances: KernelDistances,
        y: FloatArray,
        inverse_scale: float,
        extra: FloatArray | None,
    ) -> None:
        _, self._weight, self._residual, *kernel, noise = shape.tolist()
        self.kernel: Kernel = (kernel[0], kernel[1], kernel[2])
        self._n = n = len(y)
        # The scale is estimated from n values: what is predicted is a Student t, n + 2 degrees of
        # freedom (the prior guess among them), taken for a normal of the same variance.
        self._scale = 1.0 / inverse_scale
        self._widened = np.sqrt((n + 2.0) / n) * self._scale if n else self._scale
        self.noise = noise * self._widened
        self._mean = mean
        self._rows = rows = basis.values
        self._offset = _OFFSET_VARIANCE if n else 0.0
        covariance = self._cross(basis.variance, rows, rows, distances.kernel(*self.kernel))
        unknown = np.full(len(covariance), noise**2)
        if extra is not None:
            unknown[:n] += extra
        covariance[np.diag_indices(len(covariance))] += unknown
        self._factor = _factor(covariance) if len(covariance) else None
        observed, self._alpha = rows[:n], np.zeros(0)
        if n and self._factor is not None:
            corner = self._factor[:n, :n]  # is the factor of the observed ones
            self._alpha, _ = dpotrs(corner, y * inverse_scale - observed @ mean, lower=True)
        self.weights = mean + self._weight**2 * basis.variance * (observed.T @ self._alpha)

    def _cross(
        self, variance: FloatArray, left: FloatArray, right: FloatArray, kernel: FloatArray
    ) -> FloatArray:
        """Covariance between two sets of architectures, in units of the scale squared."""
        linear = self._weight**2 * (left * variance) @ right.T
        return np.asarray(linear + self._residual**2 * kernel + self._offset)

    def mean(self, basis: Basis, kernel: FloatArray) -> FloatArray:
        """Mean as in :meth:`predict`, (m,), without the covariance with each observed one, (m, n).

        That is what takes the time where m is large; the variance, where wanted, needs it anyway.
        """
        alpha = self._alpha
        linear = basis.values @ self.weights
        rest = self._residual**2 * (kernel[:, : self._n] @ alpha) + self._offset * alpha.sum()
        return np.asarray((linear + rest) * self._scale)

    def predict(self, basis: Basis, kernel: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Mean and variance of the noise-free value at m candidates, each (m,)."""
        mean = basis.values @ self._mean
        own = self._weight**2 * (basis.values**2 @ basis.variance) + self._residual**2
        # Nothing observed: the offset is unknown and the same for all, so it is left out.
        if self._factor is None:
            return mean * self._scale, own * self._scale**2
        cross = self._cross(basis.variance, basis.values, self._rows, kernel)
        mean = mean + cross[:, : self._n] @ self._alpha
        white, _ = dtrtrs(self._factor, cross.T, lower=True)
        variance = own + self._offset - (white**2).sum(axis=0)
        return mean * self._scale, np.maximum(variance, 0.0) * self._widened**2


def _factor(covariance: FloatArray) -> FloatArray:
    """Lower Cholesky factor, (n, n); what is above its diagonal means nothing.

    LAPACK is called as it is, here and where the factor is used: for matrices as small as these
    SciPy's own checks take several times as long as the arithmetic.
    """
    factor, info = dpotrf(covariance, lower=True, clean=False)
    if info:
        raise np.linalg.LinAlgError(f"covariance is not positive definite (row {info})")
    return np.asarray(factor)


def spread(y: FloatArray, most: int) -> IndexArray:
    """Return the rows that stand for all n: all, or the best half and an even share of the rest.

    Args:
        y: Values, larger is better, (n,).
        most: How many rows, at most.
    """
    if len(y) <= most:
        return np.arange(len(y))
    order = np.argsort(-y, kind="stable")
    half = most // 2
    rest = np.linspace(half, len(y) - 1, most - half).astype(np.intp)
    return np.sort(np.concatenate([order[:half], order[rest]]))
