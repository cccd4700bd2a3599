"""What random search would have found by now: an expectation, as the surrogate sees the space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas.arrays import FloatArray, IntArray
from surrogate_nas.errors import SurrogateNasError
from surrogate_nas.past.past_task import Direction, from_trials
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
"""What the band between the two curves of :func:`expected_best` is, for those who look at it."""


@final
@dataclass(frozen=True)
class ExpectedBest:
    """The expected best of n random draws.

    Args:
        n: Numbers of draws, ascending, (k,).
        at_word: The mean best of so many in the study's own units, if each architecture had
            measured just what is predicted for it, (k,).
        uncertain: The same, if it had measured that plus a normal error of the predicted
            standard deviation, (k,).
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
) -> ExpectedBest | None:
    """Return the expected best of 1 to n random draws, where there are n results.

    The space is drawn from; the surrogate, given all of the study's results, says what each
    architecture would have measured.

    Args:
        trials: All trials of a study with one objective.
        space: Its search space.
        surrogate: What past tasks say; None learns from this study alone.
        maximize: Whether larger values are better.

    Returns:
        None where there are too few results to say, or too many to say it fast.
    """
    kind: Direction = "maximize" if maximize else "minimize"
    n_completed = sum(trial.state == TrialState.COMPLETE for trial in trials)
    if not _LEAST_RESULTS <= n_completed <= _MOST_RESULTS:
        return None
    try:
        known = [trial for trial in trials if _replays(space, trial)]
        results = from_trials("target", known, kind)
        if results is None or len(results) < _LEAST_RESULTS:
            return None
        surrogate = MetaSurrogate.fit(space) if surrogate is None else surrogate
        mean, std = surrogate.condition(results, direction=kind).predict(_draws(space))
    except SurrogateNasError:
        return None  # a study of another space, or of one that has changed: nothing is known
    noise = np.random.default_rng(1).standard_normal((len(mean), _N_NOISES))
    measured = (mean[:, None] + std[:, None] * noise).ravel()
    sign = 1.0 if maximize else -1.0
    n = np.array(spaced(n_completed, _MOST_POINTS)) + 1
    at_word, uncertain = (sign * mean_of_best(sign * one, n) for one in (mean, measured))
    return ExpectedBest(n, at_word, uncertain)


def mean_of_best(values: FloatArray, n: IntArray) -> FloatArray:
    """Return the mean of the largest of n independent draws from values (m,), (k,) -> (k,).

    The k-th smallest of m values is the largest of n draws with probability
    ``(k / m)^n - ((k - 1) / m)^n``.
    """
    ascending = np.sort(values)
    below = np.arange(len(values) + 1) / len(values)
    powers = below[None, :] ** n[:, None]
    return np.asarray(np.diff(powers, axis=1) @ ascending)


def _replays(space: SearchSpace, trial: FrozenTrial) -> bool:
    try:
        space.from_params(trial.params)
    except SurrogateNasError:
        return False
    return True


def _draws(space: SearchSpace) -> list[dict[str, object]]:
    """Parameters of random architectures, always the same."""
    return random_params(space.suggest, _N_DRAWS, np.random.default_rng(0))
