"""The guard against misleading past tasks, before a search and during it; arrays only.

Before the first result, only the past tasks can be asked, about each other. If they rank each
other no better than chance, they say nothing about a new task either. During the search the
target's own results decide. Past tasks that agree with each other may still be about something
else than the target, and their agreement must not outvote its results.

Notation: h hypotheses; some of them hold that past tasks say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, logsumexp, ndtr

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_CHANCE = 0.02
"""Significance level of the two tests whether past tasks rank each other better than chance."""
_BEFORE = 0.9
"""Prior probability that past tasks say nothing, where they fail both tests."""
_DURING = 0.5
"""Least prior probability that past tasks say nothing, where the results speak against them: then
both sides start level."""
_FEWEST_RESULTS = 5
"""Number of results from which they can speak against past tasks. With fewer, one of them a
control, the scale of the values is hardly known, and true past tasks are taken for wrong ones."""


class Agreement(NamedTuple):
    """How the other past tasks rank the architectures of one past task.

    Args:
        n: Number of values that were ranked.
        with_mean: Rank correlation (Spearman) with the mean of the others' predictions.
        with_each: Rank correlations with the predictions of each other past task, (K - 1,).
    """

    n: int
    with_mean: float
    with_each: FloatArray


def rank_each_other(agreement: Sequence[Agreement]) -> bool:
    """Return whether past tasks rank each other better than chance would.

    Either the mean of the others ranks a task well, or single ones do, even in reverse order. Both
    tests use the variance 1 / (n - 1) that the rank correlation of n unrelated values has.

    Args:
        agreement: One for each past task that was judged. Without any, nothing speaks against
            past tasks.
    """
    if not agreement:
        return True
    total = sum(one.n - 1 for one in agreement)
    z = sum((one.n - 1) * one.with_mean for one in agreement) / np.sqrt(total)
    # NOTE: the squares add up to a chi-squared variable under chance, and see a reversed ranking,
    # which the mean would cancel.
    squares = np.concatenate([(one.n - 1) * one.with_each**2 for one in agreement])
    chance = min(ndtr(-z), chdtrc(len(squares), squares.sum()))
    return bool(chance < _CHANCE)


def guard_before_results(prior: FloatArray, says_nothing: BoolArray) -> FloatArray:
    """Return a prior (h,) that gives most of the probability to "past tasks say nothing".

    It is the given prior where not both sides are among the hypotheses.

    Args:
        prior: Prior probability of each hypothesis, (h,).
        says_nothing: Which hypotheses hold that past tasks say nothing, (h,).
    """
    if says_nothing.all() or not says_nothing.any():
        return prior
    wanted = np.where(says_nothing, _BEFORE, 1.0 - _BEFORE)
    now = np.where(says_nothing, prior[says_nothing].sum(), prior[~says_nothing].sum())
    return np.asarray(prior * wanted / now)


def guard_during_search(
    log_prior: FloatArray, evidence: FloatArray, says_nothing: BoolArray, n_results: int
) -> FloatArray:
    """Return a log prior of hypotheses that does not outvote the target's own results, (h,).

    The evidence of each side is averaged over its own prior. The results speak for past tasks as
    long as the Bayes factor of "they say nothing" against all other hypotheses is below 1 (Kass &
    Raftery 1995, section 3). Then the prior is the given one. Otherwise "they say nothing" starts
    with at least a half.

    Args:
        log_prior: Log prior of each hypothesis, (h,).
        evidence: Log marginal likelihood of each hypothesis, (h,).
        says_nothing: Which hypotheses hold that past tasks say nothing, (h,).
        n_results: Number of the target's results.
    """
    if n_results < _FEWEST_RESULTS or says_nothing.all() or not says_nothing.any():
        return log_prior
    sides = (says_nothing, ~says_nothing)
    prior_nothing, prior_any = (logsumexp(log_prior[side]) for side in sides)
    joint_nothing, joint_any = (logsumexp((log_prior + evidence)[side]) for side in sides)
    # Joint over prior is the evidence averaged over a side; their ratio is the Bayes factor.
    speak_against = joint_nothing - prior_nothing > joint_any - prior_any
    if not speak_against or prior_nothing >= prior_any:
        return log_prior
    # NOTE: only the balance between the sides changes, not the one within them.
    shift = np.where(says_nothing, np.log(_DURING) - prior_nothing, np.log1p(-_DURING) - prior_any)
    return np.asarray(log_prior + shift)
