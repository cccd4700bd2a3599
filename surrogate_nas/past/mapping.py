"""Fits past tasks to a search space that has changed since: an operation more, a parameter less.

Parameters and values that both have are kept, and ones of the past task alone are dropped.
Parameters of the space alone are filled in or left unknown. Unknown is NaN in the surrogate's
columns, and no guess. Each step is a note of the past task, in plain words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution

from surrogate_nas.errors import PastTaskError, SpaceError
from surrogate_nas.past.past_task import PastTask, as_past
from surrogate_nas.past.tables.cells import NO_VALUE, checked_fill, own_value
from surrogate_nas.space import (
    Distributions,
    SearchSpace,
    SpaceLike,
    as_space,
    distributions,
    params_key,
)
from surrogate_nas.space.draw import accepted, attempt, random_chooser
from surrogate_nas.space.values import value_key

Params = Mapping[str, Any]

_MARK = "To fit the search space, "
"""Beginning of the notes that a mapping makes."""
_LEAST_KNOWN = 0.5
"""Least share of an architecture's parameters that must be known, on average."""
_PROBES = 64
_NAMED = 5


def map_to_space(
    task: PastTask, space: SpaceLike, *, fill: Mapping[str, Any] | None = None
) -> PastTask:
    """Return a past task in the parameters of a search space that may have changed since.

    A task whose every pair is an architecture of the space is returned unchanged. In any other,
    parameters and values that the space does not have are dropped. Parameters that the task does
    not have are filled in or left unknown. Pairs that become equal are averaged. The notes of the
    returned task say so.

    Args:
        task: The past task.
        space: The search space of today.
        fill: Values of parameters that the past task does not have, where they are known:
            ``{"dropout": 0.0}`` if there was none.

    Raises:
        PastTaskError: Less than half of an architecture is known, fewer than two different
            values remain, or the space does not have a filled-in value.
        SpaceError: The space has no parameters.
    """
    (checked,) = as_past([task])
    return SpaceMapping(as_space(space)).apply(checked, fill or {})


@final
class SpaceMapping:
    """Fits any number of past tasks to one search space.

    Args:
        space: The search space.
        known: Its parameters, where they have been found already.

    Raises:
        SpaceError: The space has no parameters.
    """

    def __init__(self, space: SearchSpace, *, known: Distributions | None = None) -> None:
        self._space = space
        self._found = distributions(space) if known is None else known
        self._always = _always_active(space)
        self._allowed: dict[tuple[str, Hashable], Any] = {}

    def apply(self, task: PastTask, fill: Mapping[str, Any] | None = None) -> PastTask:
        """Fit one past task; see :func:`map_to_space`.

        Raises:
            PastTaskError: See :func:`map_to_space`.
        """
        # NOTE: nearly all past tasks are exact, and the check is much faster than the mapping.
        if self._are_exact(task.params):
            return task
        filled = checked_fill(self._found, fill or {})
        mapped = [self._map(params, filled) for params in task.params]
        kept = [i for i, params in enumerate(mapped) if params]
        self._check_common(task, [mapped[i] for i in kept])
        merged = _merged(kept, mapped, task.features)
        result = replace(
            task,
            params=[mapped[rows[0]] for rows in merged],
            values=[float(np.mean([float(task.values[i]) for i in rows])) for rows in merged],
            features=task.features and [task.features[rows[0]] for rows in merged],
        )
        if not result.informative():
            raise PastTaskError(
                expected="at least two different values of architectures of this search space",
                got=f"{len(result)} equal value(s) left of {len(task)} in past task {task.name!r}",
                fix="leave that past task out, or give it the parameters of this search space",
            )
        # A task that was mapped before needs no second set of notes.
        if any(note.startswith(_MARK) for note in task.notes) and mapped == list(task.params):
            return task
        notes = [
            *self._notes(task.params, mapped, filled),
            *_count_notes(len(task), len(kept), len(merged)),
        ]
        return replace(result, notes=(*task.notes, *(f"{_MARK}{note}." for note in notes)))

    def _are_exact(self, params: Sequence[Params]) -> bool:
        """Whether all are architectures of the space, with nothing beyond."""
        # NOTE: column by column where no parameter is conditional: a column has few values, and
        # each is looked up once.
        if len(self._always) < len(self._found):
            return all(self._is_exact(one) for one in params)
        names = self._found.keys()
        return all(one.keys() == names for one in params) and all(
            self._has_all(name, [one[name] for one in params]) for name in names
        )

    def _has_all(self, name: str, values: Sequence[Any]) -> bool:
        """Whether the space has all these values of a parameter."""
        found = self._found[name]
        types = set(map(type, values))
        # The usual column is a range of floats, and two comparisons a value decide it.
        if isinstance(found, FloatDistribution) and found.step is None and types == {float}:
            return all(found.low <= value <= found.high for value in values)
        # The type counts, too, or 1 and True would be one value.
        distinct = {value_key(value): value for value in values}
        return all(self._has(name, value) for value in distinct.values())

    def _has(self, name: str, value: Any) -> bool:
        """Whether a value needs no change: "3" means 3 to the space, but has to be changed."""
        own = self._value(name, value)
        if type(value) is not type(own) and not isinstance(value, int | float | np.generic):
            return False
        # NaN is unequal to itself.
        return own is value or bool(own == value or own != own)

    def _is_exact(self, params: Params) -> bool:
        """Whether parameters are an architecture of the space, with nothing beyond."""
        if not all(n in self._found and self._has(n, v) for n, v in params.items()):
            return False
        if len(self._always) == len(self._found):
            return len(params) == len(self._found)
        asked = self._replay(params)
        return asked is not None and len(asked) == len(params)

    def _map(self, params: Params, fill: Params) -> dict[str, Any]:
        """Return the parameters that the space has, in its own types, without unknown ones.

        The dict is empty where nothing is known.
        """
        own = {n: self._value(n, v) for n, v in params.items() if n in self._found}
        known = {n: v for n, v in own.items() if v is not NO_VALUE}
        if not known:
            return {}
        known.update({n: v for n, v in fill.items() if n not in params})
        # NOTE: a parameter whose condition does not hold is dropped. Where the conditions cannot
        # be followed, because a parameter is unknown, all known ones stay.
        asked = self._replay(known)
        return known if asked is None else asked

    def _replay(self, params: Params) -> dict[str, Any] | None:
        """Return the parameters that the space asks for, or None where it needs an unknown one."""

        def choose(name: str, _distribution: BaseDistribution) -> Any:
            """Return the known value of a parameter."""
            if name in params:
                return params[name]
            if name in self._space.described_params:
                # Whatever it was, the other choices have the same conditions.
                return self._found[name].choices[0]  # type: ignore[attr-defined]
            raise SpaceError(expected=f"a value of {name!r}", got="none", fix="give one")

        try:
            draw, architecture = attempt(self._space.suggest, choose)
        except SpaceError:
            return None
        if architecture is None:
            return None
        unknown = set(self._space.described_params).difference(params)
        return {name: value for name, value in draw.params.items() if name not in unknown}

    def _value(self, name: str, value: Any) -> Any:
        """Return a value in the parameter's own type, or NO_VALUE where the space lacks it."""
        at = (name, value_key(value))
        if at not in self._allowed:
            self._allowed[at] = own_value(self._found[name], value)
        return self._allowed[at]

    def _check_common(self, task: PastTask, mapped: Sequence[Params]) -> None:
        """Refuse a task where less than half of an architecture is known, on average."""
        needed = (self._always or frozenset(self._found)).difference(self._space.described_params)
        known = [len(needed & params.keys()) / len(needed) for params in mapped]
        if known and float(np.mean(known)) >= _LEAST_KNOWN:
            return
        never = sorted(needed.difference(*(params.keys() for params in task.params)))
        theirs = sorted({name for params in task.params for name in params})
        raise PastTaskError(
            expected="at least half of the parameters of this search space, such as "
            f"{_listed(map(repr, sorted(needed)))}",
            got=f"{100 * float(np.mean(known or [0.0])):.0f}% of them in past task {task.name!r}, "
            f"whose parameters are {_listed(map(repr, theirs))}",
            fix=f"leave that past task out, or rename its parameters to this space's"
            f"{f' ({_listed(map(repr, never))} are missing)' if never else ''}",
        )

    def _notes(
        self, before: Sequence[Params], after: Sequence[Params], fill: Params
    ) -> Iterable[str]:
        """Yield what was dropped, left unknown, filled in and converted, in plain words.

        Args:
            before: Parameters of each pair of the past task.
            after: The same in the search space, in the same order.
            fill: Values that were filled in.
        """
        gone = Counter(n for params in before for n in params if n not in self._found)
        strange: Counter[str] = Counter()
        missing: Counter[str] = Counter()
        filled: Counter[str] = Counter()
        for params, own in zip(before, after, strict=True):
            for name, value in params.items():
                # Of choices that features describe, none is strange.
                is_own = name in self._found and name not in self._space.described_params
                if is_own and self._value(name, value) is NO_VALUE:
                    strange[f"{name} = {value!r:.40}"] += 1
            missing.update(self._always.difference(params, own, self._space.described_params))
            filled.update(own.keys() - params.keys())
        seen = {name for params in before for name in params} | fill.keys()
        conditional = sorted(self._found.keys() - self._always - seen)
        if gone:
            yield f"dropped parameters that it has not: {_listed(gone)}"
        if strange:
            yield f"left unknown values that it has not: {_counted(strange)}"
        if filled:
            given = Counter({f"{name} = {fill[name]!r}": n for name, n in filled.items()})
            yield f"filled in {_counted(given)}"
        if missing or conditional:
            listed = [_counted(missing)] if missing else []
            yield f"left unknown what the past has not: {', '.join([*listed, *conditional])}"
        rest = sum(_converted(params, own) for params, own in zip(before, after, strict=True))
        if rest:
            yield f"turned values into its own types in {_pairs(rest)}"


def _always_active(space: SearchSpace) -> frozenset[str]:
    """Return the parameters that every architecture has, found by seeded random draws."""
    rng = np.random.default_rng(0)
    always: frozenset[str] | None = None
    for _ in range(_PROBES):
        draw, _ = accepted(space.suggest, random_chooser(rng))
        names = frozenset(draw.distributions)
        # What any draw lacks is conditional.
        always = names if always is None else always & names
    return always or frozenset()


def _merged(
    rows: Iterable[int], params: Sequence[Params], features: Sequence[Params] | None
) -> list[list[int]]:
    """Return the rows of each distinct architecture, in order.

    Args:
        rows: Numbers of the rows that count.
        params: Parameters of each row.
        features: Recorded features of each row, which tell architectures apart as well.
    """
    groups: dict[Hashable, list[int]] = {}
    for i in rows:
        said = None if features is None else params_key(features[i])
        groups.setdefault((params_key(params[i]), said), []).append(i)
    return list(groups.values())


def _converted(before: Params, after: Params) -> bool:
    """Whether any value has another type now."""
    return any(n in before and type(before[n]) is not type(v) for n, v in after.items())


def _count_notes(n: int, kept: int, merged: int) -> Iterable[str]:
    """Yield how many of n pairs were dropped, and how many were averaged."""
    if kept < n:
        yield f"dropped {_pairs(n - kept)} of which nothing is known"
    if merged < kept:
        yield f"averaged {_pairs(kept)} to {merged} different ones"


def _pairs(n: int) -> str:
    """Return a number of pairs in words."""
    return f"{n} pair{'' if n == 1 else 's'}"


def _counted(counts: Counter[str]) -> str:
    """Return the first few names with the number of pairs of each."""
    return _listed(f"{name} ({_pairs(n)})" for name, n in sorted(counts.items()))


def _listed(names: Iterable[str]) -> str:
    """Return the first few names as a list in words."""
    found = list(names)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return ", ".join(found[:_NAMED]) + more
