"""Rank a pool of candidates by acquisition and keep the best."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from surrogate_nas.acquisition import log_expected_improvement
from surrogate_nas.candidates import Candidate, Pool
from surrogate_nas.past import Direction, PastTask
from surrogate_nas.surrogate import MetaSurrogate, TargetModel

FloatArray = npt.NDArray[np.float64]
Proposals = Callable[[int], Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]]

_logger = logging.getLogger(__name__)

_PARENTS = 5
_CLIMBS = 4
"""Steps in which the pool climbs the acquisition; a single one misses ordered choices."""


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
class Screened:
    """The chosen candidate and what was known when it was chosen.

    Args:
        candidate: Which one.
        n_candidates: Size of the pool that it was chosen from.
        n_duplicates: Draws turned away because an equivalent trial exists.
        n_infeasible: Draws turned away because they exceed a limit.
        predicted_value: Predicted measurement, in the target's units; None without a surrogate.
        predicted_std: Its standard deviation.
        acquisition: Log expected improvement.
    """

    candidate: Candidate
    n_candidates: int
    n_duplicates: int
    n_infeasible: int
    predicted_value: float | None = None
    predicted_std: float | None = None
    acquisition: float | None = None

    @property
    def is_repeat(self) -> bool:
        """Whether an equivalent trial exists, because nothing else was left."""
        return self.n_candidates == 0

    def attributes(self) -> dict[str, float]:
        """Return what is stored with the trial: flat, numeric, known values only."""
        named = {name: value for name, value in vars(self).items() if name != "candidate"}
        return {name: value for name, value in named.items() if value is not None}


@final
@dataclass(frozen=True)
class TargetTrials:
    """What a study knows of its own task.

    Args:
        observed: Results so far; None without any.
        direction: Which way is better.
        pending: Parameters of architectures in training.
    """

    observed: PastTask | None
    direction: Direction
    pending: Sequence[Mapping[str, Any]]


def screen(
    pool: Pool,
    surrogate: MetaSurrogate,
    trials: TargetTrials,
    propose: Proposals,
    *,
    size: int,
    n_startup: int,
    mix: PoolMix,
) -> Screened:
    """Fill the pool and choose from it.

    Args:
        pool: Empty; knows the space, the limits and what was tried.
        surrogate: What past tasks say.
        trials: The target's results so far.
        propose: Asks the base sampler for a number of proposals.
        size: Wanted number of candidates.
        n_startup: Results needed before a surrogate without past tasks has a say.
        mix: Composition of the pool.

    Raises:
        InfeasibleError: Nothing satisfies the limits.
    """
    for params, attrs in propose(min(mix.n_base, size)):
        pool.add_proposal(params, attrs)
    n_observed = 0 if trials.observed is None else len(trials.observed)
    if not surrogate.tasks and n_observed < n_startup:
        if not pool.candidates:
            pool.add_random(1)
        return _first(pool)
    pool.add_neighbours(_best(trials.observed), int(mix.near_observed * size))
    room = max(size - len(pool.candidates), 0)
    n_last = min(int(mix.near_predicted * size), room)
    pool.add_random(max(room - n_last, 1))
    if not pool.candidates:
        return _first(pool)
    target = surrogate.condition(
        trials.observed, direction=trials.direction, pending=trials.pending
    )
    mean, std = target.latent([c.params for c in pool.candidates])
    score = acquisition(target, mean, std)
    for step in range(_CLIMBS):
        # The pool climbs: each step looks around the best that the last one has found.
        top = np.argsort(-score, kind="stable")[:_PARENTS]
        first = len(pool.candidates)
        n_step = n_last * (step + 1) // _CLIMBS - n_last * step // _CLIMBS
        pool.add_neighbours([pool.candidates[i].params for i in top], n_step)
        added = [c.params for c in pool.candidates[first:]]
        if added:
            more_mean, more_std = target.latent(added)
            mean, std = np.append(mean, more_mean), np.append(std, more_std)
            score = acquisition(target, mean, std)
    chosen = int(np.argmax(score))
    value, deviation = target.own_units(mean[[chosen]], std[[chosen]])
    return Screened(
        candidate=pool.candidates[chosen],
        n_candidates=len(pool.candidates),
        n_duplicates=pool.n_duplicates,
        n_infeasible=pool.n_infeasible,
        predicted_value=float(value[0]),
        predicted_std=float(deviation[0]),
        acquisition=float(score[chosen]),
    )


def acquisition(target: TargetModel, mean: FloatArray, std: FloatArray) -> FloatArray:
    """Log expected improvement; before the first result, over the best that is predicted."""
    incumbent = float(mean.max()) if target.incumbent is None else target.incumbent
    return log_expected_improvement(mean, std, incumbent)


def _best(observed: PastTask | None) -> list[Mapping[str, Any]]:
    """Parameters of the best results so far, best first."""
    if observed is None:
        return []
    order = np.argsort(-observed.gains, kind="stable")[:_PARENTS]
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
