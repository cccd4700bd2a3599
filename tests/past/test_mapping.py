from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from scipy.stats import spearmanr

from surrogate_nas import MetaSurrogate, PastTask, map_to_space
from surrogate_nas.errors import PastTaskError
from surrogate_nas.space.draw import random_params
from surrogate_nas.spaces import CellSpace
from tests.helpers.shared import shared_table

FLAT: dict[str, BaseDistribution] = {
    "op": CategoricalDistribution(("conv", "pool")),
    "width": IntDistribution(8, 32, step=8),
    "rate": FloatDistribution(0.0, 1.0),
}
PARAMS: list[dict[str, Any]] = [
    {"op": "conv", "width": 8, "rate": 0.5},
    {"op": "pool", "width": 16, "rate": 0.5},
    {"op": "pool", "width": 32, "rate": 0.25},
]
VALUES = [1.0, 2.0, 4.0]


def stages(trial: optuna.trial.BaseTrial) -> None:
    depth = trial.suggest_int("depth", 1, 2)
    trial.suggest_categorical("act", ("relu", "gelu"))
    for stage in range(depth):
        trial.suggest_int(f"width_{stage}", 1, 4)


def changed(*, drop: str = "", **values: Any) -> PastTask:
    """The pairs above with a parameter less, or others more."""
    params = [{n: v for n, v in {**one, **values}.items() if n != drop} for one in PARAMS]
    return PastTask("old", params, VALUES)


@pytest.mark.parametrize(
    ("space", "params"),
    [
        (FLAT, PARAMS),
        (FLAT, [{"op": "conv", "width": 8.0, "rate": 1}, PARAMS[1], PARAMS[2]]),
        (
            stages,
            [
                {"depth": 1, "act": "relu", "width_0": 2},
                {"depth": 2, "act": "relu", "width_0": 2, "width_1": 3},
                {"depth": 1, "act": "gelu", "width_0": 2},
            ],
        ),
    ],
    ids=["flat", "numbers of another type", "conditional"],
)
def test_a_task_of_the_space_comes_back_as_it_is(space: Any, params: Any) -> None:
    task = PastTask("same", params, VALUES)
    assert map_to_space(task, space) is task


def test_parameters_that_the_space_has_not_are_dropped() -> None:
    mapped = map_to_space(changed(dropout=0.5), FLAT)
    assert list(mapped.params) == PARAMS
    assert list(mapped.values) == VALUES
    assert mapped.notes == (
        "To fit the search space, dropped parameters that it has not: dropout.",
    )


def test_parameters_that_the_past_has_not_stay_unknown() -> None:
    mapped = map_to_space(changed(drop="rate"), FLAT)
    assert [set(params) for params in mapped.params] == [{"op", "width"}] * 3
    assert mapped.notes == (
        "To fit the search space, left unknown what the past has not: rate (3 pairs).",
    )


def test_parameters_that_the_past_has_not_can_be_filled_in() -> None:
    mapped = map_to_space(changed(drop="rate"), FLAT, fill={"rate": 0})
    assert [params["rate"] for params in mapped.params] == [0.0] * 3
    assert mapped.notes == ("To fit the search space, filled in rate = 0.0 (3 pairs).",)


def test_what_is_known_is_not_filled_in() -> None:
    task = PastTask("old", [PARAMS[0], {"op": "pool", "width": 16}], [1.0, 2.0])
    mapped = map_to_space(task, FLAT, fill={"rate": 1.0})
    assert [params["rate"] for params in mapped.params] == [0.5, 1.0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("op", "attention"),
        ("op", None),
        ("op", ["conv"]),
        ("width", 12),
        ("width", 40),
        ("width", "wide"),
        ("width", True),
        ("rate", 1.5),
        ("rate", float("nan")),
    ],
)
def test_values_that_the_space_has_not_are_left_unknown(name: str, value: Any) -> None:
    params = [{**PARAMS[0], name: value}, *PARAMS[1:]]
    mapped = map_to_space(PastTask("old", params, VALUES), FLAT)
    assert mapped.params[0] == {n: v for n, v in PARAMS[0].items() if n != name}
    assert list(mapped.params[1:]) == PARAMS[1:]
    assert mapped.notes == (
        f"To fit the search space, left unknown values that it has not: {name} = {value!r} "
        "(1 pair).",
    )


def test_values_get_the_types_of_the_space() -> None:
    params = [{"op": np.str_("conv"), "width": "8", "rate": 1, "more": 0}, *PARAMS[1:]]
    mapped = map_to_space(PastTask("old", params, VALUES), FLAT)
    assert {n: type(v) for n, v in mapped.params[0].items()} == {
        "op": str,
        "width": int,
        "rate": float,
    }
    assert "turned values into its own types in 1 pair." in mapped.notes[-1]


@pytest.mark.parametrize("space", [FLAT, stages])
def test_a_task_of_text_alone_gets_the_types_of_the_space(space: Any) -> None:
    names = FLAT if space is FLAT else ("depth", "act", "width_0")
    texts: list[dict[str, Any]] = [
        {"op": "conv", "width": w, "rate": "0.5", "depth": "1", "act": "gelu", "width_0": w[0]}
        for w in ("8", "16")
    ]
    task = PastTask("text", [{n: one[n] for n in names} for one in texts], [1.0, 2.0])

    mapped = map_to_space(task, space)

    if space is FLAT:
        assert list(mapped.params) == [{"op": "conv", "width": w, "rate": 0.5} for w in (8, 16)]
    assert not any(isinstance(v, str) and v.isdigit() for p in mapped.params for v in p.values())
    assert mapped.notes


def test_pairs_that_become_equal_are_averaged() -> None:
    params = [{**PARAMS[0], "more": 1}, {**PARAMS[0], "more": 2}, {**PARAMS[1], "more": 1}]
    mapped = map_to_space(PastTask("old", params, [1.0, 2.0, 5.0]), FLAT)
    assert list(mapped.params) == PARAMS[:2]
    assert list(mapped.values) == [1.5, 5.0]
    assert mapped.notes[-1] == "To fit the search space, averaged 3 pairs to 2 different ones."


def test_pairs_of_which_nothing_is_known_are_dropped() -> None:
    mapped = map_to_space(PastTask("old", [{"x": 1}, *PARAMS], [9.0, *VALUES]), FLAT)
    assert list(mapped.params) == PARAMS
    assert list(mapped.values) == VALUES
    assert "dropped 1 pair of which nothing is known" in mapped.notes[-1]


def test_parameters_of_stages_that_are_not_there_are_dropped() -> None:
    params = [
        {"depth": 1, "act": "relu", "width_0": 2, "width_1": 3},
        {"depth": 2, "act": "relu", "width_0": 2, "width_1": 3},
    ]
    mapped = map_to_space(PastTask("old", params, [1.0, 2.0]), stages)
    assert mapped.params[0] == {"depth": 1, "act": "relu", "width_0": 2}
    assert mapped.params[1] == params[1]


def test_only_active_parameters_are_filled_in() -> None:
    params = [{"depth": depth, "width_0": 2} for depth in (1, 2)]
    mapped = map_to_space(
        PastTask("old", params, [1.0, 2.0]), stages, fill={"act": "gelu", "width_1": 4}
    )
    assert list(mapped.params) == [
        {"depth": 1, "act": "gelu", "width_0": 2},
        {"depth": 2, "act": "gelu", "width_0": 2, "width_1": 4},
    ]


def test_conditional_parameters_that_the_past_never_had_are_named() -> None:
    params = [{"depth": depth, "act": "relu", "width_0": 2} for depth in (1, 2)]
    mapped = map_to_space(PastTask("old", params, [1.0, 2.0]), stages)
    assert mapped.notes == (
        "To fit the search space, left unknown what the past has not: width_1.",
    )


def test_mapping_twice_is_mapping_once() -> None:
    once = map_to_space(changed(drop="rate", dropout=0.5), FLAT)
    assert map_to_space(once, FLAT) is once


def test_earlier_notes_are_kept() -> None:
    task = PastTask("old", changed(drop="rate").params, VALUES, notes=("From a table.",))
    assert map_to_space(task, FLAT).notes[0] == "From a table."
    assert len(map_to_space(task, FLAT).notes) == 2


@pytest.mark.parametrize(
    ("params", "values", "message"),
    [
        ([{"leaves": 3}, {"leaves": 5}], [1.0, 2.0], r"at least half .*'op'.* 0% .*'old'.*leaves"),
        ([{"op": "conv"}, {"op": "pool"}], [1.0, 2.0], r"33% of them.*'rate', 'width' are miss"),
        ([{"op": "x", "rate": 0.1}, {"op": "y", "rate": 0.2}], [1.0, 2.0], "33% of them"),
        ([{**PARAMS[0], "x": 1}, {**PARAMS[0], "x": 2}], [1.0, 2.0], "1 equal value.* left of 2"),
    ],
    ids=["another space", "a third", "other values", "one architecture left"],
)
def test_too_little_in_common_is_refused(params: Any, values: Any, message: str) -> None:
    with pytest.raises(PastTaskError, match=message) as caught:
        map_to_space(PastTask("old", params, values), FLAT)
    assert "leave that past task out" in caught.value.fix


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        ({"rate": 2.0}, r"a value of 'rate' in Float.*got fill=\{'rate': 2.0\}"),
        ({"raet": 0.5}, r"among \['op', 'rate', 'width'\]; got fill=\{'raet': 0.5\}"),
    ],
)
def test_values_that_cannot_be_filled_in_are_refused(fill: Any, message: str) -> None:
    with pytest.raises(PastTaskError, match=message):
        map_to_space(changed(drop="rate"), FLAT, fill=fill)


def test_a_surrogate_takes_past_tasks_of_an_earlier_space() -> None:
    past = [changed(drop="rate"), changed(dropout=0.1)]
    surrogate = MetaSurrogate.fit(FLAT, past, seed=0)
    assert [task["pairs"] for task in surrogate.tasks] == [3, 3]


def test_a_surrogate_refuses_a_past_task_of_another_space_by_its_name() -> None:
    foreign = PastTask("trees", [{"leaves": 3}, {"leaves": 5}], [0.1, 0.2])
    with pytest.raises(PastTaskError, match="past task 'trees'"):
        MetaSurrogate.fit(FLAT, [PastTask("same", PARAMS, VALUES), foreign])


def test_a_surrogate_of_a_space_with_features_takes_past_tasks_without_them() -> None:
    space = CellSpace()
    params = [
        {n: v for n, v in one.items() if n != "op_0"}
        for one in random_params(space.suggest, 30, np.random.default_rng(0))
    ]
    values = [float(one["width"]) for one in params]
    surrogate = MetaSurrogate.fit(space, [PastTask("less", params, values)], seed=0)
    mean, _ = surrogate.predict(random_params(space.suggest, 5, np.random.default_rng(1)))
    assert np.isfinite(mean).all()


OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = [f"op_{edge}" for edge in range(6)]


def cells(operations: tuple[str, ...] = OPERATIONS) -> dict[str, BaseDistribution]:
    return {edge: CategoricalDistribution(operations) for edge in EDGES}


@pytest.fixture(scope="module")
def benchmark() -> Any:
    """Cells of NAS-Bench-201 and their accuracy on three data sets."""
    import pandas

    table = pandas.read_parquet(shared_table("nb201"))
    return table.astype(dict.fromkeys(EDGES, str))


@pytest.mark.parametrize(
    ("past_operations", "target_operations", "missing_edges", "least"),
    [
        (OPERATIONS, OPERATIONS, [], 0.75),
        (OPERATIONS, OPERATIONS[:4], [], 0.7),
        (OPERATIONS[:4], OPERATIONS, [], 0.5),
        (OPERATIONS, OPERATIONS, ["op_0"], 0.6),
    ],
    ids=["the same space", "an operation less", "an operation more", "a parameter more"],
)
def test_past_tasks_of_a_changed_space_rank_real_architectures(
    benchmark: Any,
    past_operations: tuple[str, ...],
    target_operations: tuple[str, ...],
    missing_edges: list[str],
    least: float,
) -> None:
    space = cells(target_operations)
    past = []
    for name in ("cifar10", "cifar100"):
        rows = _cells_of(benchmark, past_operations, 100, seed=1)
        table = rows[EDGES].drop(columns=missing_edges).assign(accuracy=rows[f"val__{name}"])
        past.append(PastTask.from_table(table, value="accuracy", name=name, duplicates="mean"))
    surrogate = MetaSurrogate.fit(space, past, seed=0)
    targets = _cells_of(benchmark, target_operations, 500, seed=2)
    mean, _ = surrogate.predict(targets[EDGES].to_dict("records"))
    # Without past tasks every prediction is the same: no correlation at all.
    assert spearmanr(mean, targets["val__ImageNet16-120"]).statistic > least


def _cells_of(table: Any, operations: tuple[str, ...], n: int, seed: int) -> Any:
    return table[table[EDGES].isin(operations).all(axis=1)].sample(n, random_state=seed)
