"""Ask any base sampler for several candidates of one trial without touching the real study.

Samplers write what they draw into the trial and remember the study they first saw. So the base is
copied and asked on a *replica*: a study in memory that holds the same trials and is thrown away.
Drawn candidates stay there as running trials, so that samplers with a constant liar spread them.

The cost of TPE and of the Gaussian process sampler grows with the trials that they learn from. Of
many trials they see the best and an even share of the others, which has the same density.
"""

from __future__ import annotations

import copy
import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, final

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas import attributes
from surrogate_nas.arrays import IndexArray
from surrogate_nas.screening.random_states import random_states
from surrogate_nas.space import SearchSpace
from surrogate_nas.space.draw import attempt, replay_chooser
from surrogate_nas.space.values import PLAIN
from surrogate_nas.storage.optuna_private import (
    MEMORY_LOGGER,
    set_study_system_attr,
    stored_trial,
    study_system_attrs,
)

BaseSamplerLike: TypeAlias = BaseSampler | Callable[[int], BaseSampler]

_NAME = "surrogate_nas replica"
_USED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)

MOST_TRIALS = 512
"""Number of finished trials that a sampler sees if it learns from parameters and values alone.
Other samplers keep a state in the trials or visit each point once, and need all of them."""
_LEARN_FROM_VALUES = (TPESampler, GPSampler)
_BEST = 25
"""Largest number of trials that TPE takes for good ones."""


class _NoReplicas(logging.Filter):
    """Keeps the creation of replicas out of the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        return _NAME not in record.getMessage()


logging.getLogger(MEMORY_LOGGER).addFilter(_NoReplicas())


@final
class BaseProposals:
    """A base sampler's next proposals for a study, in the order in which it makes them.

    Args:
        base: The sampler, never modified, or a function that makes one from a seed.
        seed: Fixes the proposals.
        study: The real study. It is only read.
        trials: Its trials.
    """

    def __init__(
        self, base: BaseSamplerLike, seed: int, study: optuna.Study, trials: Sequence[FrozenTrial]
    ) -> None:
        storage = InMemoryStorage()
        study_id = storage.create_new_study(list(study.directions), _NAME)
        self._counters = counters_of(study)
        for key, value in self._counters.items():
            storage.set_study_system_attr(study_id, key, value)
        sampler = seeded(base, seed)
        self._study = optuna.Study(
            study_name=_NAME,
            storage=storage,
            sampler=sampler,
            pruner=optuna.pruners.NopPruner(),
        )
        # NOTE: a running trial without parameters teaches nothing yet. A waiting one must not be
        # copied: the replica would run it in place of a proposal.
        used = [t for t in trials if t.state in _USED and (t.params or t.state.is_finished())]
        if type(sampler) in _LEARN_FROM_VALUES:
            used = _representative(used, study.directions[0])
        for trial in used:
            storage.create_new_trial(study_id, template_trial=_Shared(trial))

    def __call__(
        self, space: SearchSpace, n: int
    ) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Yield parameters and system attributes of n proposals."""
        for _ in range(n):
            trial = self._study.ask()
            try:
                space.suggest(trial)
            except optuna.TrialPruned:
                # NOTE: the pool turns it away and counts it. Samplers learn from pruned trials.
                self._study.tell(trial, state=TrialState.PRUNED)
            attrs = dict(stored_trial(self._study, trial).system_attrs)
            # NOTE: a base of ours plans its trial in the replica; the real trial has its own plan.
            attrs.pop(attributes.PLANNED_PARAMS, None)
            yield trial.params, attrs

    @property
    def advanced(self) -> dict[str, int]:
        """Counters that the proposals so far have advanced, for :func:`advance_counters`."""
        now = counters_of(self._study)
        return {key: value for key, value in now.items() if self._counters.get(key) != value}


def advance_counters(study: optuna.Study, counters: Any) -> None:
    """Write a base sampler's counters into its study, unless they are further there.

    Args:
        study: The study.
        counters: Counters by name, as :func:`counters_of` returns them, or what another program
            has stored in their place. What is no counter is left out.
    """
    given = counters if isinstance(counters, Mapping) else {}
    now = counters_of(study) if given else {}
    for key, value in _counters(given).items():
        if value > now.get(key, -1):
            set_study_system_attr(study, key, value)


def seeded(base: BaseSamplerLike, seed: int) -> BaseSampler:
    """Return a sampler like `base` whose randomness follows from the seed alone.

    Optuna's samplers keep their random state in memory, so a resumed study would draw differently.
    So each trial has an own copy of the sampler, whose random states are set from the seed.
    """
    if not isinstance(base, BaseSampler):
        return base(seed)
    fresh = copy.deepcopy(base)
    fresh.reseed_rng()  # NOTE: samplers of users may make their states here
    seeds = np.random.SeedSequence(seed)
    for state in random_states(fresh):
        (child,) = seeds.spawn(1)
        if isinstance(state, np.random.RandomState):
            state.seed(int(child.generate_state(1)[0]))
        else:
            # A Generator cannot be seeded. It takes the state of a new one of its kind.
            state.bit_generator.state = type(state.bit_generator)(child).state
    return fresh


def counters_of(study: optuna.Study) -> dict[str, int]:
    """Return the integers that a sampler keeps in its study, such as QMC's next sample.

    Other attributes hold identities of trials (NSGA-II's parents), which differ in the replica.
    """
    return _counters(study_system_attrs(study))


def _counters(attrs: Mapping[str, Any]) -> dict[str, int]:
    """Return those of some attributes that are whole numbers."""
    return {k: v for k, v in attrs.items() if isinstance(v, int) and not isinstance(v, bool)}


def as_asked_by(space: SearchSpace, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return trials with their choices as a space asks for them.

    A database gives back a list for a tuple. Optuna's samplers would take them for two different
    ranges, which they refuse.

    Args:
        space: The space.
        trials: Trials that are architectures of it.
    """
    return [_as_asked(space, trial) if _is_unusual(trial) else trial for trial in trials]


def _is_unusual(trial: FrozenTrial) -> bool:
    """Return whether a trial has choices that a database may have changed."""
    return any(
        isinstance(d, CategoricalDistribution) and not PLAIN.issuperset(map(type, d.choices))
        for d in trial.distributions.values()
    )


def _as_asked(space: SearchSpace, trial: FrozenTrial) -> FrozenTrial:
    """Return a trial with its parameters and ranges as the space asks for them."""
    draw, _ = attempt(
        space.suggest, replay_chooser(trial.params, lambda name, _: trial.params[name])
    )
    twin = copy.copy(trial)
    twin.params, twin.distributions = draw.params, draw.distributions
    return twin


@final
class _Shared(FrozenTrial):
    """A stored trial for another study, which shares its contents with the first one.

    Storages copy deeply what they are given. With many trials that would cost more than the rest
    of a suggestion. Sharing is safe: storages replace what changes, and never change it in place.

    Args:
        trial: The stored one. Its fixed parameters are left out, since they would be replayed.
    """

    def __init__(self, trial: FrozenTrial) -> None:
        self.__dict__.update(trial.__dict__)
        own = dict(trial.system_attrs)
        own.pop(attributes.FIXED_PARAMS, None)
        self.system_attrs = own

    def __deepcopy__(self, memo: dict[int, Any]) -> _Shared:
        twin = copy.copy(self)
        for name, value in twin.__dict__.items():
            if isinstance(value, dict):
                twin.__dict__[name] = dict(value)
        return twin


def _representative(trials: list[FrozenTrial], direction: StudyDirection) -> list[FrozenTrial]:
    """Return all running trials and, of many finished ones, the best and an even share.

    Args:
        trials: In order of their numbers. The order is kept, since TPE weighs recent ones more.
        direction: Which way is better.
    """
    finished = [i for i, trial in enumerate(trials) if trial.state.is_finished()]
    if len(finished) <= MOST_TRIALS:
        return trials
    sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
    valued = [(sign * v[0], i) for i in finished if (v := trials[i].values) is not None]
    feasible = (i for _, i in sorted(valued) if _is_feasible(trials[i]))
    kept = set(itertools.islice(feasible, _BEST))
    rest = [i for i in finished if i not in kept]
    even: IndexArray = np.linspace(0, len(rest) - 1, MOST_TRIALS - len(kept)).astype(int)
    kept.update(rest[place] for place in even)
    return [t for i, t in enumerate(trials) if i in kept or not t.state.is_finished()]


def _is_feasible(trial: FrozenTrial) -> bool:
    """Return whether a trial is complete and keeps to its constraints."""
    is_complete = trial.state == TrialState.COMPLETE
    return is_complete and all(value <= 0 for value in trial.constraints.values())
