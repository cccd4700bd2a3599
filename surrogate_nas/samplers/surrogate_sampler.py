"""SurrogateSampler: a base sampler proposes, a surrogate screens, the best is trained."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, GPSampler
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas import attributes
from surrogate_nas.errors import SpaceError
from surrogate_nas.pretrained import SurrogateLike, as_surrogate
from surrogate_nas.samplers.bases import BaseLike as BaseLike
from surrogate_nas.samplers.bases import as_base, made_by
from surrogate_nas.samplers.continued import ContinuedSampler
from surrogate_nas.samplers.strategy import Strategy, StrategySampler, proposals
from surrogate_nas.samplers.trial_draws import InferredSpace, TrialDraws, entropy_of
from surrogate_nas.screening.acquisition import AcquisitionLike, as_acquisition
from surrogate_nas.screening.base_proposals import BaseProposals, advance_counters, as_asked_by
from surrogate_nas.screening.choice import Choice
from surrogate_nas.screening.evaluated import Evaluated
from surrogate_nas.screening.known_trials import KnownTrials
from surrogate_nas.screening.rules import PoolMix, ScreeningRules
from surrogate_nas.screening.screener import Proposal, Screener
from surrogate_nas.space import Distributions, ParameterSpace, SearchSpace, SpaceLike, as_space
from surrogate_nas.space.draw import random_chooser, replay_chooser
from surrogate_nas.storage.repeats import is_chosen, named
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate

_SEEDS = 2**32


@final
class SurrogateSampler(BaseSampler):
    """Screens candidates with a surrogate before any of them is trained.

    For each trial a pool of candidates is drawn: by the base sampler, as neighbours of good
    architectures, and at random. What the study has tried before (by the space's canonical key)
    or what exceeds a limit is left out. The surrogate, conditioned on the finished trials in the
    storage, predicts the rest, and the trial gets the candidate with the largest expected
    improvement. Predictions and counts are stored as user attributes of the trial.

    After more than 512 results a share of them represents all, and TPE and GPSampler as base see
    512 trials. So a suggestion costs about the same after 10,000 trials.

    A study's trials follow from the seed and the storage alone: a stopped study continues as if
    it had never been stopped. With several objectives the base sampler's own trials are used.

    If there are past tasks, the study's user attributes say what they are worth to it by now.
    ``transfer`` is the probability that they say anything. ``past_task_weights`` says how much
    each counts, and ``past_tasks_ignored`` names the past tasks that count for nothing.

    Args:
        space: A SearchSpace, a dict of distributions or a define-by-run function. None means the
            surrogate's own space. Without a surrogate it means the parameters that all finished
            trials share, as in Optuna's samplers.
        surrogate: What past tasks teach: a fitted surrogate, the path of its file, or "pretrained"
            for the one that ships with this package. None learns from this study alone.
        base_sampler: Any Optuna sampler, a class of samplers, which is called with ``seed=...``, a
            function that makes one from a seed, or a :class:`~surrogate_nas.samplers.Strategy`. By
            default TPE.
        n_candidates: Size of the pool, a few more if it is hardly larger than the base sampler's
            part; 1 switches screening off and leaves the base sampler. A space with no more
            combinations of parameters than that is the pool itself, whole.
        limits: Largest allowed values of what the space describes, as {"parameters": 1e6}.
        n_startup_trials: Number of finished trials before the surrogate has a say when there are
            no past tasks; until then the base sampler's proposals are trained.
        n_control_trials: Number of control trials after the first one, when there are past tasks.
            A control is the random candidate with the median prediction: if past tasks mislead,
            only a candidate that they did not recommend reveals it.
        mix: Composition of the pool; by default with 8 proposals of the base sampler, or one of
            GPSampler.
        acquisition: Ranks the candidates: "log_ei" (log expected improvement), "mean" (never
            explores), "ucb" (mean plus one standard deviation), or an object that is called as
            ``acquisition(prediction, front)``; see :mod:`surrogate_nas.screening.acquisition`.
        meta_features: Numbers that describe the task, as past tasks have them. They may tell
            which past tasks it is like.
        value_range: Smallest and largest value that the objective can have. Stored predictions
            stay between the two.
        seed: Fixes the study; None draws a seed.

    Raises:
        SpaceError: The space, the base sampler, a limit or the acquisition is unusable, or there
            are limits without screening.
        SurrogateFileError: The surrogate cannot be read, or none ships for this space.
        SurrogateMismatchError: The surrogate was fitted to another space.
    """

    def __init__(
        self,
        space: SpaceLike | None = None,
        *,
        surrogate: SurrogateLike | None = None,
        base_sampler: BaseLike | None = None,
        n_candidates: int = 256,
        limits: Mapping[str, float] | None = None,
        n_startup_trials: int = 5,
        n_control_trials: int = 1,
        mix: PoolMix | None = None,
        acquisition: AcquisitionLike = "log_ei",
        meta_features: Mapping[str, float] | None = None,
        value_range: tuple[float, float] = (-math.inf, math.inf),
        seed: int | None = None,
    ) -> None:
        if isinstance(n_candidates, bool) or not isinstance(n_candidates, int) or n_candidates < 1:
            raise SpaceError(
                expected="a whole number from 1 as n_candidates",
                got=f"{n_candidates!r}",
                fix="use 256",
            )
        # Checked now, because without a space the screener is made much later.
        as_acquisition(acquisition)
        if limits and n_candidates == 1:
            raise SpaceError(
                expected="screening, which is what keeps to limits",
                got=f"limits on {', '.join(limits)} and n_candidates=1, which switches it off",
                fix="set n_candidates to 2 or more, or leave the limits out",
            )
        searched = None if space is None else as_space(space)
        known = as_surrogate(surrogate, searched)
        if searched is None and known is not None:
            searched = known.encoding.space
        self._draws = TrialDraws(entropy_of(seed))
        self._given_base = as_base(base_sampler)
        # NOTE: a sampler that has seen the real study refuses a replica of it. So this one sees
        # the real study only, and copies of it make the proposals for a pool.
        self._base = self._real_base(searched)
        # NOTE: one proposal of the Gaussian process sampler costs as much as all the rest.
        real = self._base.base if isinstance(self._base, ContinuedSampler) else self._base
        n_base = 1 if isinstance(real, GPSampler) else 8
        self._rules = ScreeningRules(
            size=n_candidates,
            n_startup=n_startup_trials,
            n_control=n_control_trials,
            mix=mix or PoolMix(n_base=n_base),
            acquisition=acquisition,
            value_range=value_range,
        )
        self._limits = dict(limits or {})
        self._meta_features = None if meta_features is None else dict(meta_features)
        self._inferred = InferredSpace()
        self._inferred_screener: Screener | None = None
        self._screener: Screener | None = None
        if searched is not None:
            self._screener = Screener(searched, known, limits, self._rules)

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
        return None if self._screener is None else self._screener.surrogate

    def using(self, surrogate: SurrogateLike | None) -> SurrogateSampler:
        """Return this sampler with another surrogate; None learns from the study alone.

        Raises:
            SurrogateFileError: The surrogate cannot be read, or none ships for this space.
            SurrogateMismatchError: The surrogate was fitted to another space.
        """
        # Draws and base are shared, so the seed stays the same.
        other = copy.copy(self)
        space = self.space
        surrogate = as_surrogate(surrogate, space)
        if space is None and surrogate is not None:
            space = surrogate.encoding.space
        other._screener = None
        if space is not None:
            other._screener = Screener(space, surrogate, self._limits, self._rules)
        return other

    @property
    def space(self) -> SearchSpace | None:
        """Where its candidates come from; None where it infers that from the study."""
        return None if self._screener is None else self._screener.space

    @property
    def screens(self) -> bool:
        """Whether candidates are screened, so that limits can be kept to."""
        return self._rules.size > 1

    @property
    def limits(self) -> dict[str, float]:
        """Largest allowed values of what the space describes."""
        return dict(self._limits)

    def set_limit(self, name: str, most: float) -> None:
        """Keep to another largest allowed value from the next suggestion on.

        Args:
            name: What the space describes.
            most: The largest allowed value.

        Raises:
            SpaceError: The limit is unusable.
        """
        self._limits[name] = most
        if self._screener is not None:
            self._screener.set_limits(self._limits)

    @property
    def has_limits(self) -> bool:
        """Whether it keeps to limits."""
        return bool(self._limits)

    def beyond_limits(self, params: Mapping[str, Any]) -> str:
        """Return in words which limits an architecture exceeds; nothing if it keeps all.

        Args:
            params: Parameters of any trial, which may be none of the space: these keep all limits.
        """
        return "" if self._screener is None else self._screener.limits.beyond(params)

    def _real_base(self, space: SearchSpace | None) -> BaseSampler:
        """Return a sampler of its own for the trials that the base decides alone."""
        if isinstance(self._given_base, Strategy):
            return StrategySampler(space, self._given_base, seed=self._draws.seed)
        if isinstance(self._given_base, BaseSampler):
            return ContinuedSampler(copy.deepcopy(self._given_base))
        # Seeds of Optuna's samplers have 32 bits.
        return ContinuedSampler(made_by(self._given_base, self._draws.seed % _SEEDS))

    def reseed_rng(self) -> None:
        """Nothing to do for screening: its randomness follows from seed and trial number."""
        self._base.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Forward to the base sampler."""
        if is_chosen(trial):
            advance_counters(study, trial.system_attrs.get(attributes.COUNTERS))
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
        # NOTE: an inferred space follows the objective, and a trial may end before it has asked.
        if self._screener is not None and state == TrialState.COMPLETE:
            self._draws.warn_of_unmet(trial)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> Distributions:
        """Screen a pool and return the distributions of the chosen candidate."""
        screener = None if self._passes(study) else self._screener_for(study)
        if screener is None:
            return self._base.infer_relative_search_space(study, trial)
        if is_chosen(trial):
            return {}  # NOTE: a repeat's parameters are those of the trial that it repeats
        return self._choose(screener, study, trial).candidate.distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Distributions
    ) -> dict[str, Any]:
        """Return the chosen candidate's values for the parameters of the search space."""
        params = self._draws.take(trial)
        if is_chosen(trial):
            return {}
        if params is None:
            if self._passes(study) or not search_space:
                return self._base.sample_relative(study, trial, search_space)
            screener = Screener(ParameterSpace(search_space), rules=self._rules)
            params = self._choose(screener, study, trial).candidate.params
            self._draws.take(trial)
        return {name: value for name, value in params.items() if name in search_space}

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
        """Return whether the base sampler's own trials are wanted."""
        return self._rules.size == 1 or len(study.directions) > 1

    def _screener_for(self, study: optuna.Study) -> Screener | None:
        """Return the screener of the given space, or of the space that the study shows so far."""
        if self._screener is not None:
            return self._screener
        space = self._inferred(study)
        if space is None:
            return None
        if self._inferred_screener is None or self._inferred_screener.space is not space:
            self._inferred_screener = Screener(space, None, self._limits, self._rules)
        return self._inferred_screener

    def _choose(self, screener: Screener, study: optuna.Study, trial: FrozenTrial) -> Choice:
        """Screen a pool for one trial and store with it what was chosen and predicted."""
        fixed = named(trial.system_attrs.get(attributes.FIXED_PARAMS))
        counters: dict[str, int] = {}

        def choose(known: KnownTrials, rng: np.random.Generator, attempt: int) -> Choice:
            # NOTE: drawn even if no proposal is asked for, so that the pool's own draws do not
            # depend on who proposes.
            base_seed = int(rng.integers(_SEEDS))
            counters.clear()
            return screener.choose(
                known.target_trials(study.directions[0], self._meta_features),
                known.keys,
                lambda n: self._proposals(
                    study, known, screener.space, base_seed, rng, n, counters
                ),
                rng,
                fixed=fixed,
                attempt=attempt,
            )

        return self._draws.choose(study, trial, screener.known, choose, counters)

    def _proposals(
        self,
        study: optuna.Study,
        known: KnownTrials,
        space: SearchSpace,
        seed: int,
        rng: np.random.Generator,
        n: int,
        counters: dict[str, int],
    ) -> Iterator[Proposal]:
        """Yield a number of proposals of the base sampler or strategy, and note its counters."""
        base = self._given_base
        if isinstance(base, StrategySampler):
            base = base.strategy
        if isinstance(base, Strategy):
            own = np.random.default_rng(seed)
            yield from proposals(base, Evaluated.of(known, study.directions), space, own, n)
            return
        ask = BaseProposals(base, seed, study, as_asked_by(space, known.replayable))
        for params, attrs in ask(space, n):
            # NOTE: fixed parameters may open other branches, whose parameters are then drawn.
            yield replay_chooser(params, random_chooser(rng)), attrs
        counters.update(ask.advanced)
