from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from surrogate_nas.past.tables.cells import (
    NO_VALUE,
    as_number,
    cell_value,
    has_decimal_comma,
    inferred,
    is_empty,
    own_value,
    same_text,
)

CHOICES = CategoricalDistribution((True, False, 3, 0.25, "relu", "5", None))


@pytest.mark.parametrize(
    ("distribution", "cell", "value"),
    [
        (CHOICES, "True", True),
        (CHOICES, "true", True),
        (CHOICES, np.bool_(False), False),
        (CHOICES, "3", 3),
        (CHOICES, "3.0", 3),
        (CHOICES, np.int64(3), 3),
        (CHOICES, "0.250", 0.25),
        (CHOICES, " relu ", "relu"),
        (CHOICES, "5", "5"),
        (CHOICES, 5, "5"),
        (CHOICES, None, None),
        (CHOICES, pandas.NA, None),
        (CHOICES, "None", None),
        (IntDistribution(8, 32, step=8), "16", 16),
        (IntDistribution(8, 32, step=8), "16.0", 16),
        (IntDistribution(8, 32, step=8), np.float64(16), 16),
        (IntDistribution(0, 10**18), str(10**18 - 1), 10**18 - 1),
        (FloatDistribution(0.0, 1.0), "1", 1.0),
        (FloatDistribution(0.0, 1.0), "1e-3", 0.001),
        (FloatDistribution(0.0, 1.0), ".5", 0.5),
    ],
)
def test_values_are_those_of_the_distribution(
    distribution: BaseDistribution, cell: Any, value: Any
) -> None:
    found = own_value(distribution, cell)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("distribution", "cell"),
    [
        (CHOICES, "gelu"),
        (CHOICES, "4"),
        (CHOICES, ["relu"]),
        (CategoricalDistribution(("1.0", "1.00", 2)), "1.000"),
        (IntDistribution(8, 32, step=8), "12"),
        (IntDistribution(8, 32, step=8), "16.5"),
        (IntDistribution(8, 32, step=8), "1_6"),
        (IntDistribution(0, 1), True),
        (IntDistribution(0, 1), "True"),
        (FloatDistribution(0.0, 1.0), "0,5"),
        (FloatDistribution(0.0, 1.0), "nan"),
        (FloatDistribution(0.0, 1.0), "inf"),
        (FloatDistribution(0.0, 1.0), "50%"),
        (FloatDistribution(0.0, 1.0), None),
        (FloatDistribution(0.0, 1.0), pandas.NA),
    ],
)
def test_other_values_are_none(distribution: BaseDistribution, cell: Any) -> None:
    assert own_value(distribution, cell) is NO_VALUE


@pytest.mark.parametrize(
    ("choices", "value"),
    [((None, "a"), None), (("", "a"), ""), (("a", "b"), NO_VALUE), ((None, math.nan), NO_VALUE)],
)
def test_an_empty_cell_is_the_one_choice_that_is_empty(
    choices: tuple[Any, ...], value: Any
) -> None:
    assert cell_value(CategoricalDistribution(choices), " ") is value


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300))
def test_floats_survive_their_text(value: float) -> None:
    assert own_value(FloatDistribution(-1e300, 1e300), repr(value)) == value


@given(
    st.one_of(
        st.booleans(), st.integers(-999, 999), st.floats(-9, 9), st.text("abc1.", min_size=1)
    )
)
def test_choices_survive_their_text(choice: Any) -> None:
    found = own_value(CategoricalDistribution((choice, "another")), str(choice))
    assert (found, type(found)) == (choice, type(choice))


@pytest.mark.parametrize(
    ("choices", "text"),
    [((True, "True"), "True"), ((1, "1", 2), "1"), ((None, ""), ""), ((1, True, "a"), None)],
)
def test_choices_that_read_alike_are_found(choices: tuple[Any, ...], text: str | None) -> None:
    assert same_text(CategoricalDistribution(choices)) == text


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1", "-2", "3"], [1, -2, 3]),
        (["1", "2.5", ""], [1.0, 2.5, NO_VALUE]),
        (["True", "false"], [True, False]),
        (["1", "a", " "], ["1", "a", NO_VALUE]),
        (["007", "008"], ["007", "008"]),
        ([np.int64(3), None, 2.5], [3, NO_VALUE, 2.5]),
        ([math.nan, pandas.NaT, pandas.NA], [NO_VALUE] * 3),
        (["", ""], [NO_VALUE, NO_VALUE]),
    ],
)
def test_a_column_has_the_type_that_all_its_cells_fit(cells: list[Any], values: list[Any]) -> None:
    found = inferred(cells)
    assert found == values
    assert [type(v) for v in found] == [type(v) for v in values]


@pytest.mark.parametrize("cell", ["", " ", None, math.nan, np.float32("nan"), pandas.NaT])
def test_empty_cells(cell: Any) -> None:
    assert is_empty(cell)


@pytest.mark.parametrize("cell", ["0", 0, False, "nan", "None", []])
def test_cells_that_are_not_empty(cell: Any) -> None:
    assert not is_empty(cell)


def test_numbers_and_decimal_commas() -> None:
    assert as_number("-1.5e2") == -150.0
    assert as_number("-inf") == -math.inf
    assert as_number("12 %") is None
    assert as_number(True) is None
    assert has_decimal_comma("0,91")
    assert has_decimal_comma("-12,5")
    assert not has_decimal_comma("1,2,3")
    assert not has_decimal_comma(0.91)


@pytest.mark.parametrize("text", ["1e999", "-1e999", "9" * 400])
def test_a_text_beyond_the_largest_number_is_no_number(text: str) -> None:
    assert as_number(text) is None
    assert own_value(FloatDistribution(0.0, 1.0), text) is NO_VALUE
    assert inferred([text, "1.5"]) == [text, "1.5"]


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_a_bound_stored_in_few_bits_is_within_its_range(kind: Any) -> None:
    distribution = FloatDistribution(1e-4, 1e-1, log=True)
    assert own_value(distribution, kind(0.1)) == 0.1
    assert own_value(distribution, kind(1e-4)) == 1e-4
