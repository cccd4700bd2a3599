"""Small problems for the posterior, arrays only: a random world, and the textbook's view of it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from surrogate_nas.surrogate.model.boosting import same_leaf
from surrogate_nas.surrogate.model.evidence import log_evidence
from surrogate_nas.surrogate.model.hypotheses import MEAN, ONE, Hypotheses
from surrogate_nas.surrogate.model.kernel import KernelDistances
from surrogate_nas.surrogate.model.linear import Basis
from surrogate_nas.surrogate.model.posterior import Posterior

FloatArray = npt.NDArray[np.float64]

OFFSET_VARIANCE = 100.0
GRID = Hypotheses.grid()
N_TASKS = 3
EVERY, ORIGIN, TASK = GRID.spread_out(N_TASKS)
SOME = range(0, len(EVERY), 7)
"""Hypotheses of every kind: 7 is coprime to the lengths of the grid's axes and to N_TASKS."""


@dataclass(frozen=True)
class World:
    """n observed architectures followed by m candidates, and what may be true of them."""

    n: int
    basis: Basis
    whole: KernelDistances
    """Of all to all, (n + m, n + m)."""
    y: FloatArray
    hypotheses: Hypotheses = field(default=GRID)
    log_prior: FloatArray | None = None

    def model(self) -> Posterior:
        """The posterior of the observed ones."""
        log_prior = np.zeros(len(self.hypotheses)) if self.log_prior is None else self.log_prior
        distances = self.whole.take(np.arange(self.n))
        return Posterior(self.hypotheses, self.seen, distances, self.observed, log_prior)

    @property
    def observed(self) -> FloatArray:
        return self.y[: self.n]

    @property
    def seen(self) -> Basis:
        return self.basis.take(np.arange(self.n))

    @property
    def unseen(self) -> Basis:
        return self.basis.take(np.arange(self.n, len(self.y)))

    @property
    def distances(self) -> KernelDistances:
        """Of the candidates to the observed, (m, n)."""
        n = self.n
        whole = self.whole
        return KernelDistances(
            whole.parameters[n:, :n], whole.traits[n:, :n], whole.same_leaf[n:, :n]
        )

    def predict(self) -> tuple[FloatArray, FloatArray]:
        """Mean and standard deviation of the candidates."""
        return self.model().predict(self.unseen, self.distances)

    def evidence(self) -> tuple[FloatArray, FloatArray]:
        """Of every hypothesis as the grid is spread out."""
        distances = self.whole.take(np.arange(self.n))
        grid = self.hypotheses.spread_out(len(self.seen.tasks))
        return log_evidence(grid, self.seen, distances, self.observed)

    def only(self, h: int) -> World:
        """The same with certainty of one hypothesis of the spread-out grid, and of its task."""
        basis = self.basis
        if TASK[h] >= 0:
            basis = replace(basis, tasks=basis.tasks[[TASK[h]]])
        one = Hypotheses(*EVERY.rows()[[h]].T)
        return replace(self, basis=basis, hypotheses=one, log_prior=None)


def apart(points: FloatArray) -> FloatArray:
    """Mean absolute difference of each point (n, p) to each, whose kernel is definite, (n, n)."""
    return np.asarray(np.abs(points[:, None] - points[None]).mean(axis=2))


def world(seed: int = 0, n: int = 9, m: int = 5, r: int = 2) -> World:
    """Random points, random basis functions with a random prior, values that they half explain."""
    rng = np.random.default_rng(seed)
    points, traits = rng.random((n + m, 4)), rng.normal(size=(n + m, 3))
    leaves = rng.integers(3, size=(n + m, 7)).astype(np.int16)
    whole = KernelDistances(apart(points), apart(traits), same_leaf(leaves, leaves))
    values = rng.normal(size=(n + m, r))
    tasks = rng.normal(0.5, 0.5, (N_TASKS if r else 0, r))
    basis = Basis(values, rng.normal(0.3, 0.3, r), rng.uniform(0.2, 1.0, r), tasks)
    y = 0.4 + values.sum(axis=1) + np.sin(5 * points[:, 0]) + rng.normal(0.0, 0.1, n + m)
    return World(n, basis, whole, y, Hypotheses.grid(with_basis=r > 0))


def prior_weights(w: World, h: int) -> FloatArray:
    """What the weights are expected to be: nothing, the mean's, or those of one past task."""
    if EVERY.transfer[h] == ONE:
        return np.asarray(w.basis.tasks[TASK[h]])
    return w.basis.mean if EVERY.transfer[h] == MEAN else np.zeros_like(w.basis.mean)


def moments(w: World, h: int) -> tuple[FloatArray, FloatArray]:
    """Prior mean and covariance of all noise-free values over s, as the module documents them."""
    phi, variance = w.basis.values, np.diag(w.basis.variance)
    share = EVERY.traits[h]
    distance = (1 - share) * w.whole.parameters + share * w.whole.traits
    kernel = w.whole.same_leaf if EVERY.leaves[h] else np.exp(-distance / EVERY.length[h])
    covariance = (
        OFFSET_VARIANCE
        + EVERY.weight[h] ** 2 * phi @ variance @ phi.T
        + EVERY.residual[h] ** 2 * kernel
    )
    return np.asarray(phi @ prior_weights(w, h)), np.asarray(covariance)
