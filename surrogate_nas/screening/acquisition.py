"""Acquisition functions: a prediction and the best results so far -> a score of each candidate.

Notation: m candidates, o objectives, k results on the front. Larger is better, for objectives and
for scores. Arrays alone are seen here: no spaces, no trials.

An *acquisition* is any object that is called as ``acquisition(prediction, front) -> (m,)``. The
basic ones have names: "log_ei", "mean" and "ucb". The others are made of basic ones:
:func:`feasible`, :func:`per_second` and :func:`scalarized` wrap one, :func:`hypervolume` extends
the expected improvement to several objectives.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, final

import numpy as np
from scipy.special import erfcx, log_ndtr, logsumexp

from surrogate_nas.arrays import FloatArray
from surrogate_nas.errors import SpaceError

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)
_MIN_STD = 1e-12
_MIN_SECONDS = 1e-3
_MARGIN = 0.1
"""Distance of the default reference point from the worst values of the front, as a share of the
front's range in each objective."""


@final
@dataclass(frozen=True)
class Prediction:
    """Predictions of m candidates.

    Args:
        mean: Predicted objectives, larger is better, (m, o).
        std: Their standard deviations, not negative, (m, o).
        log_feasible: Logarithm of the probability that all constraints are kept, (m,).
        seconds: Predicted seconds of one evaluation, (m,).
    """

    mean: FloatArray
    std: FloatArray
    log_feasible: FloatArray
    seconds: FloatArray

    @classmethod
    def of_one(cls, mean: FloatArray, std: FloatArray) -> Prediction:
        """Return a prediction of one objective without constraints and at equal cost.

        Args:
            mean: Predicted objective, (m,).
            std: Its standard deviation, (m,).
        """
        n = len(mean)
        return cls(mean[:, None], std[:, None], np.zeros(n), np.ones(n))


class Acquisition(Protocol):
    """Scores candidates."""

    def __call__(self, prediction: Prediction, front: FloatArray) -> FloatArray:
        """Return the score of each candidate, (m,); the largest is chosen.

        Args:
            prediction: Predictions of m candidates.
            front: Objectives of the feasible results so far that no other result dominates,
                (k, o), in the units of the prediction. With one objective it is the best value,
                (1, 1). Before the first feasible result it is empty, (0, o).
        """


AcquisitionLike: TypeAlias = str | Acquisition
"""An acquisition, or the name of one in :data:`ACQUISITIONS`."""


def log_expected_improvement(mean: FloatArray, std: FloatArray, incumbent: float) -> FloatArray:
    """Return the logarithm of the expected improvement over the incumbent, (m,).

    EI(z) = std * (phi(z) + z * Phi(z)) with z = (mean - incumbent) / std (Jones et al. 1998). Far
    below the incumbent both terms cancel. There the form of Ament et al. 2023 (eq. 9) keeps the
    order of candidates that plain EI would call equally hopeless.

    Args:
        mean: Predicted objective, (m,).
        std: Its standard deviation, (m,), not negative.
        incumbent: Best objective so far.
    """
    return _log_excess(mean, std, np.float64(incumbent))


@final
@dataclass(frozen=True)
class LogExpectedImprovement:
    """Logarithm of the expected improvement over the best result; see its function."""

    def __call__(self, prediction: Prediction, front: FloatArray) -> FloatArray:
        """See :class:`Acquisition`."""
        mean, std = _only(prediction)
        # NOTE: before the first result the candidates compete with the best one among them.
        incumbent = float(front.max()) if len(front) else float(mean.max())
        return log_expected_improvement(mean, std, incumbent)


@final
@dataclass(frozen=True)
class PredictedMean:
    """The predicted mean itself: never explores."""

    def __call__(self, prediction: Prediction, front: FloatArray) -> FloatArray:
        """See :class:`Acquisition`."""
        return _only(prediction)[0]


@final
@dataclass(frozen=True)
class UpperConfidenceBound:
    """Mean plus some standard deviations (Srinivas et al. 2010).

    Args:
        n_std: Number of standard deviations.
    """

    n_std: float = 1.0

    def __call__(self, prediction: Prediction, front: FloatArray) -> FloatArray:
        """See :class:`Acquisition`."""
        mean, std = _only(prediction)
        return mean + self.n_std * std


ACQUISITIONS: Mapping[str, Acquisition] = {
    "log_ei": LogExpectedImprovement(),
    "mean": PredictedMean(),
    "ucb": UpperConfidenceBound(),
}
"""The acquisitions that have a name."""


def as_acquisition(given: AcquisitionLike) -> Acquisition:
    """Return the acquisition of a name, or the given one itself.

    Raises:
        SpaceError: There is none of that name, or it cannot be called.
    """
    if isinstance(given, str) and given in ACQUISITIONS:
        return ACQUISITIONS[given]
    if callable(given) and not isinstance(given, type):
        return given
    raise SpaceError(
        expected=f"an acquisition among {', '.join(ACQUISITIONS)}, or an object like them",
        got=repr(given),
        fix="use the default, which is log_ei",
    )


def scores(acquisition: Acquisition, prediction: Prediction, front: FloatArray) -> FloatArray:
    """Return an acquisition's scores, (m,), checked: users may have written it.

    A score that is not a number ranks below all others.

    Raises:
        SpaceError: The scores have another shape.
    """
    found = np.asarray(acquisition(prediction, front), dtype=np.float64)
    if found.shape != prediction.mean.shape[:1]:
        raise SpaceError(
            expected=f"one score for each of {len(prediction.mean)} candidates from {acquisition}",
            got=f"an array of shape {found.shape}",
            fix="return an array of shape (m,) from the acquisition",
        )
    return np.where(np.isnan(found), -np.inf, found)


def feasible(inner: AcquisitionLike = "log_ei") -> Acquisition:
    """Weigh an improvement by the probability of keeping all constraints (Gardner et al. 2014).

    Args:
        inner: An acquisition that is the logarithm of an improvement, such as "log_ei".

    Raises:
        SpaceError: The inner acquisition is "mean" or "ucb", which are no logarithms.
    """
    return _Feasible(_logarithmic(inner))


def per_second(inner: AcquisitionLike = "log_ei") -> Acquisition:
    """Divide an improvement by the predicted seconds of an evaluation (Snoek et al. 2012).

    Args:
        inner: An acquisition that is the logarithm of an improvement, such as "log_ei".

    Raises:
        SpaceError: The inner acquisition is "mean" or "ucb", which are no logarithms.
    """
    return _PerSecond(_logarithmic(inner))


def scalarized(weights: Sequence[float], inner: AcquisitionLike = "log_ei") -> Acquisition:
    """Apply an acquisition of one objective to a weighted sum of several.

    The sum of independent normal objectives is normal, so that the inner acquisition is exact.
    Weighted sums reach the convex parts of a front only; :func:`hypervolume` reaches all of it.

    Args:
        weights: Weight of each objective, (o,), not negative and not all 0.
        inner: Acquisition of one objective.

    Raises:
        SpaceError: The weights are unusable.
    """
    given = tuple(float(weight) for weight in weights)
    if not all(0 <= weight < math.inf for weight in given) or not sum(given) > 0:
        raise SpaceError(
            expected="weights that are finite, not negative and not all 0",
            got=repr(weights),
            fix="write for example scalarized([0.7, 0.3])",
        )
    return _Scalarized(given, as_acquisition(inner))


def hypervolume(reference: Sequence[float] | None = None) -> Acquisition:
    """Return the logarithm of the expected hypervolume improvement of the front.

    The expectation is exact for independent normal objectives, of any number (Emmerich et al.
    2006). The space above the front is cut into boxes, and the expected volume in a box is a
    product of one-dimensional expectations. With two objectives the boxes are the stripes of Yang
    et al. 2019. There are ``(k + 1) ** (o - 1)`` boxes, which suits up to three objectives. With
    one objective and without a reference it is "log_ei".

    Args:
        reference: Point that is worse than every value of interest, (o,), larger is better, in the
            units of the prediction. By default it is a tenth of the front's range below the worst
            values of the front.
    """
    return _Hypervolume(None if reference is None else tuple(float(r) for r in reference))


@final
@dataclass(frozen=True)
class _Feasible:
    inner: Acquisition

    def __call__(self, prediction: Prediction, front: FloatArray) -> FloatArray:
        return self.inner(prediction, front) + prediction.log_feasible


@final
@dataclass(frozen=True)
class _PerSecond:
    inner: Acquisition

    def __call__(self, prediction: Prediction, front: FloatArray) -> FloatArray:
        seconds = np.maximum(prediction.seconds, _MIN_SECONDS)
        return self.inner(prediction, front) - np.log(seconds)


@final
@dataclass(frozen=True)
class _Scalarized:
    weights: tuple[float, ...]
    inner: Acquisition

    def __call__(self, prediction: Prediction, front: FloatArray) -> FloatArray:
        weights = _for_objectives(self.weights, prediction, "weights")
        mean = prediction.mean @ weights
        std = np.sqrt(prediction.std**2 @ weights**2)
        one = Prediction(mean[:, None], std[:, None], prediction.log_feasible, prediction.seconds)
        best = front @ weights
        return self.inner(one, best.max(keepdims=True)[:, None] if len(best) else best[:, None])


@final
@dataclass(frozen=True)
class _Hypervolume:
    reference: tuple[float, ...] | None

    def __call__(self, prediction: Prediction, front: FloatArray) -> FloatArray:
        if self.reference is not None:
            reference = _for_objectives(self.reference, prediction, "reference values")
        elif prediction.mean.shape[1] == 1:
            return LogExpectedImprovement()(prediction, front)
        else:
            reference = _reference(prediction.mean, front)
        front = front[(front > reference).all(axis=1)]
        mean, std = prediction.mean, prediction.std
        volumes = [
            # NOTE: objectives are independent, so the expected volume is a product of lengths.
            sum(
                _log_length(mean[:, d], std[:, d], low, high)
                for d, (low, high) in enumerate(zip(*box, strict=True))
            )
            for box in _boxes(front, reference)
        ]
        return np.asarray(logsumexp(volumes, axis=0))


def _reference(mean: FloatArray, front: FloatArray) -> FloatArray:
    """Return a point below the front, or below all predictions where there is no front, (o,)."""
    if not len(front):
        return np.asarray(mean.min(axis=0))
    worst, best = front.min(axis=0), front.max(axis=0)
    # NOTE: a front of one result has no range; predictions tell what a small distance is.
    span = np.where(best > worst, best - worst, np.maximum(np.ptp(mean, axis=0), _MIN_STD))
    return np.asarray(worst - _MARGIN * span)


def _boxes(front: FloatArray, reference: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    """Cut the part of the space that the front does not dominate into boxes: lows and highs, (o,).

    A grid over all objectives but the last, whose lines are the front's values. Above each of its
    cells the last objective is undominated from one height on.
    """
    axes = []
    for d in range(front.shape[1] - 1):
        lines = np.unique(front[:, d])
        axes.append(list(itertools.pairwise([reference[d], *lines, np.inf])))
    boxes = []
    for cell in itertools.product(*axes):
        lows = np.array([low for low, _ in cell], dtype=float)
        highs = np.array([high for _, high in cell], dtype=float)
        above = front[(front[:, :-1] >= highs).all(axis=1), -1]
        height = max(above.max(initial=-np.inf), reference[-1])
        boxes.append((np.append(lows, height), np.append(highs, np.inf)))
    return boxes


def _log_length(mean: FloatArray, std: FloatArray, low: float, high: float) -> FloatArray:
    """Return the logarithm of the expected length of [low, min(y, high)] for a normal y, (m,)."""
    log_above_low = _log_excess(mean, std, np.float64(low))
    if math.isinf(high):
        return log_above_low
    # NOTE: (y - low)+ - (y - high)+ is that length. The second term is never larger than the
    # first, and rounding must not make it so.
    gap = np.minimum(_log_excess(mean, std, np.float64(high)) - log_above_low, -1e-15)
    return log_above_low + np.log(-np.expm1(gap))


def _logarithmic(given: AcquisitionLike) -> Acquisition:
    """Accept an acquisition, but refuse one that is known to be no logarithm."""
    inner = as_acquisition(given)
    if isinstance(inner, PredictedMean | UpperConfidenceBound):
        raise SpaceError(
            expected="an acquisition that is the logarithm of an improvement",
            got=repr(given),
            fix="wrap log_ei or hypervolume()",
        )
    return inner


def _for_objectives(given: tuple[float, ...], prediction: Prediction, what: str) -> FloatArray:
    """Return numbers of a user's, one for each objective, (o,)."""
    n = prediction.mean.shape[1]
    if len(given) != n:
        raise SpaceError(
            expected=f"{n} {what}, one for each objective",
            got=f"{len(given)}",
            fix="give one number for each objective of the study",
        )
    return np.array(given)


def _only(prediction: Prediction) -> tuple[FloatArray, FloatArray]:
    """Return mean and standard deviation of the only objective, (m,) each."""
    if prediction.mean.shape[1] != 1:
        raise SpaceError(
            expected="one objective",
            got=f"{prediction.mean.shape[1]} objectives",
            fix="use hypervolume(), or scalarized(weights) around this acquisition",
        )
    return prediction.mean[:, 0], prediction.std[:, 0]


def _log_excess(mean: FloatArray, std: FloatArray, bound: np.float64) -> FloatArray:
    """Return the logarithm of the expected excess of a normal variable over a bound, (m,)."""
    std = np.maximum(std, _MIN_STD)
    z = (mean - bound) / std
    return np.asarray(_log_h(z) + np.log(std))


def _log_h(z: FloatArray) -> FloatArray:
    """Return log(phi(z) + z * Phi(z)), stable for z from -1e100 to 1e100."""
    near = np.maximum(z, -1.0)
    direct = np.log(np.exp(-0.5 * near**2 - _LOG_SQRT_2PI) + near * np.exp(log_ndtr(near)))
    far = np.minimum(z, -1.0)
    # NOTE: this is phi(z) * (1 - |z| * mills(|z|)). The bracket is 1/z^2 - 3/z^4 + 15/z^6 - ...
    # and cancels. Beyond 1e3 its first two terms are closer, and meet it without a step.
    middle, beyond = np.maximum(far, -1e3), np.minimum(far, -1e3)
    bracket: FloatArray = np.log1p(middle * math.sqrt(math.pi / 2) * erfcx(-middle / math.sqrt(2)))
    series = np.log1p(-3.0 / beyond / beyond) - 2 * np.log(-beyond)
    tail = np.where(far > -1e3, bracket, series)
    with np.errstate(over="ignore"):
        return np.where(z > -1.0, direct, -0.5 * far**2 - _LOG_SQRT_2PI + tail)
