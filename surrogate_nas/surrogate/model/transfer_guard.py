"""Whether past tasks deserve trust, tested before a search and during it; arrays only.

Before the first result the past tasks can be asked about each other alone: those that rank each
other no better than chance say nothing of a new task either. Past tasks that agree with each other
may still be about something else than the target. Only its own results tell, and what the past
tasks say of each other must not outvote them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import chdtrc, logsumexp, ndtr

from surrogate_nas.arrays import BoolArray, FloatArray

_CHANCE = 0.02
"""Past tasks that rank each other no better than chance does with this probability, by their mean
or one by one, are doubted."""
_BEFORE = 0.9
"""Probability that such past tasks say nothing."""
_DURING = 0.5
"""Least probability that past tasks say nothing, before the target's results are counted, where
these speak against them: both sides start level."""
_FEWEST_RESULTS = 5
"""Results that can speak against past tasks: of fewer, one of them the control, the scale of the
values is hardly known, and true past tasks are taken for wrong ones."""


def rank_each_other(agreement: Sequence[tuple[int, float, FloatArray]]) -> bool:
    """Whether past tasks rank each other better than chance would.

    Without any relation a rank correlation of n values has a variance of 1 / (n - 1). Either the
    mean of the other tasks ranks a task well, or single ones do, be it upside down.

    Args:
        agreement: Of each task that was judged the number of values n, their rank correlation with
            the mean of the other tasks' predictions, and those with each one's. None judged says
            nothing against them.
    """
    if not agreement:
        return True
    total = sum(n - 1 for n, _, _ in agreement)
    by_mean = sum((n - 1) * rho for n, rho, _ in agreement) / np.sqrt(total)
    squares = np.concatenate([(n - 1) * each**2 for n, _, each in agreement])
    chance = min(ndtr(-by_mean), chdtrc(len(squares), squares.sum()))
    return bool(chance < _CHANCE)


def guard_before_results(prior: FloatArray, nothing: BoolArray) -> FloatArray:
    """Give "past tasks say nothing" most of the probability (g,), where that is a hypothesis.

    Args:
        prior: Of each hypothesis, (g,).
        nothing: Which of them say it, (g,).
    """
    if nothing.all() or not nothing.any():
        return prior
    share = np.where(nothing, _BEFORE, 1.0 - _BEFORE)
    return np.asarray(
        prior * share / np.where(nothing, prior[nothing].sum(), prior[~nothing].sum())
    )


def guard_during_search(
    log_prior: FloatArray, evidence: FloatArray, nothing: BoolArray, n_results: int
) -> FloatArray:
    """Return a log prior of hypotheses that does not outvote the target's own results, (h,).

    It is the same as long as the results speak for past tasks: as long as the Bayes factor of
    "they say nothing" against all other hypotheses (Kass & Raftery 1995, section 3) is below 1,
    each side averaged over its own prior. Else "they say nothing" starts with a half at least.

    Args:
        log_prior: Of each hypothesis, (h,).
        evidence: Its log marginal likelihood, (h,).
        nothing: Which of them say that past tasks say nothing, (h,).
        n_results: How many results the evidence is of.
    """
    if n_results < _FEWEST_RESULTS or nothing.all() or not nothing.any():
        return log_prior
    sides = (nothing, ~nothing)
    share, other = (logsumexp(log_prior[side]) for side in sides)
    for_nothing, for_any = (logsumexp((log_prior + evidence)[side]) for side in sides)
    speak_against = for_nothing - share > for_any - other
    if not speak_against or share >= other:
        return log_prior
    return np.asarray(
        log_prior + np.where(nothing, np.log(_DURING) - share, np.log1p(-_DURING) - other)
    )
