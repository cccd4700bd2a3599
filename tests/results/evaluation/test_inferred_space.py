from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from surrogate_nas.errors import PastTaskError
from surrogate_nas.past.past_task import PastTask
from surrogate_nas.results.evaluation.inferred_space import infer_space, require_shared


def task(*values: Any, name: str = "a") -> PastTask:
    return PastTask("past", [{name: value} for value in values], list(range(len(values))))


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (("pool", "conv"), CategoricalDistribution(["conv", "pool"])),
        ((True, False), CategoricalDistribution([False, True])),
        ((None, "conv"), CategoricalDistribution([None, "conv"])),
        ((3, None, 5), CategoricalDistribution([None, 3, 5])),
        ((3, 5, 4), IntDistribution(3, 5)),
        ((np.int64(8), 1024), IntDistribution(8, 1024, log=True)),
        ((0.5, 1), FloatDistribution(0.5, 1.0)),
        ((np.float32(0.5), 0.001), FloatDistribution(0.001, 0.5, log=True)),
        ((-0.5, 0.5), FloatDistribution(-0.5, 0.5)),
    ],
    ids=str,
)
def test_values_say_what_a_parameter_is(values: tuple[Any, ...], wanted: BaseDistribution) -> None:
    found = infer_space([task(*values)])["a"]
    if isinstance(wanted, CategoricalDistribution):
        assert isinstance(found, CategoricalDistribution)
        assert set(found.choices) == set(wanted.choices)
    else:
        assert found == wanted


def test_values_of_all_tasks_count_and_constants_do_not() -> None:
    one = PastTask("one", [{"a": 1, "b": "x"}, {"a": 2, "b": "x"}], [0.0, 1.0])
    other = PastTask("other", [{"a": 9, "b": "x"}, {"a": 4, "c": 1.5}], [0.0, 1.0])
    assert infer_space([one, other]) == {"a": IntDistribution(1, 9)}


def test_nothing_that_varies_is_refused() -> None:
    with pytest.raises(PastTaskError, match="got the same values everywhere"):
        infer_space([task(1, 1)])


@pytest.mark.parametrize("value", [[1], {"b": 1}, float("nan"), object()])
def test_what_is_no_plain_value_is_refused_by_name(value: Any) -> None:
    with pytest.raises(PastTaskError, match="as 'a' in past task 'past'") as caught:
        infer_space([task(1, value)])
    assert "plain" in caught.value.fix


def test_an_architectures_whole_description_is_no_choice() -> None:
    with pytest.raises(PastTaskError, match="201 of 'a'") as caught:
        infer_space([task(*(f"cell {k}" for k in range(201)))])
    assert "leave 'a' out" in caught.value.fix


def test_tasks_that_share_no_parameter_are_refused() -> None:
    past = [task(1, 2), task(1, 2, 3), task(1, 2, name="b")]
    with pytest.raises(PastTaskError, match=r"\['b'\] in 'past', and \['a'\] in the others"):
        require_shared(past, infer_space(past))
    require_shared(past[:2], infer_space(past))
