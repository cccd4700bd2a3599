"""The random states that a sampler keeps in memory: found, written as JSON, and set again."""

from __future__ import annotations

import base64
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
    except (TypeError, ValueError, KeyError, IndexError):
        for target, state in zip(targets, before, strict=True):
            _set(target, state)
        return False
    return True


def _set(target: State, state: list[Any]) -> None:
    if isinstance(target, np.random.Generator):
        target.bit_generator.state = state[1]
        return
    kind, text, position, has_gauss, gauss = state
    words = np.frombuffer(base64.b64decode(text, validate=True), dtype="<u4")
    target.set_state((kind, words, position, has_gauss, gauss))
