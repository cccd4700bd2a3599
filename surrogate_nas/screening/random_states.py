"""The random states that a sampler keeps in memory: found, written as JSON, and set again."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

State: TypeAlias = np.random.RandomState | np.random.Generator
Packed: TypeAlias = list[list[Any]]
"""Random states as JSON: of each its kind, its words in base64 and its numbers."""


def random_states(owner: object, visited: set[int] | None = None) -> Iterator[State]:
    """Yield each numpy random state that an Optuna object holds, in a fixed order.

    Args:
        owner: A sampler or a part of one.
        visited: Identities of the objects that have been searched; None at the beginning.
    """
    visited = set() if visited is None else visited
    visited.add(id(owner))
    getattr(owner, "rng", None)  # NOTE: Optuna's lazy states are made at their first use
    for value in list(vars(owner).values()):
        if isinstance(value, np.random.RandomState | np.random.Generator):
            yield value
        elif _is_part(value) and id(value) not in visited:
            yield from random_states(value, visited)


def _is_part(value: object) -> bool:
    """Return whether an attribute is an object of Optuna's that may hold a random state."""
    return type(value).__module__.startswith("optuna") and "__dict__" in dir(value)


def packed(owner: object) -> Packed:
    """Return a sampler's random states as JSON."""
    return [_packed(state) for state in random_states(owner)]


def _packed(state: State) -> list[Any]:
    if isinstance(state, np.random.Generator):
        return ["generator", _plain(state.bit_generator.state)]
    kind, words, position, has_gauss, gauss = state.get_state(legacy=True)
    text = base64.b64encode(np.asarray(words, dtype="<u4").tobytes()).decode()
    return [str(kind), text, int(position), int(has_gauss), float(gauss)]


def _plain(state: Any) -> Any:
    """Return a bit generator's state with arrays as lists."""
    if isinstance(state, Mapping):
        return {key: _plain(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, np.ndarray | np.generic) else state


def unpack(states: Any, owner: object) -> bool:
    """Set a sampler's random states.

    Args:
        states: What :func:`packed` returned, possibly of another sampler, or damaged since.
        owner: The sampler.

    Returns:
        Whether the states fit. If they do not, the sampler keeps its own.
    """
    targets = list(random_states(owner))
    before = [_packed(target) for target in targets]
    if not isinstance(states, list) or len(states) != len(targets):
        return False
    try:
        for target, state in zip(targets, states, strict=True):
            _set(target, state)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError):
        for target, state in zip(targets, before, strict=True):
            _set(target, state)
        return False
    return True


_PLACES = {"pos": 624, "buffer_pos": 4, "has_uint32": 1}
"""Largest place in the words of a state. NumPy reads at any place that it is given."""
_MOST_WORD = 2**128 - 1


def _require_place(name: str, value: Any) -> None:
    """Refuse a place beyond a state's words, from which NumPy would read foreign memory."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not 0 <= value <= _PLACES.get(name, _MOST_WORD):
        raise ValueError(f"{name} is no place or word of a state")


def _require_like(given: Any, own: Any, name: str = "") -> None:
    """Refuse a bit generator's state of another form than its own, or with impossible numbers."""
    if isinstance(own, Mapping):
        if not isinstance(given, Mapping) or given.keys() != own.keys():
            raise ValueError("a state of another form")
        for key, value in own.items():
            _require_like(given[key], value, key)
    elif isinstance(own, list):
        if not isinstance(given, list) or len(given) != len(own):
            raise ValueError("a state of another length")
        for one in given:
            _require_place("", one)
    elif isinstance(own, int):
        _require_place(name, given)
    elif given != own:
        raise ValueError("a state of another kind")


def _set(target: State, state: list[Any]) -> None:
    if isinstance(target, np.random.Generator):
        _require_like(state[1], _plain(target.bit_generator.state))
        target.bit_generator.state = state[1]
        return
    kind, text, position, has_gauss, gauss = state
    _require_place("pos", position)
    if not math.isfinite(gauss):
        raise ValueError("a number that is not finite is waiting")
    words = np.frombuffer(base64.b64decode(text, validate=True), dtype="<u4")
    target.set_state((kind, words, position, has_gauss, gauss))
