"""Keys of values, and choices that a storage gives back in another type."""

from __future__ import annotations

import enum
import json
import math
from typing import Any

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution

from surrogate_nas.space.draw import (
    contains,
    from_unit,
    moved,
    random_chooser,
    replay_chooser,
    to_unit,
    uniform,
)
from surrogate_nas.space.values import params_key, place_of, storable, value_key

unusual = pytest.mark.filterwarnings("ignore:Choices for a categorical distribution")


class Op(enum.StrEnum):
    CONV = "conv"
    POOL = "pool"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (True, 1),
        (1, 1.0),
        (None, "None"),
        ((1, 2), [1, 2]),
        ((True,), (1,)),
        ({"k": 1}, {"k": True}),
        ({"k": 1}, {"k": 2}),
    ],
)
def test_values_of_other_types_have_other_keys(one: Any, other: Any) -> None:
    assert value_key(one) != value_key(other)
    assert params_key({"x": one}) != params_key({"x": other})


@pytest.mark.parametrize("value", [[1, [2]], {"a": 1, "b": [2]}, math.nan, {3, 4}, np.ones(2)])
def test_any_value_has_a_key_that_equal_values_share(value: Any) -> None:
    copied = value.copy() if hasattr(value, "copy") else float("nan")

    assert hash(value_key(value)) == hash(value_key(copied))
    assert value_key(value) == value_key(copied)


@unusual
@pytest.mark.parametrize(
    "choices",
    [
        ((16,), (16, 32)),
        ([16], [16, 32]),
        ({"k": 3}, {"k": 5}),
        (Op.CONV, Op.POOL),
        (((1, 2), 3), ((1, 2), 4)),
        (True, 1, 1.0),
        (None, math.nan, "nan"),
    ],
)
def test_a_choice_is_found_again_after_a_storage_has_kept_it(choices: tuple[Any, ...]) -> None:
    distribution = CategoricalDistribution(choices)
    for index, choice in enumerate(choices):
        stored = json.loads(json.dumps(choice))

        assert place_of(distribution, choice) == index
        assert place_of(distribution, stored) == index
        assert contains(distribution, stored)
        assert to_unit(distribution, stored) == index
        replayed = replay_chooser({"x": stored}, lambda *_: "other")("x", distribution)
        assert replayed is choice or math.isnan(replayed)


@unusual
def test_what_is_no_choice_is_not_found() -> None:
    choices: Any = ([16], [16, 32])
    distribution = CategoricalDistribution(choices)

    assert place_of(distribution, [32]) is None
    assert place_of(distribution, "[16]") is None


def test_a_move_leaves_a_choice_that_equals_another_one() -> None:
    distribution = CategoricalDistribution((True, 1))
    other = moved(distribution, True, np.random.default_rng(0))

    assert other == 1
    assert type(other) is int


WIDE = [
    IntDistribution(0, 2**70),
    IntDistribution(-(2**63), 2**63 - 1),
    IntDistribution(2**62, 2**63 - 2, step=2),
    IntDistribution(1, 2**80, log=True),
]


@pytest.mark.parametrize("distribution", WIDE, ids=str)
def test_whole_numbers_beyond_64_bits_are_drawn_as_a_storage_keeps_them(
    distribution: IntDistribution,
) -> None:
    rng = np.random.default_rng(0)
    drawn = [uniform(distribution, rng) for _ in range(200)]
    middle = math.sqrt(2.0**80) if distribution.log else (distribution.low + distribution.high) / 2

    assert all(type(value) is int and int(float(value)) == value for value in drawn)
    assert all(distribution.low <= value <= distribution.high for value in drawn)
    assert 70 < sum(value > middle for value in drawn) < 130
    ends = [from_unit(distribution, unit) for unit in (0.0, 1.0)]
    assert all(contains(distribution, end) for end in ends)
    assert moved(distribution, drawn[0], rng) != drawn[0]
    assert random_chooser(rng)("x", distribution) in range(distribution.low, distribution.high + 1)


def test_small_whole_numbers_stay_as_they_are() -> None:
    assert storable(IntDistribution(1, 9), 7) == 7
    assert storable(IntDistribution(1, 9), 12) == 9
