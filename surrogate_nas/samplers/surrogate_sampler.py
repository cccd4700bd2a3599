"""SurrogateSampler: a base sampler proposes, a surrogate screens, the best is trained."""

from __future__ import annotations

import copy
import operator
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas import attributes
from surrogate_nas.errors import SpaceError
from surrogate_nas.screening.acquisition import ACQUISITIONS
from surrogate_nas.screening.base_proposals import BaseSamplerLike, Shadow, advance_counters
from surrogate_nas.screening.known_trials import Screens
from surrogate_nas.screening.pool import Pool
from surrogate_nas.screening.ranking import PoolMix, Screened, ScreeningRules, screen
from surrogate_nas.space import Distributions, ParameterSpace, SearchSpace, SpaceLike, as_space
from surrogate_nas.storage.repeats import effective_number, is_chosen, without_interrupted
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate

_SEEDS = 2**32

_ATTEMPTS = 8
"""How often a worker chooses anew because another one has chosen the same at the same time."""
_LAST_ATTEMPTS = 20
"""How often it then draws at random: workers that know the same may choose the same for long."""
_RETRIED = 256
"""Largest pool of such a worker, who would else draw a whole space by chance, which takes long."""


def _tpe(seed: int) -> BaseSampler:
    return TPESampler(seed=seed)


@final
class SurrogateSampler(BaseSampler):
    """Screens candidates with a surrogate before any of them is trained.

    For each trial a pool of candidates is drawn: by the base sampler, as neighbours of good
    architectures, and at random. What the study has tried before (by the space's canonical key)
    or what exceeds a limit is left out. The surrogate, conditioned on the finished trials in the
    storage, predicts the rest, and the trial gets the candidate with the largest expected
    improvement. Predictions and counts are stored as user attributes of the trial.

    After more than 512 results a share of them stands for all, and TPE and GPSampler as base see
    512 trials, so that a suggestion costs about the same after 10,000.

    A study's trials follow from the seed and the storage alone: a stopped study continues as if
    it had never been stopped. With several objectives the base sampler's own trials are used.

    Where there are past tasks, the study's user attributes say what they are worth to it by now:
    ``transfer``, the probability that they say anything; ``past_task_weights``, how much each
    counts; ``past_tasks_ignored``, those that count for nothing.

    Args:
        space: A SearchSpace, a dict of distributions or a define-by-run function; None means the
            surrogate's own, or, without one, the parameters that all finished trials share, as
            in Optuna's samplers.
        surrogate: What past tasks teach; None learns from this study alone.
        base_sampler: Any Optuna sampler, or a function that makes one from a seed. By default
            TPE.
        n_candidates: Size of the pool, a few more where it is hardly larger than the base
            sampler's part; 1 switches screening off and leaves the base sampler. A space with no
            more combinations of parameters than that is the pool itself, whole.
        limits: Largest allowed values of what the space describes, as {"parameters": 1e6}.
        n_startup_trials: Finished trials before the surrogate has a say when there are no past
            tasks; until then the base sampler's proposals are trained.
        n_control_trials: Trials after the first that are controls, where there are past tasks: of
            random draws the one whose prediction is in the middle. Against it past tasks that
            are upside down are found out soon.
        mix: Composition of the pool; by default with 8 proposals of the base sampler, or one of
            GPSampler.
        acquisition: What ranks the candidates: "log_ei" (log expected improvement), "mean" (never
            explores) or "ucb" (mean plus one standard deviation).
        meta_features: Numbers that describe the task, as past tasks have them: they may tell which
            of these it is like.
        seed: Fixes the study; None draws one.

    Raises:
        SpaceError: The space, a limit or the acquisition is unusable, or there are limits without
            screening.
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
        n_control_trials: int = 1,
        mix: PoolMix | None = None,
        acquisition: str = "log_ei",
        meta_features: Mapping[str, float] | None = None,
        seed: int | None = None,
    ) -> None:
        if n_candidates < 1:
            raise SpaceError(
                expected="n_candidates of at least 1", got=f"{n_candidates}", fix="use 256"
            )
        if acquisition not in ACQUISITIONS:
            raise SpaceError(
                expected=f"an acquisition among {', '.join(ACQUISITIONS)}",
                got=repr(acquisition),
                fix="use the default, which is log_ei",
            )
        if limits and n_candidates == 1:
            raise SpaceError(
                expected="screening, which is what keeps to limits",
                got=f"limits on {', '.join(limits)} and n_candidates=1, which switches it off",
                fix="set n_candidates to 2 or more, or leave the limits out",
            )
        entropy = np.random.SeedSequence(None if seed is None else operator.index(seed)).entropy
        assert isinstance(entropy, int)
        self._seed = entropy
        self._make_base: BaseSamplerLike = base_sampler or _tpe
        # A base that has seen the real study refuses the shadow's, so this one never meets it.
        self._base = self._real_base()
        # One proposal of the Gaussian process sampler costs as much as all the rest together.
        slow = isinstance(self._base, GPSampler)
        self._rules = ScreeningRules(
            size=n_candidates,
            n_startup=n_startup_trials,
            n_control=n_control_trials,
            mix=mix or PoolMix(n_base=1 if slow else 8),
            acquisition=acquisition,
        )
        self._limits = dict(limits or {})
        self._meta_features = None if meta_features is None else dict(meta_features)
        self._last: tuple[Distributions, Screens] | None = None
        self._inferred = optuna.search_space.IntersectionSearchSpace()
        self._screens: Screens | None = None
        if space is None and surrogate is not None:
            space = surrogate.encoding.space
        if space is not None:
            self._screens = Screens(as_space(space), surrogate, limits)
        self._make_threaded()

    def __repr__(self) -> str:
        space = "a space to be inferred" if self.space is None else type(self.space).__name__
        past = 0 if self.surrogate is None else len(self.surrogate.tasks)
        return (
            f"<SurrogateSampler of {space}: {self._rules.size} candidates a trial, "
            f"{past} past tasks, {self._rules.acquisition}>"
        )

    @property
    def surrogate(self) -> MetaSurrogate | None:
        """What predicts for this sampler; None where it has no space, and infers one."""
        return None if self._screens is None else self._screens.surrogate

    def using(self, surrogate: MetaSurrogate | None) -> SurrogateSampler:
        """Return this sampler with another surrogate; None learns from the study alone.

        Raises:
            SurrogateMismatchError: The surrogate was fitted to another space.
        """
        other = copy.copy(self)
        space = self._screens.space if self._screens is not None else None
        if space is None and surrogate is not None:
            space = surrogate.encoding.space
        other._screens = None if space is None else Screens(space, surrogate, self._limits)
        return other

    @property
    def space(self) -> SearchSpace | None:
        """Where its candidates come from; None where it infers that from the study."""
        return None if self._screens is None else self._screens.space

    def _make_threaded(self) -> None:
        self._local = threading.local()
        # Threads that choose at once would choose the same.
        self._choosing = threading.Lock()

    def _real_base(self) -> BaseSampler:
        if isinstance(self._make_base, BaseSampler):
            return copy.deepcopy(self._make_base)
        return self._make_base(self._seed % _SEEDS)

    def __getstate__(self) -> dict[str, Any]:
        threaded = ("_local", "_choosing")
        return {name: value for name, value in self.__dict__.items() if name not in threaded}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_threaded()

    def reseed_rng(self) -> None:
        """Nothing to do for screening: its randomness follows from seed and trial number."""
        self._base.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Forward to the base sampler."""
        if is_chosen(trial):
            advance_counters(study, trial.system_attrs.get(attributes.COUNTERS, {}))
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
        if is_chosen(trial):
            return {}  # a repeat: what it asks for was chosen before, and is fixed
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
        if is_chosen(trial):
            return {}
        if owner == trial._trial_id:
            return {name: value for name, value in params.items() if name in search_space}
        if self._passes(study) or not search_space:
            return self._base.sample_relative(study, trial, search_space)
        screens = Screens(ParameterSpace(search_space), None, None)
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
        return self._rules.size == 1 or len(study.directions) > 1

    def _infer(self, study: optuna.Study) -> Screens | None:
        """The parameters that all finished trials share, as a space."""
        found = self._inferred.calculate(study)
        found = {name: d for name, d in found.items() if not d.single()}
        if not found:
            return None
        if self._last is None or self._last[0] != found:
            self._last = (found, Screens(ParameterSpace(found), None, self._limits))
        return self._last[1]

    def _choose(self, screens: Screens, study: optuna.Study, trial: FrozenTrial) -> Screened:
        """Screen a pool for one trial and store with it what was chosen and predicted."""
        storage = study._storage
        with self._choosing:
            for attempt in range(_ATTEMPTS + _LAST_ATTEMPTS):
                chosen, counters = self._screened(screens, study, trial, attempt)
                storage.set_trial_system_attr(
                    trial._trial_id, attributes.PLANNED_PARAMS, chosen.candidate.params
                )
                # Of two workers that choose the same at once, one at least sees the other here.
                taken = screens.known(_others(study, trial)).keys
                if chosen.is_repeat or chosen.candidate.key not in taken:
                    break
                advance_counters(study, counters)
        # NOTE: the process may die between any two of these writes. The number of candidates, the
        # first attribute, comes last: the repeat of a trial without it chooses again.
        attrs = {
            **chosen.candidate.system_attrs,
            **({attributes.COUNTERS: counters} if counters else {}),
        }
        for key, value in attrs.items():
            storage.set_trial_system_attr(trial._trial_id, key, value)
        for key, number in reversed(chosen.attributes().items()):
            storage.set_trial_user_attr(trial._trial_id, key, number)
        advance_counters(study, counters)
        for key, value in chosen.study_attributes().items():
            storage.set_study_user_attr(study._study_id, key, value)
        return chosen

    def _screened(
        self, screens: Screens, study: optuna.Study, trial: FrozenTrial, attempt: int
    ) -> tuple[Screened, dict[str, int]]:
        """Screen a pool; return what was chosen, and the counters that the base has advanced."""
        known = screens.known(_others(study, trial))
        trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
        rng = np.random.default_rng([self._seed, effective_number(trial, trials), attempt])
        fixed = trial.system_attrs.get(attributes.FIXED_PARAMS, {})
        pool = Pool(screens.space, screens.limits, frozenset(known.keys), fixed, rng)
        rules = self._rules
        # Two workers that choose the best of all at once would go on choosing the same.
        whole = None if attempt or fixed else screens.whole(rules.size)
        if attempt >= _ATTEMPTS:
            rules = replace(rules, size=1, mix=PoolMix(0, 0.0, 0.0))
        elif attempt:
            rules = replace(rules, size=min(rules.size, _RETRIED))
        shadow = Shadow(self._make_base, int(rng.integers(_SEEDS)), study, known.replayable)
        chosen = screen(
            pool,
            screens.surrogate,
            known.target_trials(study.directions[0], self._meta_features),
            lambda n: shadow.proposals(screens.space, n),
            rules,
            whole,
        )
        return chosen, shadow.advanced


def _others(study: optuna.Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """Return all trials of a study but one and the interrupted ones that others repeat.

    A study that a pruner has filtered shows all of them, too.
    """
    trials = study._storage.get_all_trials(study._study_id, deepcopy=False)
    others = without_interrupted(trials)
    return [other for other in others if other._trial_id != trial._trial_id]
