"""A target task's own units <-> the units that its posterior works in; arrays only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from surrogate_nas.arrays import FloatArray

_MIN_OBSERVATIONS = 3
_ROUNDING = 1e-12
_LARGEST = 50.0


@final
@dataclass(frozen=True)
class TargetScale:
    """Robust standardization whose bad tail is compressed; strictly increasing.

    Architectures that do not learn at all lie far below the rest and would own a least-squares
    scale, while only the order among the good ones matters to a search. So z = (y - center) /
    scale, and below -1 it becomes -1 - log(-z).

    Args:
        center: Median of the observed values.
        scale: Their robust standard deviation.
    """

    center: float
    scale: float

    @staticmethod
    def fit(y: FloatArray, typical: float) -> TargetScale:
        """Fit to observations, larger is better.

        Args:
            y: Values in the target's own units, (n,).
            typical: Scale of past tasks, used until there are a few observations.
        """
        if len(y) == 0:
            return TargetScale(0.0, 1.0)
        center = float(np.median(y))
        if len(y) < _MIN_OBSERVATIONS:
            return TargetScale(center, max(typical, float(np.std(y))))
        apart = np.abs(y - center)
        is_apart = apart > _ROUNDING * abs(center)
        if not is_apart.any():
            return TargetScale(center, typical)
        # Where more than half of the values are equal, the others say what a difference is. The
        # standard deviation would not do: one network that diverged owns it.
        deviations = apart if 2 * int(is_apart.sum()) > len(y) else apart[is_apart]
        return TargetScale(center, 1.4826 * float(np.median(deviations)))

    def forward(self, y: FloatArray) -> FloatArray:
        """Own units -> working units, (n,)."""
        z = (y - self.center) / self.scale
        return np.where(z < -1.0, -1.0 - np.log(np.maximum(-z, 1.0)), z)

    def backward(self, z: FloatArray) -> FloatArray:
        """Inverse of :meth:`forward`, (n,)."""
        below = -1.0 - z
        # Beyond the largest exponent it goes on as a line: no overflow, and still increasing.
        tail = -np.exp(np.minimum(below, _LARGEST)) * (1.0 + np.maximum(below - _LARGEST, 0.0))
        raw = np.where(z < -1.0, tail, z)
        return np.asarray(raw * self.scale + self.center)
