"""Rank a pool of candidates by acquisition and keep the best."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import numpy.typing as npt

from surrogate_nas import attributes
from surrogate_nas.past.past_task import Direction, PastTask
from surrogate_nas.screening.acquisition import ACQUISITIONS
from surrogate_nas.screening.pool import Candidate, Pool
from surrogate_nas.screening.whole_space import WholeSpace
from surrogate_nas.surrogate.curves import UnfinishedTrials
from surrogate_nas.surrogate.features import FeatureCache
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from surrogate_nas.surrogate.target_model import TargetModel

FloatArray = npt.NDArray[np.float64]
IndexArray = npt.NDArray[np.intp]
Proposals = Callable[[int], Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]]

_logger = logging.getLogger(__name__)

_PARENTS = 5
IGNORED = 0.1
"""Probability of any transfer, or share of an equal weight, below which past tasks are ignored."""
_MOST_NAMED = 100
_CLIMBS = 4
"""Steps in which the pool climbs the acquisition; a single one misses ordered choices."""
_SHORTLIST = 256
"""Of a whole space, candidates that are scored exactly: those that a cheaper score puts first."""


@final
@dataclass(frozen=True)
class PoolMix:
    """How a pool is put together; each part is switched off by 0.

    What neither of them fills are random draws.

    Args:
        n_base: Proposals of the base sampler.
        near_observed: Share of the pool that are neighbours of the best trials.
        near_predicted: Share that are neighbours of the best candidates found so far.
    """

    n_base: int = 8
    near_observed: float = 0.25
    near_predicted: float = 0.5


@final
@dataclass(frozen=True)
class ScreeningRules:
    """How a sampler screens.

    Args:
        size: Wanted number of candidates; all architectures of a space that has no more.
        n_startup: Results needed before a surrogate without past tasks has a say.
        n_control: Trainings after the first that are controls where there are past tasks: of
            random draws the one in the middle of what they predict. Past tasks that mislead choose
            architectures that are all alike bad; without one from elsewhere nothing shows it.
        mix: Composition of the pool.
        acquisition: A name in :data:`surrogate_nas.screening.acquisition.ACQUISITIONS`.
    """

    size: int = 256
    n_startup: int = 5
    n_control: int = 1
    mix: PoolMix = PoolMix()
    acquisition: str = "log_ei"

    def is_control(self, surrogate: MetaSurrogate, n_before: int) -> bool:
        """Whether the training after so many others is a control."""
        return bool(surrogate.tasks) and 0 < n_before <= self.n_control


@final
@dataclass(frozen=True)
class Screened:
    """The chosen candidate and what was known when it was chosen.

    Args:
        candidate: Which one.
        n_candidates: Size of the pool that it was chosen from.
        n_duplicates: Draws turned away because an equivalent trial exists.
        n_infeasible: Draws turned away because they exceed a limit.
        predicted_value: Predicted measurement, in the target's units; None without a surrogate.
        predicted_std: Its standard deviation.
        predicted_rank: Its place in the pool by that prediction, from 1; exploration and controls
            choose others than the first.
        acquisition: Log expected improvement, or what else was asked for.
        transfer: Probability that past tasks say anything about this one; None without any.
        past_tasks: How much each of them counts in the prediction.
    """

    candidate: Candidate
    n_candidates: int
    n_duplicates: int
    n_infeasible: int
    predicted_value: float | None = None
    predicted_std: float | None = None
    predicted_rank: int | None = None
    acquisition: float | None = None
    transfer: float | None = None
    past_tasks: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_repeat(self) -> bool:
        """Whether an equivalent trial exists, because nothing else was left."""
        return self.n_candidates == 0

    def attributes(self) -> dict[str, float]:
        """Return what is stored with the trial: flat, numeric, known values only."""
        named = {
            attributes.N_CANDIDATES: self.n_candidates,
            attributes.N_DUPLICATES: self.n_duplicates,
            attributes.N_INFEASIBLE: self.n_infeasible,
            attributes.PREDICTED_VALUE: self.predicted_value,
            attributes.PREDICTED_STD: self.predicted_std,
            attributes.PREDICTED_RANK: self.predicted_rank,
            attributes.ACQUISITION: self.acquisition,
            attributes.TRANSFER: self.transfer,
        }
        return {name: value for name, value in named.items() if value is not None}

    def study_attributes(self) -> dict[str, Any]:
        """Return what past tasks are worth to the study by now; nothing without any."""
        if self.transfer is None:
            return {}
        least = IGNORED / len(self.past_tasks)
        is_off = self.transfer < IGNORED
        off = [name for name, w in self.past_tasks.items() if is_off or abs(w) < least]
        strongest = sorted(self.past_tasks, key=lambda name: -abs(self.past_tasks[name]))
        return {
            attributes.TRANSFER: round(self.transfer, 4),
            attributes.PAST_TASK_WEIGHTS: {
                name: round(self.past_tasks[name], 4) for name in strongest[:_MOST_NAMED]
            },
            attributes.PAST_TASKS_IGNORED: off[:_MOST_NAMED],
        }


@final
@dataclass(frozen=True)
class TargetTrials:
    """What a study knows of its own task.

    Args:
        observed: Results so far; None without any.
        direction: Which way is better.
        pending: Parameters of architectures in training.
        meta_features: Numbers that describe the task; None where they are unknown.
        unfinished: Architectures whose training was pruned or has reported something.
    """

    observed: PastTask | None
    direction: Direction
    pending: Sequence[Mapping[str, Any]]
    meta_features: Mapping[str, float] | None = None
    unfinished: Sequence[UnfinishedTrials] = ()

    @property
    def n_observed(self) -> int:
        """Results so far, those included that a learning curve leads to."""
        n = 0 if self.observed is None else len(self.observed)
        return n + sum(len(group.params) for group in self.unfinished)


def screen(
    pool: Pool,
    surrogate: MetaSurrogate,
    trials: TargetTrials,
    propose: Proposals,
    rules: ScreeningRules,
    whole: WholeSpace | None = None,
) -> Screened:
    """Fill the pool and choose from it, or from the whole space where that is given.

    Args:
        pool: Empty; knows the space, the limits and what was tried.
        surrogate: What past tasks say.
        trials: The target's results so far.
        propose: Asks the base sampler for a number of proposals.
        rules: How it is done.
        whole: All architectures, where they are no more than the pool may hold.

    Raises:
        InfeasibleError: Nothing satisfies the limits.
    """
    n_observed = trials.n_observed
    is_control = rules.is_control(surrogate, n_observed + len(trials.pending))
    has_say = bool(surrogate.tasks) or n_observed >= rules.n_startup
    if whole is not None and has_say and len(free := whole.free(pool.seen)):
        target = _target(surrogate, trials)
        return _chosen_of_all(
            whole, free, target, surrogate.features, rules.acquisition, is_control=is_control
        )
    n_climb = 0
    if is_control:
        pool.add_random(rules.size)
    else:
        for params, attrs in propose(min(rules.mix.n_base, rules.size)):
            pool.add_proposal(params, attrs)
        if not has_say:
            if not pool.candidates:
                pool.add_random(1)
            return _first(pool)
        pool.add_neighbours(_best(trials.observed), int(rules.mix.near_observed * rules.size))
        room = max(rules.size - len(pool.candidates), 0)
        n_climb = min(int(rules.mix.near_predicted * rules.size), room)
        pool.add_random(max(room - n_climb, 1))
    if not pool.candidates:
        return _first(pool)
    target = _target(surrogate, trials)
    return _chosen(pool, target, n_climb, rules.acquisition, is_control=is_control)


def _target(surrogate: MetaSurrogate, trials: TargetTrials) -> TargetModel:
    """The surrogate conditioned on what the study knows."""
    return surrogate.condition(
        trials.observed,
        direction=trials.direction,
        pending=trials.pending,
        meta_features=trials.meta_features,
        unfinished=trials.unfinished,
    )


def _chosen(
    pool: Pool, target: TargetModel, n_climb: int, name: str, *, is_control: bool
) -> Screened:
    """Add so many neighbours of the best that are predicted, and choose the highest score.

    Or the middle prediction for a control: if past tasks have it all upside down, the middle stays
    where it is, while a single random draw may be as bad as what they recommend.
    """
    mean, std = target.latent([c.params for c in pool.candidates])
    score = acquisition(target, mean, std, name)
    for step in range(_CLIMBS):
        # The pool climbs: each step looks around the best that the last one has found.
        top = np.argsort(-score, kind="stable")[:_PARENTS]
        first = len(pool.candidates)
        n_step = n_climb * (step + 1) // _CLIMBS - n_climb * step // _CLIMBS
        pool.add_neighbours([pool.candidates[i].params for i in top], n_step)
        added = [c.params for c in pool.candidates[first:]]
        if added:
            more_mean, more_std = target.latent(added)
            mean, std = np.append(mean, more_mean), np.append(std, more_std)
            score = acquisition(target, mean, std, name)
    chosen = middle(mean) if is_control else int(score.argmax())
    counts = (len(pool.candidates), pool.n_duplicates, pool.n_infeasible)
    own = (mean[chosen], std[chosen], score[chosen])
    return _screened(pool.candidates[chosen], counts, target, _rank(mean, chosen), own)


def _chosen_of_all(
    whole: WholeSpace,
    free: IndexArray,
    target: TargetModel,
    cache: FeatureCache,
    name: str,
    *,
    is_control: bool,
) -> Screened:
    """Choose the highest score of all that is left; exactly scored are the most promising.

    A control is the middle prediction, as in a pool.
    """
    features = whole.features(cache).take(free)
    means, deviations = target.preview(features)
    if is_control:
        best = np.array([middle(means)])
    else:
        rough = acquisition(target, means, deviations, name)
        best = np.argsort(-rough, kind="stable")[:_SHORTLIST]
    mean, std = target.latent_of(features.take(best))
    score = acquisition(target, mean, std, name)
    chosen = int(score.argmax())
    counts = (len(free), len(whole) - len(free), whole.n_infeasible)
    candidate = whole.candidates[free[best[chosen]]]
    own = (mean[chosen], std[chosen], score[chosen])
    return _screened(candidate, counts, target, _rank(means, int(best[chosen])), own)


def _rank(mean: FloatArray, chosen: int) -> int:
    """Place by the prediction, from 1."""
    return 1 + int((mean > mean[chosen]).sum())


def middle(mean: FloatArray) -> int:
    """Where the middle prediction of candidates (m,) is, which a control has."""
    return int(np.argsort(mean, kind="stable")[len(mean) // 2])


def _screened(
    candidate: Candidate,
    counts: tuple[int, int, int],
    target: TargetModel,
    rank: int,
    own: tuple[float, float, float],
) -> Screened:
    """What was chosen, from so many free, taken and infeasible ones; its mean, std and score."""
    mean, std, score = own
    value, deviation = target.own_units(np.array([mean]), np.array([std]))
    n_candidates, n_duplicates, n_infeasible = counts
    return Screened(
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


def acquisition(
    target: TargetModel, mean: FloatArray, std: FloatArray, name: str = "log_ei"
) -> FloatArray:
    """Score candidates; before the first result, against the best that is predicted."""
    incumbent = float(mean.max()) if target.incumbent is None else target.incumbent
    return ACQUISITIONS[name](mean, std, incumbent)


def _best(observed: PastTask | None) -> list[Mapping[str, Any]]:
    """Parameters of the best results so far, best first."""
    if observed is None:
        return []
    order = np.argsort(-observed.y, kind="stable")[:_PARENTS]
    return [observed.params[i] for i in order]


def _first(pool: Pool) -> Screened:
    """The first candidate unscreened, or a repeat where every architecture was tried."""
    if pool.candidates:
        candidate, size = pool.candidates[0], 1
    else:
        assert pool.repeat is not None
        candidate, size = pool.repeat, 0
        _logger.warning(
            "Every architecture of the space that was drawn has been evaluated; one is repeated. "
            "Stop the study here or enlarge the space."
        )
    return Screened(candidate, size, pool.n_duplicates, pool.n_infeasible)
