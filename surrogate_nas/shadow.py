"""Ask any base sampler for several candidates of one trial without touching the real study.

Samplers write what they draw into the trial and remember the study they first saw, so the base is
copied and asked on a throw-away study in memory that holds the same trials. Drawn candidates stay
there as running trials, which makes samplers with a constant liar spread them.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, final

import numpy as np
import optuna
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas.space import SearchSpace

BaseSamplerLike: TypeAlias = BaseSampler | Callable[[int], BaseSampler]

_NAME = "surrogate_nas shadow study"
_USED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


class _NoShadows(logging.Filter):
    """Keeps the creation of shadow studies out of the log."""

    def filter(self, record: logging.LogRecord) -> bool:
        return _NAME not in record.getMessage()


logging.getLogger("optuna.storages._in_memory").addFilter(_NoShadows())


@final
class Shadow:
    """A base sampler's next proposals for a study, in the order in which it makes them.

    Args:
        base: The sampler, never modified, or a function that makes one from a seed.
        seed: Fixes the proposals.
        study: The real study; only read, but for counters that the base keeps in it.
        trials: Its trials.
    """

    def __init__(
        self, base: BaseSamplerLike, seed: int, study: optuna.Study, trials: Sequence[FrozenTrial]
    ) -> None:
        storage = InMemoryStorage()
        storage.create_new_study(list(study.directions), _NAME)
        self._real = study
        self._counters = _counters(study)
        for key, value in self._counters.items():
            storage.set_study_system_attr(0, key, value)
        self._study = optuna.Study(
            study_name=_NAME,
            storage=storage,
            sampler=seeded(base, seed),
            pruner=optuna.pruners.NopPruner(),
        )
        # No later trial of the base can see a trial without parameters, and it may not replay.
        used = [t for t in trials if t.state in _USED and (t.params or t.state.is_finished())]
        self._study.add_trials([_plain(t) for t in used])

    def proposals(
        self, space: SearchSpace, n: int
    ) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Yield parameters and system attributes of n proposals."""
        for _ in range(n):
            trial = self._study.ask()
            space.suggest(trial)
            attrs = self._study._storage.get_trial(trial._trial_id).system_attrs
            yield trial.params, attrs
        for key, value in _counters(self._study).items():
            if self._counters.get(key) != value:
                self._real._storage.set_study_system_attr(self._real._study_id, key, value)


def seeded(base: BaseSamplerLike, seed: int) -> BaseSampler:
    """Return a sampler like `base` whose randomness follows from the seed alone.

    Optuna's samplers keep their random state in memory, so a resumed study would draw differently.
    A copy of the sampler gets its states reset here instead, for each trial anew.
    """
    if not isinstance(base, BaseSampler):
        return base(seed)
    fresh = copy.deepcopy(base)
    fresh.reseed_rng()  # own samplers may make their states here
    _reset_states(fresh, np.random.SeedSequence(seed), set())
    return fresh


def _reset_states(owner: object, seeds: np.random.SeedSequence, visited: set[int]) -> None:
    """Seed each numpy random state that an Optuna object holds, its own parts included."""
    visited.add(id(owner))
    getattr(owner, "rng", None)  # Optuna's lazy states are made at their first use
    for value in list(vars(owner).values()):
        if isinstance(value, np.random.RandomState):
            value.seed(int(seeds.spawn(1)[0].generate_state(1)[0]))
        elif isinstance(value, np.random.Generator):
            value.bit_generator.state = type(value.bit_generator)(seeds.spawn(1)[0]).state
        elif _is_part(value) and id(value) not in visited:
            _reset_states(value, seeds, visited)


def _is_part(value: object) -> bool:
    """Whether an attribute is an object of Optuna's that may hold a random state of its own."""
    return type(value).__module__.startswith("optuna") and "__dict__" in dir(value)


def _counters(study: optuna.Study) -> dict[str, int]:
    """Whole numbers that a sampler keeps in its study, such as QMC's next sample.

    Other attributes hold identities of trials (NSGA-II's parents), which differ in the shadow.
    """
    attrs = study._storage.get_study_system_attrs(study._study_id)
    return {k: v for k, v in attrs.items() if isinstance(v, int) and not isinstance(v, bool)}


def _plain(trial: FrozenTrial) -> FrozenTrial:
    """A copy fit for another study; a fixed parameter set would be replayed there."""
    plain = copy.copy(trial)
    plain.system_attrs = {k: v for k, v in trial.system_attrs.items() if k != "fixed_params"}
    return plain
