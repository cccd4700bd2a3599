"""What past tasks know of architectures that learn nothing; arrays only.

Such architectures reach the value of guessing, whatever the task: a layer is missing, or the
learning rate is far too large. That knowledge holds even where past tasks rank the others in a
way that says nothing about the target. So it is kept apart, as a threshold on each past task's
predictions, and used while transfer is doubted.

Notation: K past tasks, n results of the target, m candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from surrogate_nas.arrays import BoolArray, FloatArray

DOUBTED = 0.5
"""Probability of any transfer below which it is doubted. Above it, the ranking of past tasks has
candidates at chance at its end anyway."""
_NEAR = 0.05
"""Values at chance are this near to the worst, as a share of the way from it to the median."""
_FEWEST = 3
"""Number of results at chance from which a past task knows what is at chance."""
_CONTRADICTIONS = 9.0
"""Weight of one result that contradicts, against one that agrees."""
_LEARNS, _LEARNS_NOT = 1.0, 9.0
"""Results that the prior stands for: nine of ten candidates at chance on past tasks are at chance
on the target."""


def share_at_chance(y: FloatArray) -> float:
    """Return the share of a past task's results that learned nothing; 0 if none is apart.

    They lie together at the low end of the values. A smooth tail is no such group, so the group
    must hold more results than twice its width above it does.

    Args:
        y: Values, larger is better, (n,).
    """
    worst = y.min()
    way = float(np.median(y) - worst)
    if way <= 0.0:
        return 0.0
    at = int((y <= worst + _NEAR * way).sum())
    above = int((y <= worst + 3 * _NEAR * way).sum()) - at
    return at / len(y) if at >= _FEWEST and at > above else 0.0


def threshold_at_chance(y: FloatArray, predicted: FloatArray) -> float | None:
    """Return the prediction up to which a past task holds architectures to be at chance.

    Nine of ten others are above it. None says that the past task knows of none, or that its model
    does not tell them apart.

    Args:
        y: Values of a past task, larger is better, (n,).
        predicted: What its model predicts for the same architectures, (n,).
    """
    if share_at_chance(y) == 0.0:
        return None
    worst = y.min()
    is_at = y <= worst + _NEAR * (np.median(y) - worst)
    highest, lowest = (
        float(np.median(predicted[is_at])),
        float(np.quantile(predicted[~is_at], 0.1)),
    )
    return lowest if highest < lowest else None


def held_at_chance(predicted: FloatArray, thresholds: Sequence[float | None]) -> BoolArray:
    """Return which architectures the past tasks that know of any hold to be at chance, (m,).

    Their predictions lie below their thresholds on average, as each alone is not sure.

    Args:
        predicted: Prediction of each past task, (m, K).
        thresholds: Threshold of each, None where it knows of none; K of them.
    """
    knowing = [k for k, threshold in enumerate(thresholds) if threshold is not None]
    if not knowing:
        return np.zeros(len(predicted), dtype=bool)
    limits = np.array([thresholds[k] for k in knowing], dtype=float)
    return np.asarray((predicted[:, knowing] - limits).mean(axis=1) <= 0.0)


def probability_of_learning(is_at: BoolArray, y: FloatArray) -> float:
    """Return the probability that a candidate learns which past tasks hold to be at chance.

    The target's own results move it: the mean of a beta distribution. A result above the median
    contradicts the past tasks, and counts much, as they may have everything upside down. One in
    the lowest quarter agrees.

    Args:
        is_at: Which of the target's results past tasks hold to be at chance, (n,).
        y: These results, larger is better, (n,).
    """
    learned, learned_not = _LEARNS, _LEARNS_NOT
    if is_at.any():
        low, middle = np.quantile(y, [0.25, 0.5])
        learned += _CONTRADICTIONS * int((y[is_at] > middle).sum())
        learned_not += int((y[is_at] <= low).sum())
    return learned / (learned + learned_not)
