"""What the figures of a study show, as numbers, for whichever library draws them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from surrogate_nas import attributes
from surrogate_nas.arrays import FloatArray, IntArray
from surrogate_nas.results.expected import ExpectedBest
from surrogate_nas.results.summary import StudySummary, spaced, total

INK, ACCENT, GREY = "#1f4e79", "#c8541b", "#8a919c"
PALE = "#9bb3cc"
"""Colour of error bars."""

RHO_LIMITS = (-1.05, 1.05)
"""Ends of an axis of rank correlations."""

_ROOM = 0.1
"""Empty part of an axis beyond each end of the values, as a share of their range."""
_MOST_BARS = 60
_ONE_SIDED_5_PERCENT = 1.645
"""Quantile of the normal distribution that it exceeds with a probability of 5 %."""


@final
@dataclass(frozen=True)
class BestFound:
    """All results, the best so far, and what random draws would have found.

    Args:
        n: Number of each training that is shown, from 1, (k,).
        values: Result of each of these trainings, (k,).
        bests: Best result up to each of these trainings, (k,).
        limits: Ends of the axis of results, or None where all are equal.
        n_all: Number of all trainings.
        best_at: Number of the training with the best result that keeps all constraints; None
            without any.
        expected: Band of the best results of random draws, if the surrogate can tell.
    """

    n: IntArray
    values: FloatArray
    bests: FloatArray
    limits: tuple[float, float] | None
    n_all: int
    best_at: int | None
    expected: ExpectedBest | None


def best_found(summary: StudySummary, expected: ExpectedBest | None, most: int) -> BestFound:
    """Return all results and the best so far, at most `most` of them, evenly spaced."""
    values = np.array([trial.value for trial in summary.completed], dtype=float)
    at = np.array(spaced(len(values), most))
    best = summary.best
    return BestFound(
        n=at + 1,
        values=values[at],
        bests=summary.bests[at],
        limits=limits_around(values),
        n_all=len(values),
        best_at=None if best is None else 1 + summary.completed.index(best),
        expected=expected,
    )


@final
@dataclass(frozen=True)
class PredictedMeasured:
    """Results against predictions, each made before its training.

    Args:
        measured: Result of each training that is shown, (k,).
        predicted: Prediction for each of these trainings, (k,).
        stds: Standard deviation of each prediction, (k,).
        diagonal: Ends of the line of perfect predictions, (2,); empty without a finite result.
        limits: Ends of the axis of predictions, or None where all values are equal.
        rho: Rank correlation of all predictions and results, or NaN.
    """

    measured: FloatArray
    predicted: FloatArray
    stds: FloatArray
    diagonal: FloatArray
    limits: tuple[float, float] | None
    rho: float


def predicted_measured(summary: StudySummary, most: int) -> PredictedMeasured:
    """Return results and predictions, at most `most` of them, evenly spaced."""
    at = spaced(len(summary.predicted), most)
    measured, predicted = np.array(summary.measured)[at], np.array(summary.predicted)[at]
    finite = measured[np.isfinite(measured)]
    return PredictedMeasured(
        measured=measured,
        predicted=predicted,
        stds=np.array(summary.stds)[at],
        diagonal=np.array([finite.min(), finite.max()]) if len(finite) else np.empty(0),
        # NOTE: the first predictions of a study may be very uncertain. An axis that shows their
        # whole bars would press all points into a line, so the bars may leave the figure.
        limits=limits_around(np.append(measured, predicted)),
        rho=summary.rank_correlation,
    )


@final
@dataclass(frozen=True)
class RankCorrelation:
    """The rank correlation of predictions and results as trials come in.

    Args:
        n: Number of predicted trainings, (k,).
        rho: Rank correlation after each of these numbers, (k,).
        chance: Rank correlation that chance reaches with a probability of 5 %, (k,).
    """

    n: IntArray
    rho: FloatArray
    chance: FloatArray


def rank_correlation(summary: StudySummary) -> RankCorrelation:
    """Return the rank correlation as trials come in, with a limit of chance."""
    n = np.array([n for n, _ in summary.rank_correlations])
    rho = np.array([value for _, value in summary.rank_correlations])
    # NOTE: without any association the standard deviation of Spearman's ρ is 1 / sqrt(n - 1)
    # (Kendall & Gibbons 1990).
    return RankCorrelation(n, rho, np.minimum(_ONE_SIDED_5_PERCENT / np.sqrt(n - 1), 1.0))


@final
@dataclass(frozen=True)
class PastTaskWeights:
    """Weights of past tasks in the predictions, the lightest first.

    Args:
        names: Name of each past task.
        weights: Weight of each past task, (t,).
        ignored: Whether each past task counts for nothing.
        transfer: Probability that past tasks say anything, or None where it is unknown.
    """

    names: Sequence[str]
    weights: FloatArray
    ignored: Sequence[bool]
    transfer: float | None


def past_task_weights(summary: StudySummary, most: int) -> PastTaskWeights:
    """Return the weights of the heaviest `most` past tasks."""
    weights = list(summary.past_task_weights.items())[:most][::-1]
    names = [name for name, _ in weights]
    return PastTaskWeights(
        names=names,
        weights=np.array([weight for _, weight in weights]),
        ignored=[name in summary.past_tasks_ignored for name in names],
        transfer=summary.transfer,
    )


@final
@dataclass(frozen=True)
class Screening:
    """What became of the candidates of each trial, or group of trials.

    Args:
        numbers: Number of the first trial of each group, g of them.
        size: Number of trials in a group; the last group may have fewer.
        worse: Number of candidates that were predicted to be worse, by group.
        duplicates: Number of draws turned away because an equivalent trial exists, by group.
        infeasible: Number of draws turned away because they exceed a limit, by group.
        trained: Number of trainings, by group.
    """

    numbers: Sequence[int]
    size: int
    worse: Sequence[int]
    duplicates: Sequence[int]
    infeasible: Sequence[int]
    trained: Sequence[int]


def screening(summary: StudySummary) -> Screening:
    """Return what became of all candidates, in at most 60 groups of trials."""
    trials = summary.completed
    size = math.ceil(len(trials) / _MOST_BARS)
    groups = [trials[start : start + size] for start in range(0, len(trials), size)]
    screened = [total(group, attributes.N_CANDIDATES) for group in groups]
    trained = [len(group) for group in groups]
    return Screening(
        numbers=[group[0].number for group in groups],
        size=size,
        # A trial without screening, such as an enqueued one, has no candidates.
        worse=[max(n - k, 0) for n, k in zip(screened, trained, strict=True)],
        duplicates=[total(group, attributes.N_DUPLICATES) for group in groups],
        infeasible=[total(group, attributes.N_INFEASIBLE) for group in groups],
        trained=trained,
    )


def limits_around(values: FloatArray) -> tuple[float, float] | None:
    """Return ends of an axis around all finite values; None where these are equal or absent."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() == finite.max():
        return None
    room = _ROOM * (finite.max() - finite.min())
    return float(finite.min() - room), float(finite.max() + room)
