"""How alike two architectures are to the residual Gaussian process; arrays only.

Notation: n and m architectures. A distance is 0 for equal architectures.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, final

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]


class Kernel(NamedTuple):
    """The correlation of two architectures' residuals, as a function of their distances.

    Args:
        length: Distance at which the correlation has fallen to 1/e.
        traits: Share of the traits in the distance, 0 to 1. The rest are the parameters.
        leaves: 1 where the correlation is the share of trees that put both architectures in the
            same leaf, and 0 where it falls with the distance.
    """

    length: float
    traits: float
    leaves: float


@final
@dataclass(frozen=True)
class KernelDistances:
    """All that kernels need to know of n architectures and m others.

    Args:
        parameters: Share of the parameters in which they differ, 0 to 1, (n, m).
        traits: Difference of their traits, 1 for two random architectures, (n, m).
        same_leaf: Share of the past tasks' trees that put both in the same leaf, (n, m).
    """

    parameters: FloatArray
    traits: FloatArray
    same_leaf: FloatArray

    def take(self, rows: IndexArray) -> KernelDistances:
        """Return the distances of some architectures to each other, where n = m."""
        at = np.ix_(rows, rows)
        return KernelDistances(self.parameters[at], self.traits[at], self.same_leaf[at])

    def correlation(self, kernel: Kernel) -> FloatArray:
        """Return the correlation of the residuals by a kernel, (n, m).

        At a distance d it is exp(-d / length), the exponential kernel (Rasmussen & Williams 2006,
        section 4.2.1). The share of equal leaves is the kernel of Breiman 2000, "Some infinity
        theory for predictor ensembles".
        """
        # NOTE: past tasks' trees split where past tasks differ, so that a shared leaf says what a
        # distance in parameters cannot.
        if kernel.leaves:
            return self.same_leaf
        distance = (1.0 - kernel.traits) * self.parameters + kernel.traits * self.traits
        return np.asarray(np.exp(-distance / kernel.length))

    def correlations(self, kernels: Iterable[Kernel]) -> dict[Kernel, FloatArray]:
        """Return the correlation by each different kernel, (n, m) each."""
        return {kernel: self.correlation(kernel) for kernel in set(kernels)}
