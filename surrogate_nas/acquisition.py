"""Prediction and incumbent -> score of each candidate, in log space.

Notation: mean (n,), std (n,) of n candidates; larger is better, for the objective and the score.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.special import erfcx, log_ndtr

FloatArray = npt.NDArray[np.float64]

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_MIN_STD = 1e-12


def log_expected_improvement(mean: FloatArray, std: FloatArray, incumbent: float) -> FloatArray:
    """Return the logarithm of the expected improvement over the incumbent, (n,).

    EI(z) = std * (phi(z) + z * Phi(z)) with z = (mean - incumbent) / std (Jones et al. 1998). Far
    below the incumbent both terms cancel, so there the form of Ament et al. 2023 (eq. 9) keeps the
    order of candidates that plain EI would call equally hopeless.

    Args:
        mean: Predicted objective, (n,).
        std: Its standard deviation, (n,), not negative.
        incumbent: Best objective so far.
    """
    std = np.maximum(std, _MIN_STD)
    z = (mean - incumbent) / std
    return np.asarray(_log_h(z) + np.log(std))


def _log_h(z: FloatArray) -> FloatArray:
    """log(phi(z) + z * Phi(z)), stable for z from -1e100 to 1e100."""
    near = np.maximum(z, -1.0)
    direct = np.log(np.exp(-0.5 * near**2 - _LOG_SQRT_2PI) + near * np.exp(log_ndtr(near)))
    far = np.minimum(z, -1.0)
    # phi(z) * (1 - |z| * mills(|z|)); for |z| beyond 1e3 the bracket is 1/z^2 to double precision.
    mills = math.sqrt(math.pi / 2) * erfcx(-np.maximum(far, -1e3) / math.sqrt(2))
    bracket = np.log1p(np.maximum(far, -1e3) * mills)
    tail = np.where(far > -1e3, bracket, -2 * np.log(-far))
    with np.errstate(over="ignore"):
        return np.where(z > -1.0, direct, -0.5 * far**2 - _LOG_SQRT_2PI + tail)
