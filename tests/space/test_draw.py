from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from surrogate_nas.space.draw import (
    Draw,
    contains,
    from_unit,
    random_chooser,
    random_params,
    replay_chooser,
    to_unit,
    uniform,
)


@st.composite
def floats(draw: st.DrawFn) -> FloatDistribution:
    kind = draw(st.sampled_from(("plain", "log", "step")))
    if kind == "step":
        low, step = draw(st.integers(-5, 5)), draw(st.sampled_from((0.1, 0.25, 3.0)))
        high = round(low + draw(st.integers(0, 9)) * step, 6)  # Optuna warns of 0.1 + 0.2
        return FloatDistribution(low, high, step=step)
    low_ = draw(st.floats(1e-6 if kind == "log" else -1e3, 1e3))
    return FloatDistribution(low_, low_ + draw(st.floats(0, 1e3)), log=kind == "log")


@st.composite
def ints(draw: st.DrawFn) -> IntDistribution:
    log = draw(st.booleans())
    low = draw(st.integers(1 if log else -50, 50))
    step = 1 if log else draw(st.integers(1, 7))
    return IntDistribution(low, low + draw(st.integers(0, 200)) // step * step, log=log, step=step)


NUMERIC = st.one_of(floats(), ints())
CATEGORIES = st.lists(
    st.one_of(st.none(), st.text(max_size=3), st.integers(5, 9)), min_size=1, unique=True
).map(CategoricalDistribution)


@settings(max_examples=80, deadline=None)
@given(distribution=st.one_of(NUMERIC, CATEGORIES), seed=st.integers(0, 2**32 - 1))
def test_uniform_draws_are_allowed(distribution: BaseDistribution, seed: int) -> None:
    value = uniform(distribution, np.random.default_rng(seed))
    assert contains(distribution, value)
    assert value == uniform(distribution, np.random.default_rng(seed))
    if isinstance(distribution, IntDistribution):
        assert isinstance(value, int)


@settings(max_examples=80, deadline=None)
@given(distribution=NUMERIC, seed=st.integers(0, 2**32 - 1))
def test_unit_is_the_inverse_of_the_place(
    distribution: FloatDistribution | IntDistribution, seed: int
) -> None:
    value = uniform(distribution, np.random.default_rng(seed))
    place = to_unit(distribution, value)
    assert -1e-12 <= place <= 1 + 1e-12
    assert from_unit(distribution, place) == pytest.approx(value, rel=1e-9, abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(distribution=NUMERIC, place=st.floats(0, 1))
def test_every_place_is_an_allowed_value(
    distribution: FloatDistribution | IntDistribution, place: float
) -> None:
    assert contains(distribution, from_unit(distribution, place))


@pytest.mark.parametrize(
    "distribution",
    [
        IntDistribution(1, 5),
        IntDistribution(0, 8, step=2),
        FloatDistribution(0.0, 1.0, step=0.25),
        CategoricalDistribution(("a", "b", "c", "d", "e")),
    ],
)
def test_few_values_are_drawn_equally_often(distribution: BaseDistribution) -> None:
    rng = np.random.default_rng(0)
    drawn = [uniform(distribution, rng) for _ in range(5000)]
    counts = [drawn.count(value) for value in set(drawn)]
    assert len(counts) == 5
    assert max(abs(count - 1000) for count in counts) < 120


def test_logarithmic_whole_numbers_have_whole_ends() -> None:
    rng = np.random.default_rng(0)
    drawn = np.array([uniform(IntDistribution(1, 3, log=True), rng) for _ in range(5000)])
    share = [float(np.mean(drawn == value)) for value in (1, 2, 3)]
    expected = np.diff(np.log([0.5, 1.5, 2.5, 3.5])) / np.log(7)
    assert share == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(
    ("distribution", "value", "place"),
    [
        (FloatDistribution(1e-4, 1.0, log=True), 1e-2, 0.5),
        (FloatDistribution(-1.0, 3.0), 0.0, 0.25),
        (IntDistribution(2, 2), 2, 0.0),
        (CategoricalDistribution(("a", "b", "c")), "c", 2.0),
    ],
)
def test_places_by_hand(distribution: BaseDistribution, value: Any, place: float) -> None:
    assert to_unit(distribution, value) == pytest.approx(place)


@pytest.mark.parametrize(
    ("distribution", "value", "expected"),
    [
        (IntDistribution(1, 9, step=2), 3, True),
        (IntDistribution(1, 9, step=2), np.int64(3), True),
        (IntDistribution(1, 9, step=2), 4, False),
        (IntDistribution(1, 9, step=2), 11, False),
        (IntDistribution(0, 1), True, False),
        (IntDistribution(0, 1), "1", False),
        (FloatDistribution(0, 1), math.nan, False),
        (FloatDistribution(0, 1), 1, True),
        (FloatDistribution(0, 1, step=0.1), 0.1 + 0.2, True),
        (FloatDistribution(0, 1, step=0.1), 0.35, False),
        (CategoricalDistribution(("a", None)), None, True),
        (CategoricalDistribution(("a", None)), "b", False),
        (CategoricalDistribution((math.nan, 1.0)), float("nan"), True),
    ],
)
def test_contains(distribution: BaseDistribution, value: Any, expected: bool) -> None:
    assert contains(distribution, value) is expected


def test_a_draw_answers_all_that_a_trial_can_be_asked() -> None:
    draw = Draw(lambda _name, d: d.choices[1] if isinstance(d, CategoricalDistribution) else 1)
    assert draw.suggest_float("f", 0, 2) == 1.0
    assert draw.suggest_int("i", 0, 2) == 1
    assert draw.suggest_categorical("c", ("a", "b")) == "b"
    assert draw.suggest_uniform("u", 0, 2) == 1.0
    assert draw.suggest_loguniform("l", 0.5, 2) == 1.0
    assert draw.suggest_discrete_uniform("d", 0, 2, 0.5) == 1.0
    draw.report(0.5, step=1)
    draw.set_user_attr("a", 1)
    draw.set_constraint("c", 1.0)
    assert draw.should_prune() is False
    assert draw.params == {"f": 1, "i": 1, "c": "b", "u": 1, "l": 1, "d": 1}
    assert draw.distributions["l"] == FloatDistribution(0.5, 2, log=True)
    assert draw.distributions["d"] == FloatDistribution(0, 2, step=0.5)
    assert (draw.user_attrs, draw.constraints, draw.number) == ({}, {}, 0)
    assert draw.datetime_start is None


def test_a_draw_chooses_a_parameter_once() -> None:
    draw = Draw(random_chooser(np.random.default_rng(0)))
    first = draw.suggest_float("x", 0, 1)
    assert draw.suggest_float("x", 0, 1) == first


def test_what_a_draw_recorded_cannot_be_changed_from_outside() -> None:
    draw = Draw(random_chooser(np.random.default_rng(0)))
    draw.suggest_int("x", 0, 1)
    draw.params.clear()
    draw.distributions.clear()
    assert list(draw.params) == list(draw.distributions) == ["x"]


def test_random_params_are_complete_and_follow_from_the_generator() -> None:
    def suggest(draw: Draw) -> None:
        if draw.suggest_int("n", 1, 3) > 1:
            draw.suggest_float("rate", 0, 1)

    one, same, other = (random_params(suggest, 50, np.random.default_rng(k)) for k in (0, 0, 1))
    assert one == same != other
    assert len(one) == 50
    assert {params["n"] for params in one} == {1, 2, 3}
    assert all(("rate" in params) is (params["n"] > 1) for params in one)


def test_replay_keeps_what_is_allowed_and_asks_for_the_rest() -> None:
    asked: list[str] = []

    def otherwise(name: str, distribution: BaseDistribution) -> Any:
        asked.append(name)
        return 0

    draw = Draw(replay_chooser({"kept": 2, "too_large": 9}, otherwise))
    values = [draw.suggest_int(name, 0, 3) for name in ("kept", "too_large", "missing")]
    assert values == [2, 0, 0]
    assert asked == ["too_large", "missing"]
