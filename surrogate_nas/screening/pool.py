"""The pool that a sampler screens: distinct, feasible, not evaluated before.

Three sources, each switchable: what the base sampler would propose, neighbours of good
architectures, and random draws. Candidates have no outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from surrogate_nas.draw import (
    Chooser,
    Draw,
    from_unit,
    random_chooser,
    replay_chooser,
    to_unit,
)
from surrogate_nas.errors import InfeasibleError, SpaceError
from surrogate_nas.space import Architecture, Distributions, SearchSpace

_STEP = 0.2
"""Standard deviation of a neighbour's move along a number's range."""
_PATIENCE = 20
"""Draws per wanted candidate before a source is given up as exhausted."""
_HOPELESS = 2000
"""Draws without any new, feasible architecture before there is taken to be none."""


@final
@dataclass(frozen=True)
class Candidate:
    """An architecture that may be evaluated next.

    Args:
        params: Its parameters, as a trial stores them.
        distributions: Their distributions, those of inactive parameters left out.
        key: Its canonical key.
        source: Where it came from: "base", "neighbour" or "random"; "space" where all are listed.
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
        SpaceError: A name is not among those that the space describes, or a limit is no number.
    """

    def __init__(self, space: SearchSpace, limits: Mapping[str, float] | None) -> None:
        self._space = space
        self._limits = dict(limits or {})
        self._known: dict[tuple[Any, ...], tuple[str, ...]] = {}
        if not self._limits:
            return
        draw = Draw(random_chooser(np.random.default_rng(0)))
        names = sorted(space.describe(space.suggest(draw)))
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
        """Return the names of the limits that an architecture exceeds, remembered by its params.

        Not by its canonical key: a space may take architectures of unequal size for equivalent.
        """
        if not self._limits:
            return ()
        key = tuple(sorted(params.items()))
        if key not in self._known:
            numbers = self._space.describe(architecture)
            unknown = float("inf")  # what cannot be counted cannot be shown to keep a limit
            broken = (n for n, most in self._limits.items() if numbers.get(n, unknown) > most)
            self._known[key] = tuple(broken)
        return self._known[key]

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
        fixed: Parameters whose values an enqueued trial has fixed.
        rng: Source of randomness.
    """

    def __init__(
        self,
        space: SearchSpace,
        limits: Limits,
        seen: frozenset[str],
        fixed: Mapping[str, Any],
        rng: np.random.Generator,
    ) -> None:
        self._space = space
        self._limits = limits
        self.seen = seen
        self._fixed = fixed
        self._rng = rng
        self._keys: set[str] = set()
        self._broken: dict[str, int] = {}
        self.candidates: list[Candidate] = []
        self.n_duplicates = 0
        """Draws turned away because the study has an equivalent trial."""
        self.n_infeasible = 0
        """Draws turned away because they exceed a limit."""
        self.repeat: Candidate | None = None
        """A feasible architecture that was evaluated before, for when nothing else is left."""

    def add(
        self, choose: Chooser, source: str, system_attrs: Mapping[str, Any] | None = None
    ) -> Candidate | None:
        """Draw one architecture and keep it if it is new and feasible."""
        draw = Draw(replay_chooser(self._fixed, choose))
        architecture = self._space.suggest(draw)
        key = self._space.canonical(architecture)
        if key in self._keys:
            return None
        broken = self._limits.exceeded(draw.params, architecture)
        if broken:
            self.n_infeasible += 1
            for name in broken:
                self._broken[name] = self._broken.get(name, 0) + 1
            return None
        new = Candidate(draw.params, draw.distributions, key, source, dict(system_attrs or {}))
        if key in self.seen:
            self.n_duplicates += 1
            self.repeat = self.repeat or new
            return None
        self._keys.add(key)
        self.candidates.append(new)
        return new

    def add_proposal(self, params: Mapping[str, Any], system_attrs: Mapping[str, Any]) -> None:
        """Add what the base sampler proposed; parameters that it left open are drawn."""
        choose = replay_chooser(params, random_chooser(self._rng))
        self.add(choose, "base", system_attrs)

    def add_random(self, n: int) -> None:
        """Add up to n random architectures; fewer when the space is nearly exhausted.

        Raises:
            InfeasibleError: Not one of many draws satisfies the limits.
        """
        added = tries = 0
        while added < n and tries < (_PATIENCE * n if self.candidates else _HOPELESS):
            tries += 1
            added += self.add(random_chooser(self._rng), "random") is not None
        if not self.candidates and self.repeat is None:
            worst = sorted(self._broken, key=lambda name: -self._broken[name])
            raise InfeasibleError(
                expected=f"an architecture with {self._limits.words(worst)}",
                got=f"none in {self.n_infeasible} draws; {worst[0]!r} was exceeded "
                f"{self._broken[worst[0]]} times",
                fix="raise that limit or make the space's architectures smaller",
            )

    def add_neighbours(self, parents: Sequence[Mapping[str, Any]], n: int) -> None:
        """Add up to n neighbours: one parameter of a parent changed, parents taken in turn."""
        if not parents:
            return
        added = tries = 0
        while added < n and tries < 3 * n:
            parent = parents[tries % len(parents)]
            tries += 1
            added += self.add(self._mutation(parent), "neighbour") is not None

    def _mutation(self, parent: Mapping[str, Any]) -> Chooser:
        """Replay a parent with one parameter moved; newly active ones are drawn at random."""
        names = [name for name in parent if name not in self._fixed]
        target = names[int(self._rng.integers(len(names)))] if names else ""
        replay = replay_chooser(parent, random_chooser(self._rng))

        def choose(name: str, distribution: BaseDistribution) -> Any:
            value = replay(name, distribution)
            return moved(distribution, value, self._rng) if name == target else value

        return choose


def moved(distribution: BaseDistribution, value: Any, rng: np.random.Generator) -> Any:
    """Return another value: another category, or a step along a number's range."""
    if distribution.single():
        return value
    if isinstance(distribution, CategoricalDistribution):
        others = [choice for choice in distribution.choices if choice != value]
        return others[int(rng.integers(len(others)))] if others else value
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    spread = _STEP
    other = value
    while other == value:
        unit = to_unit(distribution, value) + spread * float(rng.standard_normal())
        other = from_unit(distribution, min(max(unit, 0.0), 1.0))
        spread *= 2  # a coarse range rounds small moves away
    return other
