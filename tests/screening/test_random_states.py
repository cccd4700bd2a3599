from __future__ import annotations

import json
from typing import Any

import numpy as np
import optuna
import pytest

from surrogate_nas.screening.random_states import packed, random_states, unpack


class Own:
    """A user's sampler, which holds a generator and a state."""

    def __init__(self, bits: Any = np.random.PCG64) -> None:
        self.generator = np.random.Generator(bits(1))
        self.state = np.random.RandomState(2)  # as older samplers have it

    def draw(self) -> list[float]:
        return [self.generator.random(), self.state.random_sample(), self.state.randn()]


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox])
def test_states_go_on_where_they_were(bits: Any) -> None:
    """Also after a normal number, of which RandomState draws two at a time."""
    owner = Own(bits)
    owner.draw()
    states = json.loads(json.dumps(packed(owner)))
    expected = owner.draw()
    other = Own(bits)
    assert unpack(states, other)
    assert other.draw() == expected


def test_all_parts_of_optuna_s_samplers_are_found() -> None:
    """TPE has one state of its own, and its sampler of the first trials another."""
    assert len(list(random_states(optuna.samplers.TPESampler(seed=0)))) == 2


@pytest.mark.parametrize(
    "spoil",
    [
        lambda states: None,
        lambda states: states[:1],
        lambda states: [*states, states[0]],
        lambda states: [states[1], states[0]],
        lambda states: [states[0], ["MT19937", "no base64", 1, 0, 0.0]],
        lambda states: [states[0], states[1][:2]],
        lambda states: [["generator", {"bit_generator": "another"}], states[1]],
    ],
)
def test_states_of_another_sampler_change_nothing(spoil: Any) -> None:
    """They come from a storage, and so from anybody."""
    owner, untouched = Own(), Own()
    assert not unpack(spoil(packed(owner)), owner)
    assert owner.draw() == untouched.draw()


def spoilt(states: list[Any], *path: Any, value: Any) -> list[Any]:
    """The states with another value somewhere."""
    changed: list[Any] = json.loads(json.dumps(states))
    holder: Any = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return changed


@pytest.mark.parametrize("value", [-1, 625, 10**6, 2**31, 10**30, True, 1.5, "3", None])
@pytest.mark.parametrize(
    ("bits", "path"),
    [
        (np.random.PCG64, (1, 2)),
        (np.random.MT19937, (0, 1, "state", "pos")),
        (np.random.Philox, (0, 1, "buffer_pos")),
        (np.random.PCG64, (0, 1, "has_uint32")),
    ],
)
def test_a_place_beyond_the_words_is_refused(bits: Any, path: tuple[Any, ...], value: Any) -> None:
    """NumPy would read foreign memory there."""
    owner, untouched = Own(bits), Own(bits)
    assert not unpack(spoilt(packed(owner), *path, value=value), owner)
    assert owner.draw() == untouched.draw()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((1, 4), float("nan")),
        ((1, 4), "x"),
        ((1, 3), {}),
        ((0, 1, "state", "state"), -1),
        ((0, 1, "state", "state"), 2**128),
        ((0, 1, "state"), [1, 2]),
        ((0, 1, "state"), {"state": 1}),
        ((0, 1), {}),
        ((0, 1, "bit_generator"), "MT19937"),
    ],
)
def test_a_state_that_is_none_is_refused(path: tuple[Any, ...], value: Any) -> None:
    owner, untouched = Own(), Own()
    assert not unpack(spoilt(packed(owner), *path, value=value), owner)
    assert owner.draw() == untouched.draw()
