"""Strategies: rules that propose architectures, and the sampler that makes Optuna follow one.

A strategy knows nothing of Optuna. It sees what the study has evaluated, as arrays, and answers
with a *chooser*: a function of a parameter's name and distribution that returns a value. This file
is the only one that knows Optuna's hooks for strategies.
"""

from __future__ import annotations

import abc
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas import attributes
from surrogate_nas.errors import SpaceError
from surrogate_nas.samplers.trial_draws import InferredSpace, TrialDraws, entropy_of
from surrogate_nas.screening.choice import Choice, first_of
from surrogate_nas.screening.evaluated import Evaluated
from surrogate_nas.screening.known_trials import KnownTrials, TrialReader
from surrogate_nas.screening.pool import Limits, Pool
from surrogate_nas.screening.screener import MOST_CONTESTED, Proposal
from surrogate_nas.space import Distributions, ParameterSpace, SearchSpace, SpaceLike, as_space
from surrogate_nas.space.draw import Chooser, contains, uniform
from surrogate_nas.storage.repeats import is_chosen, named

_MOST_PROPOSALS = 64
"""Number of proposals of a strategy before a random architecture is taken. All of them were tried
before, or exceeded a limit."""


class Strategy(abc.ABC):
    """A rule that proposes architectures.

    It must follow from its arguments alone: whatever it remembers between calls would be lost in
    another process. A strategy that learns computes what it has learned from `seen`.
    """

    @abc.abstractmethod
    def propose(self, seen: Evaluated, space: SearchSpace, rng: np.random.Generator) -> Chooser:
        """Propose the next architecture.

        It is called again if the proposal was tried before or exceeds a limit.

        Args:
            seen: The architectures that the study has evaluated, and their results.
            space: All architectures. ``space.mutate(params, rng)`` proposes a neighbour of one.
            rng: The only source of randomness.

        Returns:
            A function that answers a parameter's name and distribution with a value. See
            :mod:`surrogate_nas.space.draw` for ready ones: ``random_chooser(rng)`` and
            ``replay_chooser(params, otherwise)``.
        """


@final
class StrategySampler(BaseSampler):
    """An Optuna sampler that follows a strategy.

    A study's trials follow from the seed and the storage alone: a stopped study continues as if it
    had never been stopped, and several workers share one study. Proposals that exceed a limit or
    that the study has tried, by the space's canonical key, are turned away. If the strategy
    proposes nothing else many times in a row, a random architecture is taken.

    Args:
        space: A SearchSpace, a dict of distributions or a define-by-run function. None means the
            parameters that all finished trials share, as in Optuna's samplers.
        strategy: Proposes.
        limits: Largest allowed values of what the space describes, as {"parameters": 1e6}.
        seed: Fixes the study; None draws a seed.

    Raises:
        SpaceError: The space or a limit is unusable, or the strategy is none.
    """

    def __init__(
        self,
        space: SpaceLike | None,
        strategy: Strategy,
        *,
        limits: Mapping[str, float] | None = None,
        seed: int | None = None,
    ) -> None:
        if not isinstance(strategy, Strategy):
            raise SpaceError(
                expected="an object of a subclass of surrogate_nas.samplers.Strategy",
                got=repr(strategy),
                fix="pass for example surrogate_nas.samplers.MutateBest()",
            )
        if limits and space is None:
            raise SpaceError(
                expected="a space whose architectures can be described",
                got=f"limits on {', '.join(limits)} and no space",
                fix="pass the space, or leave the limits out",
            )
        self.strategy = strategy
        self._draws = TrialDraws(entropy_of(seed))
        self._inferred = InferredSpace()
        self._draw_in: _StrategyDraw | None = None
        self._is_given = space is not None
        if space is not None:
            self._draw_in = _StrategyDraw(as_space(space), limits)

    def __repr__(self) -> str:
        space = "a space to be inferred" if self.space is None else type(self.space).__name__
        return f"<StrategySampler of {space}: {self.strategy!r}>"

    @property
    def space(self) -> SearchSpace | None:
        """Where its architectures come from; None where it infers that from the study."""
        return self._draw_in.space if self._is_given and self._draw_in is not None else None

    @property
    def has_limits(self) -> bool:
        """Whether it keeps to limits."""
        return self._draw_in is not None and bool(self._draw_in.limits)

    def beyond_limits(self, params: Mapping[str, Any]) -> str:
        """Return in words which limits an architecture exceeds; nothing if it keeps all.

        Args:
            params: Parameters of any trial, which may be none of the space: these keep all limits.
        """
        return "" if self._draw_in is None else self._draw_in.limits.beyond(params)

    def reseed_rng(self) -> None:
        """Do nothing: randomness follows from the seed and the trial's number."""

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> Distributions:
        """Let the strategy choose, and return the distributions of the chosen architecture."""
        if is_chosen(trial):
            return {}  # NOTE: a repeat's parameters are those of the trial that it repeats
        draw_in = self._draw_in
        if not self._is_given:
            space = self._inferred(study)
            if space is None:
                return {}
            if draw_in is None or draw_in.space is not space:
                draw_in = self._draw_in = _StrategyDraw(space, None)
        if draw_in is None:
            return {}
        return self._choose(draw_in, study, trial).candidate.distributions

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Distributions
    ) -> dict[str, Any]:
        """Return the chosen architecture's values for the parameters of the search space."""
        if not search_space or is_chosen(trial):
            return {}
        params = self._draws.take(trial)
        if params is None:
            # Nothing was chosen for this trial, so the caller has brought a space of its own.
            draw_in = _StrategyDraw(ParameterSpace(search_space), None)
            params = self._choose(draw_in, study, trial).candidate.params
            self._draws.take(trial)
        return {name: value for name, value in params.items() if name in search_space}

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Warn if the objective has asked for something else than what was suggested."""
        # NOTE: an inferred space follows the objective, and a trial may end before it has asked.
        if self._is_given and state == TrialState.COMPLETE:
            self._draws.warn_of_unmet(trial)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw at random: a parameter that the space does not know."""
        # Not Python's own hash, which differs between processes.
        rng = self._draws.generator(study, trial, zlib.crc32(param_name.encode()), 1)
        return uniform(param_distribution, rng)

    def _choose(self, draw_in: _StrategyDraw, study: optuna.Study, trial: FrozenTrial) -> Choice:
        fixed = named(trial.system_attrs.get(attributes.FIXED_PARAMS))

        def choose(known: KnownTrials, rng: np.random.Generator, attempt: int) -> Choice:
            # NOTE: workers that know the same and follow a strategy without randomness would
            # choose the same for ever.
            strategy = self.strategy if attempt < MOST_CONTESTED else None
            return draw_in(strategy, known, study.directions, fixed, rng)

        return self._draws.choose(study, trial, draw_in.reader, choose)


@final
class _StrategyDraw:
    """Draws architectures of one space by a strategy."""

    def __init__(self, space: SearchSpace, limits: Mapping[str, float] | None) -> None:
        self.space = space
        self.reader = TrialReader(space)
        self.limits = Limits(space, limits)

    def __call__(
        self,
        strategy: Strategy | None,
        known: KnownTrials,
        directions: Sequence[StudyDirection],
        fixed: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> Choice:
        """Return the first new, feasible proposal, or a random architecture without a strategy."""
        pool = Pool(self.space, self.limits, known.keys, fixed, rng)
        if strategy is not None:
            for chooser, _ in proposals(
                strategy, Evaluated.of(known, directions), self.space, rng, _MOST_PROPOSALS
            ):
                if pool.add(chooser, "strategy") is not None:
                    break
        if not pool.candidates:
            pool.add_random(1)
        return first_of(pool)


def proposals(
    strategy: Strategy, seen: Evaluated, space: SearchSpace, rng: np.random.Generator, n: int
) -> Iterator[Proposal]:
    """Yield a number of proposals of a strategy, as candidates of a pool are drawn.

    Raises:
        SpaceError: The strategy proposes something else than a chooser, or a chooser answers with
            a value that is not allowed.
    """
    for _ in range(n):
        chooser = strategy.propose(seen, space, rng)
        if not callable(chooser):
            raise SpaceError(
                expected=f"a function of a parameter's name and distribution from {strategy!r}",
                got=f"{chooser!r}",
                fix="return random_chooser(rng), replay_chooser(params, random_chooser(rng)) or "
                "space.mutate(params, rng)",
            )
        yield _checked(chooser, strategy), {}


def _checked(chooser: Chooser, strategy: Strategy) -> Chooser:
    """Refuse values that a parameter does not allow: Optuna's own error would not say whose."""

    def choose(name: str, distribution: BaseDistribution) -> Any:
        value = chooser(name, distribution)
        if not contains(distribution, value):
            raise SpaceError(
                expected=f"a value of {name!r} in {distribution} from {strategy!r}",
                got=repr(value),
                fix="answer with an allowed value, for example "
                "surrogate_nas.space.draw.uniform(distribution, rng)",
            )
        return value

    return choose
