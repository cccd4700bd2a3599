"""Bayesian linear combination of basis functions plus a Gaussian process; arrays only.

The model of the target's values y at n architectures, in units of an unknown scale s:

    y / s = offset + Phi w + g + noise,    w ~ N(mu, t_w^2 diag(v)),    g ~ GP(0, t_g^2 k).

Phi (n, r) are the basis functions: what past tasks predict. Their weights w have the prior mean mu
(r,) and variance v (r,). The offset has a flat prior, the noise a normal one. The kernel k is one
of :mod:`surrogate_nas.surrogate.model.kernel`.

Given these hyperparameters everything is Gaussian, so every posterior has a closed form
(Rasmussen & Williams 2006, section 2.7: a Gaussian process with explicit basis functions). The
hyperparameters (mu, t_w, t_g, k, noise) live on a small grid, and each point of it is a hypothesis
(:mod:`surrogate_nas.surrogate.model.hypotheses`). Predictions average over the hypotheses, each
with its posterior probability (:mod:`surrogate_nas.surrogate.model.evidence`). Where the results
speak against past tasks, the prior cannot outvote them
(:mod:`surrogate_nas.surrogate.model.transfer_guard`). Larger is better.

Notation beside that: p architectures whose results are pending, m candidates, g hypotheses, h of
them in the longer grid.
"""

from __future__ import annotations

from typing import final

import numpy as np
import numpy.typing as npt

from surrogate_nas.surrogate.model.conditioned import ConditionedHypothesis
from surrogate_nas.surrogate.model.evidence import log_evidence
from surrogate_nas.surrogate.model.hypotheses import NOTHING, Hypotheses
from surrogate_nas.surrogate.model.kernel import Kernel, KernelDistances
from surrogate_nas.surrogate.model.linear import Basis
from surrogate_nas.surrogate.model.transfer_guard import guard_during_search

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]

_MAX_EVIDENCE = 100
"""Number of observations that decide between hypotheses. More would only confirm them."""
_KEPT = 0.99
"""Predictions average over the smallest set of hypotheses whose posterior probability sums to
this. Few results need many hypotheses, at little cost each; many results leave a few."""
_PREVIEWED = 200
"""Bound on hypotheses times observations in a preview's variance: its time grows with that."""
_LEAST_VARIANCE = 1e-18


@final
class Posterior:
    """The model conditioned on the target's observations.

    Pending architectures, whose values are still to come, may stand behind the observed ones. Then
    less is left to learn near them. Each hypothesis takes their values for what it predicts, so
    they are no evidence for any of them.

    Args:
        hypotheses: The grid, g hypotheses.
        basis: Basis functions at the n observed architectures, then at the p pending ones.
        distances: Kernel distances of all these to each other, (n + p, n + p).
        y: Values of the observed ones in units of the prior guess of the scale, (n,).
        log_prior: Log prior of each hypothesis of the grid, (g,).
        extra_variance: Variance of each value beside the noise, in units of the scale squared,
            (n,). It is above 0 where the value itself is a prediction. None without such values.
    """

    def __init__(
        self,
        hypotheses: Hypotheses,
        basis: Basis,
        distances: KernelDistances,
        y: FloatArray,
        log_prior: FloatArray,
        extra_variance: FloatArray | None = None,
    ) -> None:
        grid = hypotheses.spread_out(len(basis.tasks))
        self._says_nothing = grid.hypotheses.transfer == NOTHING
        # NOTE: the evidence costs a factorization a hypothesis, so it is taken of some results.
        # The hypotheses that are kept see all of them.
        decisive = best_and_even(y, _MAX_EVIDENCE)
        evidence, inverse_scale = log_evidence(
            grid,
            basis.take(decisive),
            distances.take(decisive),
            y[decisive],
            None if extra_variance is None else extra_variance[decisive],
        )
        prior = guard_during_search(
            grid.split(log_prior), evidence, self._says_nothing, n_results=len(y)
        )
        self.probability: FloatArray = _normalized(evidence + prior)
        """Posterior probability of each hypothesis of the longer grid, (h,)."""
        kept = _likeliest(self.probability)
        self.share: FloatArray = self.probability[kept] / self.probability[kept].sum()
        """Share of each conditioned hypothesis in predictions, likeliest first, summing to 1."""
        self.center = float(y.mean()) if len(y) else 0.0
        """Mean of the observed values, which the conditioned hypotheses do not see."""
        # The mean stands in for the offset, whose prior is flat but has the mean 0.
        weight_means = basis.weight_means(grid.hypotheses.transfer, grid.task)
        points = grid.hypotheses.take(kept).each()
        self.conditioned = [
            ConditionedHypothesis(
                point,
                weight_means[h],
                basis,
                distances,
                y - self.center,
                float(inverse_scale[h]),
                extra_variance,
            )
            for point, h in zip(points, kept, strict=True)
        ]
        """The likeliest hypotheses, each conditioned on all observations."""
        self._n_observed = len(y)

    def predict(self, basis: Basis, distances: KernelDistances) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of the noise-free value, (m,) each.

        Args:
            basis: Basis functions at the m candidates.
            distances: Kernel distances of these to the observed and the pending architectures,
                (m, n + p).
        """
        correlations = self._correlations(distances)
        parts = [
            one.predict(basis, correlations[one.hypothesis.kernel]) for one in self.conditioned
        ]
        means = np.stack([mean for mean, _ in parts])
        variances = np.stack([variance for _, variance in parts])
        # The variance of a mixture: the mean of the variances and the variance of the means.
        mean = self.share @ means
        variance = self.share @ (variances + (means - mean) ** 2)
        return mean + self.center, np.sqrt(np.maximum(variance, _LEAST_VARIANCE))

    def preview(self, basis: Basis, distances: KernelDistances) -> tuple[FloatArray, FloatArray]:
        """Return the mean and nearly the standard deviation for many candidates, (m,) each.

        The mean is exact, and so is the disagreement of hypotheses about it. Each hypothesis's own
        variance is averaged over the likeliest of them alone: fewer, the more observations there
        are.

        Args:
            basis: As in :meth:`predict`.
            distances: As in :meth:`predict`.
        """
        correlations = self._correlations(distances)
        means = np.stack(
            [one.mean(basis, correlations[one.hypothesis.kernel]) for one in self.conditioned]
        )
        mean = self.share @ means
        between = self.share @ (means - mean) ** 2
        # NOTE: a hypothesis's variance takes a triangular solve, which is nearly all the time of
        # predict. Means are linear in the correlations, and cheap.
        some = self.conditioned[: max(_PREVIEWED // (1 + self._n_observed), 1)]
        share = self.share[: len(some)] / self.share[: len(some)].sum()
        within = np.stack(
            [one.predict(basis, correlations[one.hypothesis.kernel])[1] for one in some]
        )
        variance = between + share @ within
        return mean + self.center, np.sqrt(np.maximum(variance, _LEAST_VARIANCE))

    def _correlations(self, distances: KernelDistances) -> dict[Kernel, FloatArray]:
        """Return the correlation by each kernel in use, as hypotheses share kernels."""
        return distances.correlations(one.hypothesis.kernel for one in self.conditioned)

    @property
    def noise(self) -> float:
        """Standard deviation of an observation around the noise-free value."""
        return float(np.sqrt(self.share @ [one.noise**2 for one in self.conditioned]))

    @property
    def weights(self) -> FloatArray:
        """Posterior mean of the basis functions' weights, (r,), in units of the scale."""
        return np.asarray(self.share @ np.stack([one.weights for one in self.conditioned]))

    @property
    def transfer(self) -> float:
        """Posterior probability that past tasks say anything about this one, 0 to 1."""
        return float(self.probability[~self._says_nothing].sum())


def _normalized(log_probability: FloatArray) -> FloatArray:
    """Return probabilities that sum to 1, (h,)."""
    probability = np.exp(log_probability - log_probability.max())
    return np.asarray(probability / probability.sum())


def _likeliest(probability: FloatArray) -> IndexArray:
    """Return the places of the likeliest hypotheses that together reach _KEPT, likeliest first."""
    order = np.argsort(-probability, kind="stable")
    return np.asarray(order[: np.searchsorted(probability[order].cumsum(), _KEPT) + 1])


def best_and_even(y: FloatArray, most: int) -> IndexArray:
    """Return rows that represent all n: the best half and an even share of the rest.

    Args:
        y: Values, larger is better, (n,).
        most: Number of rows, at most. All are returned where there are no more.
    """
    if len(y) <= most:
        return np.arange(len(y))
    order = np.argsort(-y, kind="stable")
    half = most // 2
    rest = np.linspace(half, len(y) - 1, most - half).astype(np.intp)
    return np.sort(np.concatenate([order[:half], order[rest]]))
