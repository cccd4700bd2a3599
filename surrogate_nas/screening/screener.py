"""Screener: chooses the architecture that is evaluated next."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, TypeAlias, final

import numpy as np
from optuna.trial import FrozenTrial

from surrogate_nas.past.past_task import PastTask
from surrogate_nas.screening.acquisition import as_acquisition
from surrogate_nas.screening.choice import Choice, first_of
from surrogate_nas.screening.feasibility import Feasibility
from surrogate_nas.screening.known_trials import KnownTrials, TargetTrials, TrialReader
from surrogate_nas.screening.pool import Limits, Pool
from surrogate_nas.screening.ranking import N_PARENTS, best_of_all, best_of_pool
from surrogate_nas.screening.rules import PoolMix, ScreeningRules
from surrogate_nas.screening.whole_space import WholeSpace
from surrogate_nas.space import SearchSpace
from surrogate_nas.space.draw import Chooser
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from surrogate_nas.surrogate.target_model import TargetModel

Proposal: TypeAlias = tuple[Chooser, Mapping[str, Any]]
"""How a base draws an architecture, and the system attributes that it wants stored with it."""
Proposals: TypeAlias = Callable[[int], Iterable[Proposal]]
"""Makes a number of proposals of a base sampler or strategy."""

MOST_CONTESTED = 8
"""Number of times that a worker screens again because another one has chosen the same at the same
time. After these it draws at random: workers that know the same may choose the same for long."""
_CONTESTED_SIZE = 256
"""Largest pool of a worker that screens again. Drawing a pool as large as a space takes long."""


@final
class Screener:
    """Chooses architectures of a space: fills a pool, predicts, and takes the best candidate.

    Args:
        space: All candidates are architectures of this space.
        surrogate: What past tasks teach; None learns from the target's own trials alone.
        limits: Largest allowed values of what the space describes.
        rules: Settings.
        whole: Architectures to choose among. By default all of the space, if they are no more than
            the wanted number of candidates.

    Raises:
        SpaceError: A limit or the acquisition is unusable.
        SurrogateMismatchError: The surrogate was fitted to another space.
    """

    def __init__(
        self,
        space: SearchSpace,
        surrogate: MetaSurrogate | None = None,
        limits: Mapping[str, float] | None = None,
        rules: ScreeningRules | None = None,
        whole: WholeSpace | None = None,
    ) -> None:
        self.space = space
        self.surrogate = MetaSurrogate.fit(space) if surrogate is None else surrogate.bind(space)
        self.rules = ScreeningRules() if rules is None else rules
        self.limits = Limits(space, limits)
        self._acquisition = as_acquisition(self.rules.acquisition)
        self._reader = TrialReader(space)
        self._whole = whole
        self._is_listed = whole is not None

    def known(self, trials: Sequence[FrozenTrial]) -> KnownTrials:
        """Return what a study's trials mean in this space."""
        return self._reader(trials)

    def set_limits(self, limits: Mapping[str, float]) -> None:
        """Keep to other limits from the next choice on.

        Raises:
            SpaceError: A limit is unusable.
        """
        self.limits = Limits(self.space, limits)
        self._whole, self._is_listed = None, False

    @property
    def whole(self) -> WholeSpace | None:
        """All architectures, if they are no more than the wanted number of candidates."""
        if not self._is_listed:
            # None is an answer, too, so another attribute says whether it was asked.
            self._whole = WholeSpace.of(self.space, self.limits, self.rules.size)
            self._is_listed = True
        return self._whole

    def choose(
        self,
        trials: TargetTrials,
        taken: AbstractSet[str],
        propose: Proposals,
        rng: np.random.Generator,
        *,
        fixed: Mapping[str, Any] | None = None,
        attempt: int = 0,
    ) -> Choice:
        """Choose from a pool, or from all architectures where they are few.

        Args:
            trials: The target's results so far.
            taken: Canonical keys of architectures that must not be chosen again.
            propose: Asks the base sampler or strategy for proposals.
            rng: Source of randomness.
            fixed: Values of parameters that are given.
            attempt: Number of earlier choices for this trial that another worker has made at the
                same time.

        Raises:
            InfeasibleError: Nothing satisfies the limits.
        """
        rules = self._rules_of(attempt)
        has_say, is_control = self._roles(trials, rules)
        # NOTE: two workers that choose the best of all at the same time would go on choosing the
        # same; the random part of a pool parts them.
        if has_say and not attempt and not fixed and self.whole is not None:
            free = self.whole.free(taken)
            if len(free):
                target, cache = self._condition(trials), self.surrogate.features
                choice = best_of_all(
                    self.whole,
                    free,
                    target,
                    self._acquisition,
                    cache,
                    self._feasibility(trials),
                    is_control=is_control,
                )
                return self._said(choice, target, trials)
        pool = Pool(self.space, self.limits, taken, fixed or {}, rng)
        return self.choose_from(pool, trials, propose, rules)

    def choose_from(
        self,
        pool: Pool,
        trials: TargetTrials,
        propose: Proposals,
        rules: ScreeningRules | None = None,
    ) -> Choice:
        """Fill an empty pool and choose from it.

        Args:
            pool: Knows the space, the limits, what was tried, and the source of randomness.
            trials: The target's results so far.
            propose: Asks the base sampler or strategy for proposals.
            rules: Settings other than the screener's own.

        Raises:
            InfeasibleError: Nothing satisfies the limits.
        """
        rules = self.rules if rules is None else rules
        has_say, is_control = self._roles(trials, rules)
        n_near_predicted = 0
        if is_control:
            # NOTE: a control is the median of random candidates, so its pool has no others.
            pool.add_random(rules.size)
        else:
            for chooser, attrs in propose(min(rules.mix.n_base, rules.size)):
                pool.add(chooser, "base", attrs)
            if has_say:
                n_near_predicted = _fill(pool, trials.parents, rules)
            # Without the surrogate the base decides, unless all that it proposed was turned away.
            elif not pool.candidates:
                pool.add_random(1)
        if not has_say or not pool.candidates:
            return first_of(pool)
        target = self._condition(trials)
        choice = best_of_pool(
            pool,
            target,
            self._acquisition,
            n_near_predicted,
            self._feasibility(trials),
            is_control=is_control,
        )
        return self._said(choice, target, trials)

    def _said(self, choice: Choice, target: TargetModel, trials: TargetTrials) -> Choice:
        """Return a choice with its prediction as far as the target's units allow to tell it."""
        # NOTE: before any trial keeps the constraints, results are in units of these.
        if not target.has_own_scale or trials.n_feasible == 0:
            return choice.without_units()
        return choice.within(*self.rules.value_range)

    def _roles(self, trials: TargetTrials, rules: ScreeningRules) -> tuple[bool, bool]:
        """Return whether the surrogate has a say by now, and whether the trial is a control."""
        has_say = bool(self.surrogate.tasks) or trials.n_observed >= rules.n_startup
        # Running trials count, or workers that start together would all train a control.
        n_before = trials.n_observed + len(trials.pending)
        return has_say, rules.is_control(self.surrogate, n_before)

    def _rules_of(self, attempt: int) -> ScreeningRules:
        """Return the settings of a first choice, or of a later one for the same trial."""
        if attempt >= MOST_CONTESTED:
            # A pool of one random candidate, without any proposal or neighbour.
            return replace(self.rules, size=1, mix=PoolMix(0, 0.0, 0.0))
        if attempt:
            return replace(self.rules, size=min(self.rules.size, _CONTESTED_SIZE))
        return self.rules

    def _feasibility(self, trials: TargetTrials) -> Feasibility | None:
        """Return what the study's constraints say of candidates; None without a violation."""
        if not trials.constraints:
            return None
        return Feasibility(self.surrogate.encoding, trials.constraints)

    def _condition(self, trials: TargetTrials) -> TargetModel:
        """Return the surrogate conditioned on what the study knows."""
        return self.surrogate.condition(
            trials.observed,
            direction=trials.direction,
            pending=trials.pending,
            meta_features=trials.meta_features,
            unfinished=trials.unfinished,
        )


def _fill(pool: Pool, parents: PastTask | None, rules: ScreeningRules) -> int:
    """Add neighbours of the best results and random draws; return how many places are left.

    The places left are for neighbours of the best predictions.
    """
    pool.add_neighbours(_best(parents), int(rules.mix.near_observed * rules.size))
    room = max(rules.size - len(pool.candidates), 0)
    n_near_predicted = min(int(rules.mix.near_predicted * rules.size), room)
    # At least one, as a pool must not stay empty.
    pool.add_random(max(room - n_near_predicted, 1))
    return n_near_predicted


def _best(results: PastTask | None) -> list[Mapping[str, Any]]:
    """Return the parameters of the best results, best first."""
    if results is None:
        return []
    order = np.argsort(-results.y, kind="stable")[:N_PARENTS]
    return [results.params[i] for i in order]
