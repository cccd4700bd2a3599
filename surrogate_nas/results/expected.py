"""Best values that random search would have found by now, as the surrogate predicts them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas import attributes
from surrogate_nas.arrays import FloatArray, IntArray
from surrogate_nas.errors import SurrogateNasError
from surrogate_nas.files.checked_json import finite
from surrogate_nas.past.past_task import Direction, feasible, from_trials
from surrogate_nas.results.summary import spaced
from surrogate_nas.space import SearchSpace
from surrogate_nas.space.draw import random_params
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate

_LEAST_RESULTS, _MOST_RESULTS = 5, 500
_MOST_POINTS = 60
_N_DRAWS = 384
_N_NOISES = 8

WORDS = (
    "The band is what as many random draws would have found on average, as a surrogate predicts "
    "architectures by all results so far: its lower edge takes the predictions at their word, its "
    "upper edge adds all of their uncertainty. It is an estimate and no search that was run. A "
    "base sampler such as TPE begins with random draws, too (its first ten trials), and does "
    "better than them later."
)
"""Explanation of the band between the two curves of :func:`expected_best`, for its readers."""


@final
@dataclass(frozen=True)
class ExpectedBest:
    """The expected best of n random draws.

    Args:
        n: Numbers of draws, ascending, (k,).
        at_word: Mean of the best of n draws if each architecture reached its predicted mean, in
            the study's own units, (k,).
        uncertain: Mean of the best of n draws if a normal error of the predicted standard
            deviation is added to each prediction, (k,).
    """

    n: IntArray
    at_word: FloatArray
    uncertain: FloatArray


def expected_best(
    trials: Sequence[FrozenTrial],
    space: SearchSpace,
    surrogate: MetaSurrogate | None = None,
    *,
    maximize: bool,
    value_range: tuple[float, float] = (-math.inf, math.inf),
) -> ExpectedBest | None:
    """Return the expected best of 1 to n random draws for a study with n results.

    Architectures are drawn from the space, and the surrogate predicts each of them from all
    results of the study.

    Args:
        trials: All trials of a study with one objective.
        space: Search space of the study.
        surrogate: Surrogate with past tasks, or None to learn from this study alone.
        maximize: Whether larger values are better.
        value_range: Smallest and largest value that the metric can have.

    Returns:
        The expectation; None with too few results to know it, or too many to find it quickly.
    """
    kind: Direction = "maximize" if maximize else "minimize"
    n_completed = sum(trial.state == TrialState.COMPLETE for trial in trials)
    if not _LEAST_RESULTS <= n_completed <= _MOST_RESULTS:
        return None
    try:
        # The space may have changed since the first trials.
        known = [trial for trial in trials if _replays(space, trial)]
        # NOTE: before any trial keeps the constraints, results are in units of these.
        results = from_trials("target", known, kind) if feasible(known) else None
        if results is None or len(results) < _LEAST_RESULTS:
            return None
        surrogate = MetaSurrogate.fit(space) if surrogate is None else surrogate
        mean, std = surrogate.condition(results, direction=kind).predict(_draws(space))
    except SurrogateNasError:
        return None  # a study of another space, or of one that has changed: nothing is known
    # Fixed seeds, so that a figure moves only if results come in.
    noise = np.random.default_rng(1).standard_normal((len(mean), _N_NOISES))
    measured = np.clip((mean[:, None] + std[:, None] * noise).ravel(), *value_range)
    mean = np.clip(mean, *value_range)
    sign = 1.0 if maximize else -1.0
    n = np.array(spaced(n_completed, _MOST_POINTS)) + 1
    # The smallest of some values is the negative of the largest of their negatives.
    at_word, uncertain = (sign * mean_of_best(sign * one, n) for one in (mean, measured))
    return ExpectedBest(n, at_word, uncertain)


def value_range_of(study: optuna.Study) -> tuple[float, float]:
    """Return the smallest and largest value of a study's metric, as far as it has recorded it."""
    found = study.user_attrs.get(attributes.METRIC_RANGE)
    if not isinstance(found, list) or len(found) != 2:
        return -math.inf, math.inf
    low, high = map(finite, found)
    return -math.inf if low is None else low, math.inf if high is None else high


def mean_of_best(values: FloatArray, n: IntArray) -> FloatArray:
    """Return the mean of the largest of n independent draws from some values.

    Args:
        values: Values to draw from, each with equal probability, (m,).
        n: Numbers of draws, (k,).

    Returns:
        The mean for each number of draws, (k,).
    """
    # NOTE: the k-th smallest of m values is the largest of n draws with probability
    # (k / m)^n - ((k - 1) / m)^n.
    ascending = np.sort(values)
    below = np.arange(len(values) + 1) / len(values)
    powers = below[None, :] ** n[:, None]
    return np.asarray(np.diff(powers, axis=1) @ ascending)


def _replays(space: SearchSpace, trial: FrozenTrial) -> bool:
    """Return whether a trial's parameters are an architecture of the space."""
    try:
        space.from_params(trial.params)
    except SurrogateNasError:
        return False
    return True


def _draws(space: SearchSpace) -> list[dict[str, object]]:
    """Return the parameters of random architectures, the same each time."""
    return random_params(space.suggest, _N_DRAWS, np.random.default_rng(0))
