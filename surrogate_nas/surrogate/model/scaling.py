"""A target task's own units <-> the units that its posterior works in; arrays only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from surrogate_nas.arrays import FloatArray

_MIN_OBSERVATIONS = 3
"""Number of observations from which they have a scale of their own."""
_ROUNDING = 1e-12
_LARGEST = 50.0
"""Exponent beyond which the inverse is a line, against overflow."""


@final
@dataclass(frozen=True)
class TargetScale:
    """Robust standardization whose bad tail is compressed; strictly increasing.

    Architectures that do not learn at all lie far below the rest. They would dominate a
    least-squares scale, while only the order among the good ones matters to a search. So
    z = (y - center) / scale, and below -1 it becomes -1 - log(-z).

    Args:
        center: Median of the observed values, in the target's own units.
        scale: Robust standard deviation of the observed values, in the same units.
        is_own: Whether the observed values give the scale, and no other task's.
    """

    center: float
    scale: float
    is_own: bool = False

    @staticmethod
    def fit(y: FloatArray, typical: float) -> TargetScale:
        """Fit to n observations.

        Args:
            y: Values in the target's own units, larger is better, (n,).
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
        # NOTE: where more than half of the values are equal, the median deviation is 0, so the
        # other values give the scale. The standard deviation would not do: a single network that
        # diverged dominates it.
        deviations = apart if 2 * int(is_apart.sum()) > len(y) else apart[is_apart]
        # A normal distribution's standard deviation is 1.4826 times its median deviation.
        return TargetScale(center, 1.4826 * float(np.median(deviations)), is_own=True)

    def forward(self, y: FloatArray) -> FloatArray:
        """Return values (n,) in working units, from the target's own units."""
        z = (y - self.center) / self.scale
        return np.where(z < -1.0, -1.0 - np.log(np.maximum(-z, 1.0)), z)

    def backward(self, z: FloatArray) -> FloatArray:
        """Return values (n,) in the target's own units: the inverse of :meth:`forward`."""
        below = -1.0 - z
        # NOTE: beyond the largest exponent it goes on as a line. That cannot overflow, and still
        # increases.
        tail = -np.exp(np.minimum(below, _LARGEST)) * (1.0 + np.maximum(below - _LARGEST, 0.0))
        raw = np.where(z < -1.0, tail, z)
        return np.asarray(raw * self.scale + self.center)
