"""The pool that a sampler screens: distinct, feasible candidates that were not evaluated before.

A candidate is drawn by a *chooser*, whatever its source is: a proposal of the base sampler or of a
strategy, a neighbour of a good architecture, a random draw.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from surrogate_nas.errors import InfeasibleError, SpaceError
from surrogate_nas.space import Architecture, Distributions, SearchSpace, params_key
from surrogate_nas.space.asking import cannot_learn
from surrogate_nas.space.draw import (
    MOST_REFUSED,
    Chooser,
    accepted,
    attempt,
    random_chooser,
    replay_chooser,
)

_PATIENCE = 20
"""Number of draws for each wanted candidate before a source is given up as exhausted."""
_LAST_DRAWS = 64
"""Number of random draws in search of an architecture that can learn, where no candidate can."""


@final
@dataclass(frozen=True)
class Candidate:
    """An architecture that may be evaluated next.

    Args:
        params: Parameters, as a trial stores them.
        distributions: Their distributions, without those of inactive parameters.
        key: Canonical key.
        source: Where it came from: "base", "neighbour", "random", "strategy" if a strategy alone
            decides, or "space" if all architectures are listed.
        system_attrs: What the base sampler wants stored with the trial.
    """

    params: dict[str, Any]
    distributions: Distributions
    key: str
    source: str
    system_attrs: Mapping[str, Any] = field(default_factory=dict)


@final
class Limits:
    """Upper bounds on numbers that a space's ``describe`` gives before training.

    Args:
        space: The space whose architectures are judged.
        limits: Largest allowed value by name, for example ``{"parameters": 1e6}``.

    Raises:
        SpaceError: A name is none that the space describes, or a limit is no number.
    """

    def __init__(self, space: SearchSpace, limits: Mapping[str, float] | None) -> None:
        self._space = space
        self._limits = dict(limits or {})
        self._known: dict[Hashable, tuple[str, ...]] = {}
        self._dead: dict[Hashable, bool] = {}
        if not self._limits:
            return
        _, architecture = accepted(space.suggest, random_chooser(np.random.default_rng(0)))
        names = sorted(space.describe(architecture))
        for name, limit in self._limits.items():
            if name not in names:
                raise SpaceError(
                    expected=f"limits on {', '.join(names)}",
                    got=f"a limit on {name!r}",
                    fix="use one of the names that the space's describe returns",
                )
            if isinstance(limit, bool) or not isinstance(limit, int | float) or limit != limit:
                raise SpaceError(
                    expected=f"a number as limit on {name!r}",
                    got=repr(limit),
                    fix='write for example limits={"parameters": 1e6}',
                )

    def exceeded(self, params: Mapping[str, Any], architecture: Architecture) -> tuple[str, ...]:
        """Return the names of the limits that an architecture exceeds."""
        if not self._limits:
            return ()
        # NOTE: remembered by parameters, not by the canonical key. A space may call architectures
        # of unequal size equivalent.
        key = params_key(params)
        if key not in self._known:
            numbers = self._space.describe(architecture)
            unknown = float("inf")  # what cannot be counted cannot be shown to keep a limit
            broken = (n for n, most in self._limits.items() if numbers.get(n, unknown) > most)
            self._known[key] = tuple(broken)
        return self._known[key]

    def beyond(self, params: Mapping[str, Any]) -> str:
        """Return in words which limits an architecture exceeds; nothing if it keeps all.

        Args:
            params: Parameters of any trial, which may be none of the space: these keep all limits.
        """
        try:
            names = self.exceeded(params, self._space.from_params(params))
        except SpaceError:
            return ""
        return self.words(names)

    def __bool__(self) -> bool:
        return bool(self._limits)

    def is_dead(self, params: Mapping[str, Any], architecture: Architecture | None = None) -> bool:
        """Return whether the space says that an architecture cannot learn.

        Args:
            params: Parameters of the architecture.
            architecture: The architecture, where it is at hand.
        """
        # NOTE: a rule that builds the network is not asked here. A build that ends its process
        # would end the study with it.
        is_built = type(self._space).describe is SearchSpace.describe and not self._limits
        if is_built and not self.is_quick:
            return False
        key = params_key(params)
        if key not in self._dead:
            self._dead[key] = cannot_learn(self._space, params, architecture)
        return self._dead[key]

    @property
    def is_quick(self) -> bool:
        """Whether the space has a rule of its own by which architectures cannot learn.

        The default rule builds each network, which is too slow for all candidates of a pool.
        """
        return type(self._space).is_degenerate is not SearchSpace.is_degenerate

    def words(self, names: Sequence[str]) -> str:
        """Write limits for an error message."""
        return ", ".join(f"{name} <= {self._limits[name]:g}" for name in names)


@final
class Pool:
    """Collects candidates and counts what it turns away.

    Args:
        space: The space that all candidates come from.
        limits: What makes a candidate infeasible.
        seen: Canonical keys of the study's trials: nothing is evaluated twice.
        fixed: Values of the parameters that an enqueued trial has fixed.
        rng: Source of randomness.
    """

    def __init__(
        self,
        space: SearchSpace,
        limits: Limits,
        seen: AbstractSet[str],
        fixed: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> None:
        self._space = space
        self._limits = limits
        self._seen = seen
        self._fixed = fixed
        self._rng = rng
        self._keys: set[str] = set()
        self._broken: dict[str, int] = {}
        self._n_refused = 0
        self._last_resort: Candidate | None = None
        self.candidates: list[Candidate] = []
        self.n_duplicates = 0
        """Number of draws turned away because the study has an equivalent trial."""
        self.n_infeasible = 0
        """Number of draws turned away because they exceed a limit, or the space refuses them."""
        self.repeat: Candidate | None = None
        """A feasible architecture that was evaluated before; None before one is drawn."""

    def add(
        self, choose: Chooser, source: str, system_attrs: Mapping[str, Any] | None = None
    ) -> Candidate | None:
        """Draw one architecture and keep it if it is new and feasible.

        Args:
            choose: Draws it. Parameters that are fixed are not asked for.
            source: See :class:`Candidate`.
            system_attrs: See :class:`Candidate`.

        Returns:
            The new candidate; None if it was turned away.
        """
        draw, architecture = attempt(self._space.suggest, replay_chooser(self._fixed, choose))
        if architecture is None:
            self.n_infeasible += 1
            self._n_refused += 1
            return None
        key = self._space.canonical(architecture)
        # Twins within a pool are not counted, since they save no training.
        if key in self._keys:
            return None
        # NOTE: before the look at earlier trials, because a repeat must keep the limits, too.
        broken = self._limits.exceeded(draw.params, architecture)
        if broken:
            self.n_infeasible += 1
            for name in broken:
                self._broken[name] = self._broken.get(name, 0) + 1
            return None
        new = Candidate(draw.params, draw.distributions, key, source, dict(system_attrs or {}))
        if key in self._seen:
            self.n_duplicates += 1
            self.repeat = self.repeat or new
            return None
        if self._limits.is_quick and self._limits.is_dead(draw.params, architecture):
            self.n_infeasible += 1
            self._last_resort = self._last_resort or new
            return None
        self._keys.add(key)
        self.candidates.append(new)
        return new

    def add_random(self, n: int) -> None:
        """Add up to n random architectures; fewer when the space is nearly exhausted.

        Raises:
            InfeasibleError: Not one of many draws satisfies the limits.
        """
        added = tries = 0
        while added < n and tries < (_PATIENCE * n if self.candidates else MOST_REFUSED):
            tries += 1
            added += self.add(random_chooser(self._rng), "random") is not None
        self.add_last_resort()
        if not self.candidates:
            self.repeated()

    def add_neighbours(self, parents: Sequence[Mapping[str, Any]], n: int) -> None:
        """Add up to n neighbours of the parents, which are taken in turn.

        What a neighbour is, the space says; see :meth:`surrogate_nas.SearchSpace.mutate`.
        """
        if not parents:
            return
        # NOTE: a move of a fixed parameter would be undone, so fixed ones are left out here.
        free = [{n: v for n, v in p.items() if n not in self._fixed} for p in parents]
        added = tries = 0
        # A good architecture may have few neighbours that were not tried, so this ends soon.
        while added < n and tries < 3 * n:
            parent = free[tries % len(free)]
            tries += 1
            added += self.add(self._space.mutate(parent, self._rng), "neighbour") is not None

    def first_alive(self, order: Iterable[int]) -> int:
        """Return the first of some places whose candidate can learn.

        If none can, random architectures are added. If these cannot learn either, the first place
        counts.

        Args:
            order: Places of all candidates, the most wanted first.
        """
        places = list(order)
        for place in places:
            if not self._is_dead(place):
                return place
        n = len(self.candidates)
        if not self._limits.is_quick:
            self.add_random(_LAST_DRAWS)
        alive = (place for place in range(n, len(self.candidates)) if not self._is_dead(place))
        return next(alive, places[0])

    def _is_dead(self, place: int) -> bool:
        """Return whether a candidate cannot learn, and count it as turned away."""
        is_dead = self._limits.is_dead(self.candidates[place].params)
        self.n_infeasible += is_dead
        return is_dead

    def add_last_resort(self) -> None:
        """Add an architecture that cannot learn, if no other one is left to try."""
        if not self.candidates and self._last_resort is not None:
            self.candidates.append(self._last_resort)

    def repeated(self) -> Candidate:
        """Return a feasible architecture that was evaluated before.

        Raises:
            InfeasibleError: None was drawn: nothing satisfies the limits.
        """
        if self.repeat is not None:
            return self.repeat
        if not self._broken:
            raise InfeasibleError(
                expected="a combination of parameters that the space accepts",
                got=f"TrialPruned in {self._n_refused} draws",
                fix="let the space refuse fewer combinations; enqueue none of those",
            )
        worst = sorted(self._broken, key=lambda name: -self._broken[name])
        raise InfeasibleError(
            expected=f"an architecture with {self._limits.words(worst)}",
            got=f"none in {self.n_infeasible} draws; {worst[0]!r} was exceeded "
            f"{self._broken[worst[0]]} times",
            fix="raise that limit or make the space's architectures smaller",
        )
