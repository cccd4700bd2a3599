from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
import pytest
from hypothesis import given, settings
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from surrogate_nas.errors import SpaceError
from surrogate_nas.space import SearchSpace, as_space
from surrogate_nas.spaces import CellSpace, ConvNetSpace
from surrogate_nas.surrogate.encoding import Encoding, distance
from tests.helpers.spaces import FLAT, ONE, Featured, flat
from tests.helpers.strategies import RandomSpace, spaces_with_params

FloatArray = npt.NDArray[np.float64]
SpaceAndParams = tuple[RandomSpace, list[dict[str, Any]]]


def assert_same_params(
    one: dict[str, Any], other: dict[str, Any], distributions: dict[str, BaseDistribution]
) -> None:
    """Equal, save for rounding where a real number went through its place in [0, 1]."""
    assert one.keys() == other.keys()
    for name, value in one.items():
        distribution = distributions[name]
        if isinstance(distribution, FloatDistribution) and distribution.step is None:
            width = 0.0 if distribution.log else 1e-12 * (distribution.high - distribution.low)
            assert other[name] == pytest.approx(value, rel=1e-12, abs=width + 1e-300)
        else:
            assert other[name] == value
            assert type(other[name]) is type(value)


@given(drawn=spaces_with_params())
@settings(max_examples=50, deadline=None)
def test_decode_undoes_encode(drawn: SpaceAndParams) -> None:
    space, params = drawn
    encoding = Encoding(as_space(space))
    for row, one in zip(encoding.encode(params), params, strict=True):
        assert_same_params(one, encoding.decode(row), encoding.distributions)


@pytest.mark.parametrize("space", [CellSpace(), ConvNetSpace(search_training=True), Featured()])
def test_decode_undoes_encode_in_ready_spaces(space: SearchSpace) -> None:
    encoding = Encoding(space)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(10):
        trial = study.ask()
        space.suggest(trial)
        (row,) = encoding.encode([trial.params])
        assert_same_params(trial.params, encoding.decode(row), encoding.distributions)


@given(drawn=spaces_with_params())
@settings(max_examples=50, deadline=None)
def test_rows_are_equal_where_parameters_are(drawn: SpaceAndParams) -> None:
    space, (one, other) = drawn
    encoding = Encoding(as_space(space))
    row, twin, another = encoding.encode([one, dict(reversed(one.items())), other])
    np.testing.assert_array_equal(row, twin)
    try:
        assert_same_params(one, other, encoding.distributions)
    except AssertionError:
        assert not np.array_equal(row, another, equal_nan=True)


@given(drawn=spaces_with_params(n=1))
@settings(max_examples=50, deadline=None)
def test_what_is_absent_and_nothing_else_is_nan(drawn: SpaceAndParams) -> None:
    space, params = drawn
    encoding = Encoding(as_space(space))
    (point,), (row,) = encoding.points(params), encoding.encode(params)
    present = np.array([name in params[0] for name in encoding.distributions])
    np.testing.assert_array_equal(np.isnan(point), ~present)
    width = [
        len(d.choices) if isinstance(d, CategoricalDistribution) else 1
        for d in encoding.distributions.values()
    ]
    own = np.repeat(present, width)
    np.testing.assert_array_equal(np.isnan(row[: len(own)]), ~own)
    assert np.isfinite(row[len(own) :]).all()
    assert np.all((row[: len(own)][own] >= 0) & (row[: len(own)][own] <= 1))


@given(drawn=spaces_with_params(n=3))
@settings(max_examples=50, deadline=None)
def test_counts_say_how_often_each_choice_was_made(drawn: SpaceAndParams) -> None:
    space, params = drawn
    encoding = Encoding(as_space(space))
    rows = encoding.encode(params)
    assert rows.shape == (3, len(encoding.columns))
    groups: dict[tuple[Any, ...], list[str]] = {}
    for name, d in encoding.distributions.items():
        if isinstance(d, CategoricalDistribution):
            groups.setdefault(d.choices, []).append(name)
    wanted = [
        [sum(name in one and one[name] == choice for name in names) for one in params]
        for choices, names in groups.items()
        if len(names) > 1
        for choice in choices
    ]
    n = sum(column.startswith("count(") for column in encoding.columns)
    assert n == len(wanted)
    if n:
        np.testing.assert_array_equal(rows[:, -n:].T, wanted)


def test_a_row_by_hand() -> None:
    encoding = flat()
    assert encoding.columns == (
        "op_1=conv", "op_1=pool", "op_1=None", "width", "op_2=conv", "op_2=pool", "op_2=None",
        "rate", "kind=a", "kind=b", "op_3=conv", "op_3=pool", "op_3=None", "fixed",
        "count(op_1..)=conv", "count(op_1..)=pool", "count(op_1..)=None",
    )  # fmt: skip
    third = 1 / 3
    wanted = [0, 1, 0, third, 0, 0, 1, 2 * third, 0, 1, 0, 1, 0, 0, 0, 2, 1]
    np.testing.assert_allclose(encoding.encode([ONE])[0], wanted)
    np.testing.assert_allclose(encoding.points([ONE])[0], [1, third, 2, 2 * third, 1, 1, 0])
    assert encoding.is_category.tolist() == [True, False, True, False, True, True, False]


def test_features_of_the_space_come_last() -> None:
    encoding = Encoding(Featured())
    assert encoding.columns[-2:] == ("feature:sum", "feature:depth")
    params = [{"first": 3, "deep": False}, {"first": 3, "deep": True, "second": 4}]
    np.testing.assert_array_equal(encoding.encode(params)[:, -2:], [[3, 1], [7, 2]])
    np.testing.assert_array_equal(encoding.feature_rows(params), [[3, 1], [7, 2]])


def test_features_of_partly_known_architectures_are_unknown_if_that_may_be() -> None:
    encoding = Encoding(Featured())
    params = [{"first": 3, "deep": False}, {"first": 3}]
    with pytest.raises(SpaceError, match="'deep'"):
        encoding.encode(params)
    rows = encoding.encode(params, partly_known=True)
    np.testing.assert_array_equal(rows[:, -2:], [[3, 1], [math.nan, math.nan]])


def test_no_parameter_sets_make_no_rows() -> None:
    encoding = Encoding(Featured())
    assert encoding.encode([]).shape == (0, len(encoding.columns))
    assert encoding.points([]).shape == (0, 3)


def test_a_space_without_parameters_is_refused() -> None:
    with pytest.raises(SpaceError, match="at least one parameter"):
        Encoding(as_space(lambda trial: None))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("op_1", "attention"),
        ("op_1", 7),
        ("width", 64),
        ("width", 0),
        ("width", "wide"),
        ("width", None),
        ("width", math.nan),
        ("rate", 0.0),
        ("rate", -1.0),
        ("rate", 10.0),
        ("rate", math.inf),
        ("rate", "fast"),
    ],
)
def test_a_value_that_this_space_does_not_have_counts_as_absent(name: str, value: Any) -> None:
    encoding = flat()
    absent = {other: v for other, v in ONE.items() if other != name}
    strange = {**ONE, name: value}
    np.testing.assert_array_equal(encoding.points([strange]), encoding.points([absent]))
    np.testing.assert_array_equal(encoding.encode([strange]), encoding.encode([absent]))
    (row,) = encoding.encode([strange])
    assert encoding.decode(row) == pytest.approx(absent)


def test_a_parameter_that_this_space_does_not_have_is_left_out() -> None:
    encoding = flat()
    more = {**ONE, "dropout": 0.5}
    np.testing.assert_array_equal(encoding.encode([more]), encoding.encode([ONE]))


def test_a_value_between_two_steps_keeps_its_place() -> None:
    (point,) = flat().points([{**ONE, "width": 20}])
    assert point[1] == pytest.approx(0.5)


def test_rounding_beyond_the_end_of_a_range_is_the_end() -> None:
    space: dict[str, BaseDistribution] = {"drop": FloatDistribution(0.0, 0.3, step=0.1)}
    assert 3 * 0.1 > 0.3
    assert Encoding(as_space(space)).points([{"drop": 3 * 0.1}]).tolist() == [[1.0]]


def test_does_not_change_the_parameters() -> None:
    one = dict(ONE)
    flat().encode([one])
    assert one == ONE


def test_known_parameters_fix_the_order_of_columns() -> None:
    known = dict(reversed(FLAT.items()))
    encoding = Encoding(as_space(FLAT), known=known)
    assert list(encoding.distributions) == list(known)
    assert encoding.fingerprint == flat().fingerprint
    (row,) = encoding.encode([ONE])
    assert encoding.decode(row) == pytest.approx(ONE)


@pytest.mark.parametrize(
    "change",
    [
        {"width": IntDistribution(8, 40, step=8)},
        {"width": IntDistribution(8, 32, step=4)},
        {"rate": FloatDistribution(1e-3, 1.0)},
        {"kind": CategoricalDistribution(("b", "a"))},
        {"more": IntDistribution(0, 1)},
    ],
)
def test_fingerprint_tells_spaces_apart(change: dict[str, BaseDistribution]) -> None:
    assert Encoding(as_space({**FLAT, **change})).fingerprint != flat().fingerprint


def test_columns_and_fingerprint_are_the_same_in_another_process() -> None:
    code = (
        "import json\n"
        "from surrogate_nas.surrogate.encoding import Encoding\n"
        "from surrogate_nas.spaces import CellSpace\n"
        "e = Encoding(CellSpace())\n"
        "print(json.dumps([e.fingerprint, e.columns]))\n"
    )
    here = Encoding(CellSpace())
    # Strings hash otherwise there, so that a set's order would show.
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "4321"},
    )
    assert json.loads(done.stdout) == [here.fingerprint, list(here.columns)]


@given(drawn=spaces_with_params(n=4))
@settings(max_examples=50, deadline=None)
def test_distance_is_a_metric(drawn: SpaceAndParams) -> None:
    space, params = drawn
    encoding = Encoding(as_space(space))
    points = encoding.points([*params, params[0]])
    apart = distance(points, points, encoding.is_category)
    assert np.all((apart >= 0) & (apart <= 1))
    np.testing.assert_array_equal(apart, apart.T)
    is_same = [[np.array_equal(a, b, equal_nan=True) for b in points] for a in points]
    np.testing.assert_array_equal(apart == 0, is_same)
    detour = (apart[:, :, None] + apart[None]).min(axis=1)
    assert np.all(apart <= detour + 1e-12)


def test_distances_by_hand() -> None:
    is_category = np.array([True, False])
    a = np.array([[0.0, 0.25], [np.nan, np.nan]])
    b = np.array([[0.0, 0.75], [2.0, 0.25], [np.nan, 0.25], [np.nan, np.nan]])
    wanted = [[0.25, 0.5, 0.5, 1.0], [1.0, 1.0, 0.5, 0.0]]
    np.testing.assert_allclose(distance(a, b, is_category), wanted)


@pytest.mark.parametrize(("n", "m"), [(0, 3), (3, 0), (0, 0)])
def test_distances_of_nothing(n: int, m: int) -> None:
    is_category = np.array([True, False])
    assert distance(np.zeros((n, 2)), np.zeros((m, 2)), is_category).shape == (n, m)
