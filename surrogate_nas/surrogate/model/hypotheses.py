"""The grid of hypotheses that the posterior averages over; arrays only.

A hypothesis fixes the hyperparameters of the model that
:mod:`surrogate_nas.surrogate.model.posterior` describes. It says how past tasks are related to
the target, and how alike the values of two architectures are.

Notation: g hypotheses in the grid, q past tasks that the target may be like. A longer grid of h
hypotheses has one for each of these past tasks where the grid has "like one of them".
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

from surrogate_nas.surrogate.model.kernel import Kernel

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]

NOTHING, MEAN, ONE, SIMILAR = 0.0, 1.0, 2.0, 3.0
"""Kinds of transfer. NOTHING: past tasks say nothing about the target. MEAN: the target is like
their mean. ONE: it is like one of them. SIMILAR: it is like the mean of the past tasks with
similar meta-features."""
OF_META_FEATURES = ((SIMILAR, 0.3),)
"""Transfers and weights that join the grid where past tasks have meta-features."""
TRANSFERS = ((NOTHING, 0.0), (MEAN, 0.15), (MEAN, 0.5), (MEAN, 1.5), (ONE, 0.3))
RESIDUALS = (0.15, 0.5, 1.5)
KERNELS = (
    *(Kernel(0.25, 0.0, 0.0), Kernel(1.0, 0.0, 0.0)),
    *(Kernel(0.25, 0.5, 0.0), Kernel(1.0, 0.5, 0.0), Kernel(1.0, 1.0, 0.0)),
    Kernel(1.0, 0.0, 1.0),
)
NOISES = (0.03, 0.2)


class Hypothesis(NamedTuple):
    """One point of the grid. Standard deviations are in units of the target's scale.

    Args:
        transfer: What past tasks say of the target: NOTHING, MEAN, ONE or SIMILAR.
        weight: Standard deviation of the basis functions' weights around their prior mean.
        residual: Standard deviation of what no past task knows.
        kernel: Correlation of this residual between architectures.
        noise: Standard deviation between trainings of the same architecture.
    """

    transfer: float
    weight: float
    residual: float
    kernel: Kernel
    noise: float


@final
@dataclass(frozen=True)
class Hypotheses:
    """A grid of hypotheses as columns, (g,) each; see :class:`Hypothesis` for their meaning."""

    transfer: FloatArray
    weight: FloatArray
    residual: FloatArray
    length: FloatArray
    """Length of the kernel."""
    traits: FloatArray
    """Share of the traits in the kernel."""
    leaves: FloatArray
    """1 for the kernel of leaves, 0 for one of distances."""
    noise: FloatArray

    @staticmethod
    def grid(
        *,
        with_basis: bool = True,
        transfers: Sequence[tuple[float, float]] = TRANSFERS,
        residuals: Sequence[float] = RESIDUALS,
        kernels: Sequence[tuple[float, float, float]] = KERNELS,
        noises: Sequence[float] = NOISES,
    ) -> Hypotheses:
        """Return all combinations; without basis functions, only the ones that need none.

        Args:
            with_basis: Whether there are past tasks.
            transfers: Pairs of transfer and weight.
            residuals: Standard deviations.
            kernels: Triples of length, traits and leaves.
            noises: Standard deviations.
        """
        if not with_basis:
            # NOTE: without past tasks there are no trees, whose leaves the last kernel compares.
            transfers = ((NOTHING, 0.0),)
            kernels = [kernel for kernel in kernels if not Kernel(*kernel).leaves]
        points = itertools.product(transfers, residuals, kernels, noises)
        return Hypotheses.from_rows(
            np.array([(*pair, r, *kernel, noise) for pair, r, kernel, noise in points])
        )

    @staticmethod
    def from_rows(rows: FloatArray) -> Hypotheses:
        """Return the grid of a table with one row a hypothesis, (g, 7), as in :meth:`rows`."""
        return Hypotheses(*rows.T)

    def __len__(self) -> int:
        return len(self.noise)

    def rows(self) -> FloatArray:
        """Return one row a hypothesis, (g, 7): the fields in the order of this class."""
        return np.column_stack([getattr(self, f.name) for f in fields(self)])

    def each(self) -> list[Hypothesis]:
        """Return the hypotheses one by one, with named fields."""
        return [
            Hypothesis(transfer, weight, residual, Kernel(length, traits, leaves), noise)
            for transfer, weight, residual, length, traits, leaves, noise in self.rows().tolist()
        ]

    def take(self, places: IndexArray) -> Hypotheses:
        """Return some of the hypotheses."""
        return Hypotheses.from_rows(self.rows()[places])

    def without_transfer(self) -> tuple[Hypotheses, IndexArray]:
        """Return the hypotheses that differ in more than the transfer.

        The transfer changes the prior mean alone. Hypotheses that share the rest have the same
        covariance, whose factorization costs most of the time.

        Returns:
            These hypotheses, with transfer NOTHING, and the place among them that each hypothesis
            of the grid belongs to, (g,).
        """
        # NOTE: the transfer is the first column.
        rest, place = np.unique(self.rows()[:, 1:], axis=0, return_inverse=True)
        return Hypotheses(np.full(len(rest), NOTHING), *rest.T), place

    def even_over_kernels(self, prior: FloatArray) -> FloatArray:
        """Return probabilities (g,) that hypotheses with different kernels alone share evenly."""
        others = np.column_stack([self.transfer, self.weight, self.residual, self.noise])
        _, group = np.unique(others, axis=0, return_inverse=True)
        return np.asarray((np.bincount(group, weights=prior) / np.bincount(group))[group])

    def spread_out(self, n_tasks: int) -> SpreadGrid:
        """Return the longer grid, where "like one of them" is one hypothesis a past task.

        Args:
            n_tasks: Number of past tasks that the target may be like, q.
        """
        # Each hypothesis stays once, in its place, or becomes q neighbouring ones.
        repeats = np.where(self.transfer == ONE, n_tasks, 1)
        origin = np.repeat(np.arange(len(self)), repeats)
        task = np.concatenate(
            [np.arange(n_tasks) if t == ONE else np.array([-1]) for t in self.transfer]
        )
        return SpreadGrid(self.take(origin), origin, task)


class SpreadGrid(NamedTuple):
    """A grid in which "like one of them" is one hypothesis for each past task.

    Args:
        hypotheses: The longer grid, h hypotheses.
        origin: Place of each in the shorter grid, (h,).
        task: Past task that each takes the target for, or -1, (h,).
    """

    hypotheses: Hypotheses
    origin: IndexArray
    task: IndexArray

    def split(self, log_prior: FloatArray) -> FloatArray:
        """Return log priors (g,) divided evenly among the past tasks of each hypothesis, (h,)."""
        # NOTE: so that "like one of them" does not gain weight with the number of past tasks.
        return np.asarray((log_prior - np.log(np.bincount(self.origin)))[self.origin])

    def averaged(self, log_evidence: FloatArray) -> FloatArray:
        """Return log evidence (h,) averaged over the past tasks of each hypothesis, (g,)."""
        sizes = np.bincount(self.origin)
        total = np.full(len(sizes), -np.inf)
        np.logaddexp.at(total, self.origin, log_evidence)
        return np.asarray(total - np.log(sizes))
