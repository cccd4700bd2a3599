"""The prior over hypotheses, learned by leaving each past task out in turn; arrays only.

A past task that is left out plays the target. Its evidence, with the other past tasks as basis
functions, says which hypotheses hold among these tasks. The prior is the share of tasks that speak
for each hypothesis.

Notation: g hypotheses, K past tasks, n results of a past task that is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt

from surrogate_nas.surrogate.model.boosting import (
    leaf_numbers,
    normal_scores,
    rank_correlation,
    same_leaf,
)
from surrogate_nas.surrogate.model.evidence import log_evidence
from surrogate_nas.surrogate.model.hypotheses import NOTHING
from surrogate_nas.surrogate.model.kernel import KernelDistances
from surrogate_nas.surrogate.model.linear import Basis
from surrogate_nas.surrogate.model.past_models import (
    MAX_BASIS,
    MOST_JUDGED,
    MOST_RANKED,
    PastModels,
)
from surrogate_nas.surrogate.model.transfer_guard import (
    Agreement,
    guard_before_results,
    rank_each_other,
)
from surrogate_nas.surrogate.similarity import similarity

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]

MOST_TREES = 192
"""Number of trees whose leaves say what is alike, an equal number a model: it bounds the time."""
_MOST_RESULTS = 32
"""Number of results of a past task that its evidence is computed from."""
_FEWEST_RANKED = 5
"""Number of values below which a rank correlation says nothing."""
_STEPS = 10
"""Steps of expectation maximization; the prior hardly moves after that."""


def learn_prior(
    past: PastModels, kept: Sequence[int], rng: np.random.Generator
) -> tuple[FloatArray, list[float | None]]:
    """Learn the prior of the hypotheses from past tasks.

    Args:
        past: Models of all past tasks.
        kept: Places of the past tasks that count, K of them.
        rng: Source of the draws of tasks and results.

    Returns:
        The log prior, (g,), and the quality of each of the K past tasks. The quality is Spearman's
        rank correlation of its values with the mean of the others' predictions. It is None where
        the past task was not judged.
    """
    quality: list[float | None] = [None] * len(kept)
    if len(kept) < 2:
        return np.zeros(len(past.hypotheses)), quality
    judged = rng.permutation(len(kept))[:MOST_JUDGED]
    left_out = [_leave_out(past, kept, kept[place], rng) for place in judged]
    agreements = []
    for place, one in zip(judged, left_out, strict=True):
        if one.agreement is not None:
            quality[place] = one.agreement.with_mean
            agreements.append(one.agreement)
    prior = _shares_of_tasks(np.stack([one.evidence for one in left_out]))
    # NOTE: past tasks of mere noise would teach that neighbours have nothing in common, so they
    # have no say about kernels.
    prior = past.hypotheses.even_over_kernels(prior)
    if not rank_each_other(agreements):
        prior = guard_before_results(prior, past.hypotheses.transfer == NOTHING)
    return np.log(prior), quality


@final
@dataclass(frozen=True)
class _LeftOut:
    """What a past task that is left out says about the others.

    Args:
        evidence: Log evidence of each hypothesis, (g,).
        agreement: How the others rank its architectures; None with too few values.
    """

    evidence: FloatArray
    agreement: Agreement | None


def _leave_out(
    past: PastModels, kept: Sequence[int], task: int, rng: np.random.Generator
) -> _LeftOut:
    """Judge the hypotheses, and the other past tasks, by the results of one past task."""
    rows = rng.permutation(len(past.y[task]))[:MOST_RANKED]
    others = rng.permutation([k for k in kept if k != task])[:MAX_BASIS]
    values = past.standardized(others, past.known[task].rows[rows])
    y = past.y[task][rows]
    few = slice(_MOST_RESULTS)
    evidence = _evidence(past, task, rows[few], others, values[few])
    return _LeftOut(evidence, _agreement(values, y))


def _agreement(values: FloatArray, y: FloatArray) -> Agreement | None:
    """Return how predictions (n, K - 1) rank the values (n,) of a past task that is left out."""
    if len(y) < _FEWEST_RANKED:
        return None
    with_mean = rank_correlation(values.mean(axis=1), y)
    with_each = np.array([rank_correlation(one, y) for one in values.T])
    return Agreement(len(y), with_mean, with_each)


def _evidence(
    past: PastModels, task: int, rows: IndexArray, others: IndexArray, values: FloatArray
) -> FloatArray:
    """Return the log evidence of each hypothesis from results of a left-out past task, (g,).

    Args:
        past: Models of all past tasks.
        task: Place of the past task that is left out.
        rows: Rows of its results that count, (n,).
        others: Places of the past tasks that are basis functions, (r,).
        values: Standardized predictions of these at the results, (n, r).
    """
    known = past.known[task].take(rows)
    models = [past.boosters[k] for k in others]
    leaves = leaf_numbers(models, known.rows, MOST_TREES)
    distances = KernelDistances(
        *past.distance_between(known.points, known.points), same_leaf(leaves, leaves)
    )
    task_weights = similarity(past.meta_features[task], [past.meta_features[k] for k in others])
    # Each other past task is a basis function of its own, and all of them count the same.
    even = np.full(len(others), 1.0 / len(others))
    basis = Basis(values, even, even, np.eye(len(others)), task_weights)
    grid = past.hypotheses.spread_out(len(others))
    evidence, _ = log_evidence(grid, basis, distances, normal_scores(past.y[task][rows]))
    return grid.averaged(evidence)


def _shares_of_tasks(evidence: FloatArray) -> FloatArray:
    """Return the share of past tasks that speak for each hypothesis, (g,), never 0.

    Empirical Bayes by expectation maximization of the mixture's proportions (Dempster, Laird &
    Rubin 1977, section 4.3).

    Args:
        evidence: Log evidence of each hypothesis from each past task, (number of tasks, g).
    """
    n_tasks, size = evidence.shape
    likelihood = np.exp(evidence - evidence.max(axis=1, keepdims=True))
    prior = np.full(size, 1.0 / size)
    for _ in range(_STEPS):
        # Expectation: the probability of each hypothesis for each task.
        posterior = likelihood * prior
        posterior /= posterior.sum(axis=1, keepdims=True)
        # Maximization. NOTE: one more task counts, undecided, so that no hypothesis is ruled out.
        prior = (posterior.sum(axis=0) + 1.0 / size) / (n_tasks + 1.0)
    return prior
