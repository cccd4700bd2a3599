"""Prediction and incumbent -> score of each candidate.

Notation: mean (n,), std (n,) of n candidates; larger is better, for the objective and the score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

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


def predicted_mean(mean: FloatArray, std: FloatArray, incumbent: float) -> FloatArray:
    """Return the mean itself: never explores. Arguments of :func:`log_expected_improvement`."""
    return mean


def upper_confidence_bound(mean: FloatArray, std: FloatArray, incumbent: float) -> FloatArray:
    """Return mean + std (Srinivas et al. 2010). Arguments of :func:`log_expected_improvement`."""
    return mean + std


ACQUISITIONS: Mapping[str, Callable[[FloatArray, FloatArray, float], FloatArray]] = {
    "log_ei": log_expected_improvement,
    "mean": predicted_mean,
    "ucb": upper_confidence_bound,
}


def _log_h(z: FloatArray) -> FloatArray:
    """log(phi(z) + z * Phi(z)), stable for z from -1e100 to 1e100."""
    near = np.maximum(z, -1.0)
    direct = np.log(np.exp(-0.5 * near**2 - _LOG_SQRT_2PI) + near * np.exp(log_ndtr(near)))
    far = np.minimum(z, -1.0)
    # phi(z) * (1 - |z| * mills(|z|)); the bracket is 1/z^2 - 3/z^4 + 15/z^6 - ... and cancels.
    # Beyond 1e3 its first two terms are closer, and meet it without a step.
    middle, beyond = np.maximum(far, -1e3), np.minimum(far, -1e3)
    bracket: FloatArray = np.log1p(middle * math.sqrt(math.pi / 2) * erfcx(-middle / math.sqrt(2)))
    series = np.log1p(-3.0 / beyond / beyond) - 2 * np.log(-beyond)
    tail = np.where(far > -1e3, bracket, series)
    with np.errstate(over="ignore"):
        return np.where(z > -1.0, direct, -0.5 * far**2 - _LOG_SQRT_2PI + tail)
