"""The linear part of the model: basis functions and the prior of their weights; arrays only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import numpy as np
import numpy.typing as npt

from surrogate_nas.surrogate.model.hypotheses import MEAN, SIMILAR

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]


@final
@dataclass(frozen=True)
class Basis:
    """Basis functions at n architectures and the prior of their weights.

    Args:
        values: The basis functions, Phi, (n, r).
        mean: Prior mean of the weights for a target like the mean of the past tasks, (r,).
        variance: Prior variance of the weights for a weight scale of 1, (r,).
        tasks: Weights that make each of q past tasks, (q, r): what "like one of them" may mean.
        similar: Prior mean of the weights for a target like the past tasks with similar
            meta-features, (r,). None where the target's are unknown: then `mean` takes its place.
    """

    values: FloatArray
    mean: FloatArray
    variance: FloatArray
    tasks: FloatArray
    similar: FloatArray | None = None

    @staticmethod
    def empty(n: int) -> Basis:
        """Return the basis without any basis function at n architectures."""
        none = np.zeros(0)
        return Basis(np.zeros((n, 0)), none, none, np.zeros((0, 0)))

    def take(self, rows: IndexArray) -> Basis:
        """Return the basis at some of the architectures."""
        return replace(self, values=self.values[rows])

    def weight_means(self, transfer: FloatArray, task: IndexArray) -> FloatArray:
        """Return the prior mean of the weights under each of h hypotheses, (h, r).

        Args:
            transfer: Kind of transfer of each hypothesis, (h,).
            task: Past task that each takes the target for, or -1, (h,).
        """
        # NOTE: "past tasks say nothing" keeps the prior mean 0, which no line below touches.
        means = np.where((transfer == MEAN)[:, None], self.mean, 0.0)
        means[transfer == SIMILAR] = self.mean if self.similar is None else self.similar
        # "Like one of them": the weights that make this past task.
        is_one = task >= 0
        means[is_one] = self.tasks[task[is_one]]
        return means
