"""The grid of hyperparameters that the posterior averages over; arrays only.

Each point of the grid is one hypothesis of what past tasks say of the target and of how alike
architectures are; :mod:`surrogate_nas.surrogate.model.posterior` says what the numbers mean there.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import final

import numpy as np

from surrogate_nas.arrays import FloatArray, IndexArray

NOTHING, MEAN, ONE, SIMILAR = 0.0, 1.0, 2.0, 3.0
"""What past tasks say of the target: nothing, that it is like their mean, like one of them, or
like the mean of those that are near it by their meta-features."""
OF_META_FEATURES = ((SIMILAR, 0.3),)
"""More transfers, where past tasks have meta-features."""
TRANSFERS = ((NOTHING, 0.0), (MEAN, 0.15), (MEAN, 0.5), (MEAN, 1.5), (ONE, 0.3))
RESIDUALS = (0.15, 0.5, 1.5)
KERNELS = (
    *((0.25, 0.0, 0.0), (1.0, 0.0, 0.0), (0.25, 0.5, 0.0), (1.0, 0.5, 0.0), (1.0, 1.0, 0.0)),
    (1.0, 0.0, 1.0),
)
NOISES = (0.03, 0.2)


@final
@dataclass(frozen=True)
class Hypotheses:
    """The grid of hyperparameters, each array (g,)."""

    transfer: FloatArray
    """What past tasks say: NOTHING, MEAN, ONE or SIMILAR."""
    weight: FloatArray
    """How far the basis functions' weights may stray from it."""
    residual: FloatArray
    """Standard deviation of what no past task knows."""
    length: FloatArray
    """Distance over which that is alike."""
    traits: FloatArray
    """Share of the traits in this distance, the rest being the parameters', 0 to 1."""
    leaves: FloatArray
    """1 where sharing leaves says what is alike, 0 where the distance does."""
    noise: FloatArray
    """Standard deviation of training the same architecture again."""

    @staticmethod
    def grid(
        *,
        with_basis: bool = True,
        transfers: Sequence[tuple[float, float]] = TRANSFERS,
        residuals: Sequence[float] = RESIDUALS,
        kernels: Sequence[tuple[float, float, float]] = KERNELS,
        noises: Sequence[float] = NOISES,
    ) -> Hypotheses:
        """All combinations; without basis functions those that need none.

        Args:
            with_basis: Whether there are past tasks.
            transfers: Pairs of transfer and weight.
            residuals: Standard deviations.
            kernels: Length, traits and leaves.
            noises: Standard deviations.
        """
        if not with_basis:
            transfers = ((NOTHING, 0.0),)
            kernels = [kernel for kernel in kernels if not kernel[2]]
        rows = itertools.product(transfers, residuals, kernels, noises)
        table = np.array([(*pair, r, *kernel, noise) for pair, r, kernel, noise in rows])
        return Hypotheses(*table.T)

    def __len__(self) -> int:
        return len(self.noise)

    def rows(self) -> FloatArray:
        """Return one row a hypothesis, (g, 7)."""
        return np.column_stack([getattr(self, f.name) for f in fields(self)])

    def even_over_kernels(self, prior: FloatArray) -> FloatArray:
        """Divide the probability of hypotheses (g,) that differ in the kernel alone equally."""
        others = np.column_stack([self.transfer, self.weight, self.residual, self.noise])
        _, group = np.unique(others, axis=0, return_inverse=True)
        return np.asarray((np.bincount(group, weights=prior) / np.bincount(group))[group])

    def spread_out(self, n_tasks: int) -> tuple[Hypotheses, IndexArray, IndexArray]:
        """Write "like one of them" out: one hypothesis for each past task that it may be.

        Returns:
            The longer grid (h,), the place of each in this one (h,), and its past task, or -1.
        """
        repeats = np.where(self.transfer == ONE, n_tasks, 1)
        origin = np.repeat(np.arange(len(self)), repeats)
        task = np.concatenate(
            [np.arange(n_tasks) if t == ONE else np.array([-1]) for t in self.transfer]
        )
        return Hypotheses(*self.rows()[origin].T), origin, task
