"""SurrogateSampler: a base sampler proposes, a surrogate screens, the best is trained."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas.candidates import Limits, Pool
from surrogate_nas.errors import SpaceError
from surrogate_nas.past import Direction, from_trials
from surrogate_nas.screening import PoolMix, Screened, TargetTrials, screen
from surrogate_nas.shadow import BaseSamplerLike, Shadow
from surrogate_nas.space import Distributions, ParameterSpace, SearchSpace, SpaceLike, as_space
from surrogate_nas.surrogate import MetaSurrogate

_SEEDS = 2**32


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed)


@final
class SurrogateSampler(BaseSampler):
    """Screens candidates with a surrogate before any of them is trained.

    For each trial a pool of candidates is drawn: by the base sampler, as neighbours of good
    architectures, and at random. What the study has tried before (by the space's canonical key)
    or what exceeds a limit is left out. The surrogate, conditioned on all finished trials in the
    storage, predicts the rest, and the trial gets the candidate with the largest expected
    improvement. Predictions and counts are stored as user attributes of the trial.

    A study's trials follow from the seed and the storage alone: a stopped study continues as if
    it had never been stopped. With several objectives the base sampler's own trials are used.

    Args:
        space: A SearchSpace, a dict of distributions or a define-by-run function; None infers
            the parameters that all finished trials share, as Optuna's samplers do.
        surrogate: What past tasks teach; None learns from this study alone.
        base_sampler: Any Optuna sampler, or a function that makes one from a seed. By default
            TPE.
        n_candidates: Size of the pool; 1 switches screening off and leaves the base sampler.
        limits: Largest allowed values of what the space describes, as {"parameters": 1e6}.
        n_startup_trials: Finished trials before the surrogate has a say when there are no past
            tasks; until then the base sampler's proposals are trained.
        mix: Composition of the pool; by default with 16 proposals of the base sampler, or one of
            GPSampler.
        seed: Fixes the study; None draws one.

    Raises:
        SpaceError: The space or a limit is unusable.
        SurrogateMismatchError: The surrogate was fitted to another space.
    """

    def __init__(
        self,
        space: SpaceLike | None,
        *,
        surrogate: MetaSurrogate | None = None,
        base_sampler: BaseSamplerLike | None = None,
        n_candidates: int = 256,
        limits: Mapping[str, float] | None = None,
        n_startup_trials: int = 5,
        mix: PoolMix | None = None,
        seed: int | None = None,
    ) -> None:
        if n_candidates < 1:
            raise SpaceError(
                expected="n_candidates of at least 1", got=f"{n_candidates}", fix="use 256"
            )
        entropy = np.random.SeedSequence(seed).entropy
        self._seed = int(entropy) if isinstance(entropy, int) else 0
        self._make_base: BaseSamplerLike = base_sampler or _tpe
        # A base that has seen the real study refuses the shadow's, so this one never meets it.
        self._base = self._real_base()
        self._n_candidates = n_candidates
        self._n_startup = n_startup_trials
        # One proposal of the Gaussian process sampler costs as much as all the rest together.
        slow = isinstance(self._base, GPSampler)
        self._mix = mix or PoolMix(n_base=1 if slow else 16)
        self._limits = dict(limits or {})
        self._given = surrogate
        self._inferred = optuna.search_space.IntersectionSearchSpace()
        self._screens: _Screens | None = None
        if space is not None:
            self._screens = _Screens(as_space(space), surrogate, limits)
        self._local = threading.local()

    def _real_base(self) -> BaseSampler:
        if isinstance(self._make_base, BaseSampler):
            return copy.deepcopy(self._make_base)
        return self._make_base(self._seed % _SEEDS)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()

    def reseed_rng(self) -> None:
        """Nothing to do for screening: its randomness follows from seed and trial number."""
        self._base.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Forward to the base sampler."""
        self._base.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Forward to the base sampler; the surrogate sees the result at its next suggestion."""
        self._base.after_trial(study, trial, state, values)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> Distributions:
        """Screen a pool and return the distributions of the chosen candidate."""
        if self._passes(study):
            return self._base.infer_relative_search_space(study, trial)
        screens = self._screens or self._infer(study)
        if screens is None:
            return self._base.infer_relative_search_space(study, trial)
        chosen = self._choose(screens, study, trial)
        self._local.chosen = (trial._trial_id, chosen.candidate.params)
        return chosen.candidate.distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Distributions
    ) -> dict[str, Any]:
        """Return the chosen candidate's values for the parameters of the search space."""
        owner, params = getattr(self._local, "chosen", (None, {}))
        self._local.chosen = (None, {})
        if owner == trial._trial_id:
            return {name: value for name, value in params.items() if name in search_space}
        if self._passes(study) or not search_space:
            return self._base.sample_relative(study, trial, search_space)
        screens = _Screens(ParameterSpace(search_space), None, None)
        return self._choose(screens, study, trial).candidate.params

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Forward to the base sampler: a parameter that the space does not know."""
        return self._base.sample_independent(study, trial, param_name, param_distribution)

    def _passes(self, study: optuna.Study) -> bool:
        """Whether the base sampler's own trials are wanted."""
        return self._n_candidates == 1 or len(study.directions) > 1

    def _infer(self, study: optuna.Study) -> _Screens | None:
        """The parameters that all finished trials share, as a space."""
        found = self._inferred.calculate(study)
        found = {name: d for name, d in found.items() if not d.single()}
        return _Screens(ParameterSpace(found), self._given, self._limits) if found else None

    def _choose(self, screens: _Screens, study: optuna.Study, trial: FrozenTrial) -> Screened:
        """Screen a pool for one trial and store what was predicted with it."""
        storage = study._storage
        everything = storage.get_all_trials(study._study_id, deepcopy=False)
        others = [t for t in everything if t._trial_id != trial._trial_id]
        known = screens.known(others)
        rng = np.random.default_rng([self._seed, trial.number])
        fixed = trial.system_attrs.get("fixed_params", {})
        pool = Pool(screens.space, screens.limits, known.seen, fixed, rng)
        shadow_seed = int(rng.integers(_SEEDS))
        shadow = Shadow(self._make_base, shadow_seed, study, known.replayable)
        chosen = screen(
            pool,
            screens.surrogate,
            known.target_trials(study.directions[0]),
            lambda n: shadow.proposals(screens.space, n),
            size=self._n_candidates,
            n_startup=self._n_startup,
            mix=self._mix,
        )
        for key, value in chosen.candidate.system_attrs.items():
            storage.set_trial_system_attr(trial._trial_id, key, value)
        for key, number in chosen.attributes().items():
            storage.set_trial_user_attr(trial._trial_id, key, number)
        return chosen


@final
class _Known:
    """What a study's trials mean in a space."""

    def __init__(self) -> None:
        self.replayable: list[FrozenTrial] = []
        self.keys: set[str] = set()

    @property
    def seen(self) -> frozenset[str]:
        """Canonical keys of all trials: finished, running and waiting."""
        return frozenset(self.keys)

    def target_trials(self, direction: StudyDirection) -> TargetTrials:
        """Return the results so far and the architectures in training."""
        kind: Direction = "maximize" if direction == StudyDirection.MAXIMIZE else "minimize"
        running = [t.params for t in self.replayable if t.state == TrialState.RUNNING]
        return TargetTrials(from_trials("target", self.replayable, kind), kind, running)


@final
class _Screens:
    """A space with the surrogate and the limits that belong to it."""

    def __init__(
        self,
        space: SearchSpace,
        surrogate: MetaSurrogate | None,
        limits: Mapping[str, float] | None,
    ) -> None:
        self.space = space
        self.surrogate = MetaSurrogate.fit(space) if surrogate is None else surrogate.bind(space)
        self.limits = Limits(space, limits)
        self._remembered: dict[tuple[int, TrialState], str | None] = {}

    def known(self, trials: Sequence[FrozenTrial]) -> _Known:
        """Sort trials into those of this space, with their keys, and others."""
        known = _Known()
        for trial in trials:
            key = self._key(trial)
            if key is not None:
                known.keys.add(key)
                if trial.state != TrialState.WAITING:
                    known.replayable.append(trial)
        return known

    def _key(self, trial: FrozenTrial) -> str | None:
        """The canonical key of a trial, or None if it is not (yet) a trial of this space."""
        at = (trial.number, trial.state)
        if at not in self._remembered or trial.state == TrialState.RUNNING:
            params = trial.params or trial.system_attrs.get("fixed_params", {})
            try:
                self._remembered[at] = self.space.canonical(self.space.from_params(params))
            except SpaceError:
                self._remembered[at] = None
        return self._remembered[at]
