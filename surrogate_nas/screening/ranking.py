"""Rank candidates by an acquisition function and choose the best.

Notation: m candidates; mean (m,) and std (m,) are predictions in working units, larger is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from surrogate_nas.arrays import FloatArray, IndexArray
from surrogate_nas.screening.acquisition import (
    ACQUISITIONS,
    Acquisition,
    Prediction,
    scores,
)
from surrogate_nas.screening.choice import Choice
from surrogate_nas.screening.feasibility import Feasibility
from surrogate_nas.screening.pool import Candidate, Pool
from surrogate_nas.screening.whole_space import WholeSpace
from surrogate_nas.surrogate.features import FeatureCache, Features
from surrogate_nas.surrogate.target_model import TargetModel

N_PARENTS = 5
"""Number of good architectures whose neighbours enter the pool."""
_CLIMBS = 4
"""Number of steps in which the pool climbs the acquisition. One step misses ordered choices."""
_SHORTLIST = 256
"""Number of candidates of a whole space that are scored exactly, by a cheaper score before."""


def best_of_pool(
    pool: Pool,
    target: TargetModel,
    acquisition: Acquisition,
    n_near_predicted: int,
    feasibility: Feasibility | None = None,
    *,
    is_control: bool,
) -> Choice:
    """Add neighbours of the best predictions to a pool and choose the highest score.

    Args:
        pool: Has at least one candidate.
        target: Predicts.
        acquisition: Scores.
        n_near_predicted: Number of neighbours to add.
        feasibility: Knows the study's constraints; None without any that was violated.
        is_control: Whether the median prediction is chosen instead.
    """
    params = [c.params for c in pool.candidates]
    mean, std = target.latent(params)
    log_usable = _log_usable_params(target, feasibility, params)
    score = score_candidates(target, mean, std, acquisition, log_usable)
    for step in range(_CLIMBS):
        # NOTE: the pool climbs. Each step looks around the best that the last one has found.
        top = np.argsort(-score, kind="stable")[:N_PARENTS]
        first = len(pool.candidates)
        # Differences of rounded multiples, so that the steps add up to the whole number.
        n_step = n_near_predicted * (step + 1) // _CLIMBS - n_near_predicted * step // _CLIMBS
        pool.add_neighbours([pool.candidates[i].params for i in top], n_step)
        added = [c.params for c in pool.candidates[first:]]
        if added:
            more_mean, more_std = target.latent(added)
            mean, std = np.append(mean, more_mean), np.append(std, more_std)
            more = _log_usable_params(target, feasibility, added)
            log_usable = np.append(log_usable, more)
            score = score_candidates(target, mean, std, acquisition, log_usable)
    order = places_from_median(mean) if is_control else np.argsort(-score, kind="stable")
    chosen = pool.first_alive(order.tolist())
    counts = (len(pool.candidates), pool.n_duplicates, pool.n_infeasible)
    own = (mean[chosen], std[chosen], score[chosen])
    return _choice(pool.candidates[chosen], counts, target, _rank(mean, chosen), own)


def best_of_all(
    whole: WholeSpace,
    free: IndexArray,
    target: TargetModel,
    acquisition: Acquisition,
    cache: FeatureCache,
    feasibility: Feasibility | None = None,
    *,
    is_control: bool,
) -> Choice:
    """Choose the highest score among all architectures of a space that were not tried.

    Args:
        whole: The architectures.
        free: Places of the architectures that were not tried, at least one.
        target: Predicts.
        acquisition: Scores.
        cache: Computes and remembers what the prediction needs of an architecture.
        feasibility: Knows the study's constraints; None without any that was violated.
        is_control: Whether the median prediction is chosen instead.
    """
    features = whole.features(cache).take(free)
    means, deviations = target.preview(features)
    if is_control:
        best = places_from_median(means)[:_SHORTLIST]
    else:
        # NOTE: exact standard deviations of a whole space would cost most of a suggestion, so a
        # cheap score chooses the few that are scored exactly.
        kept = _log_usable(target, feasibility, features, is_rough=True)
        rough = score_candidates(target, means, deviations, acquisition, kept)
        best = np.argsort(-rough, kind="stable")[:_SHORTLIST]
    shortlist = features.take(best)
    mean, std = target.latent_of(shortlist)
    kept = _log_usable(target, feasibility, shortlist)
    score = score_candidates(target, mean, std, acquisition, kept)
    wanted = np.arange(len(best)) if is_control else np.argsort(-score, kind="stable")
    chosen = whole.first_alive(free[best], wanted.tolist())
    counts = (len(free), len(whole) - len(free), whole.n_infeasible)
    candidate = whole.candidates[free[best[chosen]]]
    own = (mean[chosen], std[chosen], score[chosen])
    return _choice(candidate, counts, target, _rank(means, int(best[chosen])), own)


def score_candidates(
    target: TargetModel,
    mean: FloatArray,
    std: FloatArray,
    acquisition: Acquisition = ACQUISITIONS["log_ei"],
    log_feasible: FloatArray | None = None,
) -> FloatArray:
    """Return the acquisition's score of each candidate, (m,).

    Args:
        target: Knows the best result so far.
        mean: Predictions, (m,).
        std: Their standard deviations, (m,).
        acquisition: Scores.
        log_feasible: Log probability that each learns and keeps all constraints, (m,). None where
            nothing speaks against any.
    """
    best = np.empty((0, 1)) if target.incumbent is None else np.array([[target.incumbent]])
    if log_feasible is None:
        return scores(acquisition, Prediction.of_one(mean, std), best)
    n = len(mean)
    prediction = Prediction(mean[:, None], std[:, None], log_feasible, np.ones(n))
    found = scores(acquisition, prediction, best)
    # NOTE: a user's own acquisition weighs feasibility itself, by ``feasible(...)`` for example.
    return found + log_feasible if acquisition in ACQUISITIONS.values() else found


def _log_usable(
    target: TargetModel,
    feasibility: Feasibility | None,
    features: Features,
    *,
    is_rough: bool = False,
) -> FloatArray:
    """Return the log probability that candidates learn and keep all constraints, (m,)."""
    found = target.log_learning(features)
    if feasibility is not None:
        found = found + feasibility.of_features(features, is_rough=is_rough)
    return found


def _log_usable_params(
    target: TargetModel, feasibility: Feasibility | None, params: Sequence[Mapping[str, Any]]
) -> FloatArray:
    """Return the same from the parameters of m candidates, (m,)."""
    found = target.log_learning_of(params)
    return found if feasibility is None else found + feasibility.of_params(params)


def median_place(mean: FloatArray) -> int:
    """Return the place of the median prediction, which a control has.

    If past tasks have everything upside down, the median stays where it is. A random candidate
    could be as bad as the one that they recommend.
    """
    return int(places_from_median(mean)[0])


def places_from_median(mean: FloatArray) -> IndexArray:
    """Return all places, from the median prediction outwards, (m,)."""
    ascending = np.argsort(mean, kind="stable")
    apart = np.abs(np.arange(len(mean)) - len(mean) // 2)
    return np.asarray(ascending[np.argsort(apart, kind="stable")])


def _rank(mean: FloatArray, chosen: int) -> int:
    """Return the place of a candidate by its prediction, from 1."""
    return 1 + int((mean > mean[chosen]).sum())


def _choice(
    candidate: Candidate,
    counts: tuple[int, int, int],
    target: TargetModel,
    rank: int,
    own: tuple[float, float, float],
) -> Choice:
    """Return the choice of a candidate.

    Args:
        candidate: The chosen one.
        counts: Numbers of candidates, of duplicates and of infeasible draws.
        target: Knows the target's own units.
        rank: Place by the prediction.
        own: Mean, standard deviation and score of the chosen one.
    """
    mean, std, score = own
    value, deviation = target.own_units(np.array([mean]), np.array([std]))
    n_candidates, n_duplicates, n_infeasible = counts
    return Choice(
        candidate=candidate,
        n_candidates=n_candidates,
        n_duplicates=n_duplicates,
        n_infeasible=n_infeasible,
        predicted_value=float(value[0]),
        predicted_std=float(deviation[0]),
        predicted_rank=rank,
        acquisition=float(score),
        transfer=target.transfer if target.weights else None,
        past_tasks=target.weights,
    )
