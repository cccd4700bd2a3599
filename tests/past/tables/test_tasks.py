from __future__ import annotations

import csv
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import optuna
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
from optuna.trial import FrozenTrial, TrialState, create_trial

from surrogate_nas import MetaSurrogate, PastTask, read_table
from surrogate_nas.errors import PastTaskError
from tests.helpers.strategies import RandomSpace, spaces_with_params

SPACE: dict[str, BaseDistribution] = {
    "op": CategoricalDistribution(("conv", "pool", None)),
    "bias": CategoricalDistribution((True, False)),
    "kernel": CategoricalDistribution((3, 5)),
    "width": IntDistribution(8, 32, step=8),
    "rate": FloatDistribution(1e-4, 1.0, log=True),
}
HEADER = "op,bias,kernel,width,rate,note,accuracy"
ROWS = ["conv,True,3,8,0.1,x,0.5", "pool,false,5.0,16.0,1e-4,y,0.75", ",False,5,32,1,z,0.25"]
PARAMS: list[dict[str, Any]] = [
    {"op": "conv", "bias": True, "kernel": 3, "width": 8, "rate": 0.1},
    {"op": "pool", "bias": False, "kernel": 5, "width": 16, "rate": 1e-4},
    {"op": None, "bias": False, "kernel": 5, "width": 32, "rate": 1.0},
]


def stages(trial: optuna.trial.BaseTrial) -> None:
    depth = trial.suggest_int("depth", 1, 2)
    for stage in range(depth):
        trial.suggest_categorical(f"op_{stage}", ("conv", "pool"))


def written(tmp_path: Path, *lines: str, header: str = HEADER) -> Path:
    path = tmp_path / "letters.csv"
    path.write_text("\n".join([header, *lines]))
    return path


def types(params: dict[str, Any]) -> dict[str, type]:
    return {name: type(value) for name, value in params.items()}


def test_a_csv_file_is_read_in_the_types_of_the_space(tmp_path: Path) -> None:
    task = PastTask.from_csv(written(tmp_path, *ROWS), value="accuracy", space=SPACE)
    assert list(task.params) == PARAMS
    assert [types(dict(p)) for p in task.params] == [types(p) for p in PARAMS]
    assert list(task.values) == [0.5, 0.75, 0.25]
    assert (task.name, task.direction, task.notes) == ("letters", "maximize", ())


def test_without_a_space_every_other_column_is_a_parameter(tmp_path: Path) -> None:
    task = PastTask.from_csv(
        written(tmp_path, *ROWS), value="accuracy", name="a", meta_features={"n_train": 5.0}
    )
    assert task.params[1] == {
        **{"op": "pool", "bias": False, "kernel": 5.0, "width": 16.0, "rate": 1e-4},
        "note": "y",
    }
    assert "op" not in task.params[2]
    assert (task.name, task.meta_features) == ("a", {"n_train": 5.0})


def test_what_is_read_without_a_space_fits_a_surrogate_of_the_space(tmp_path: Path) -> None:
    task = PastTask.from_csv(written(tmp_path, *ROWS), value="accuracy")
    surrogate = MetaSurrogate.fit(SPACE, [task])
    assert [one["pairs"] for one in surrogate.tasks] == [3]


@pytest.mark.parametrize("form", ["frame", "columns", "rows"])
def test_tables_in_memory_give_the_same(form: str) -> None:
    rows = [{**p, "accuracy": v} for p, v in zip(PARAMS, [0.5, 0.75, 0.25], strict=True)]
    frame = pandas.DataFrame(rows)
    table: Any = {"frame": frame, "columns": frame.to_dict("list"), "rows": rows}[form]
    task = PastTask.from_table(table, value="accuracy", space=SPACE, name="a")
    assert list(task.params) == PARAMS
    assert [types(dict(p)) for p in task.params] == [types(p) for p in PARAMS]


def test_empty_cells_are_inactive_parameters(tmp_path: Path) -> None:
    path = written(tmp_path, "1,conv,,1", "2,conv,pool,2", header="depth,op_0,op_1,loss")
    task = PastTask.from_csv(path, value="loss", space=stages)
    assert list(task.params) == [
        {"depth": 1, "op_0": "conv"},
        {"depth": 2, "op_0": "conv", "op_1": "pool"},
    ]
    assert task.direction == "minimize"


def test_values_of_inactive_parameters_are_dropped_and_noted(tmp_path: Path) -> None:
    path = written(tmp_path, "1,conv,pool,1", "2,conv,pool,2", header="depth,op_0,op_1,loss")
    task = PastTask.from_csv(path, value="loss", space=stages)
    assert task.params[0] == {"depth": 1, "op_0": "conv"}
    assert task.notes == ("Dropped values of inactive parameters in 1 row.",)


@given(drawn=spaces_with_params())
def test_what_was_written_is_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, drawn: tuple[RandomSpace, list[dict[str, Any]]]
) -> None:
    space, params = drawn
    path = tmp_path_factory.mktemp("tables") / "a.csv"
    names = sorted({name for one in params for name in one})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*names, "value"])
        writer.writeheader()
        writer.writerows({**one, "value": k / 3} for k, one in enumerate(params))
    task = PastTask.from_csv(
        path, value="value", direction="maximize", space=space, duplicates="mean"
    )
    distinct = {repr(sorted(one.items())): one for one in params}
    assert list(task.params) == list(distinct.values())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "conv,True,3,8,0.1,x,good",
            r"a number.*'good' in column 'accuracy', line 3 of letters.c",
        ),
        ('conv,True,3,8,0.1,x,"0,91"', "'0,91' in column 'accuracy'.*decimal point.*decimal=','"),
        ("conv,True,3,8,0.1,x,91%", "plain number without unit or percent sign"),
        ("conv,True,3,8,0.1,x,True", "'True' in column 'accuracy'"),
        ("skip,True,3,8,0.1,x,0.9", r"'op' in Cat.*'skip' in column 'op', line 3 of letters.csv"),
        ("conv,True,4,8,0.1,x,0.9", "'4' in column 'kernel', line 3"),
        ("conv,True,3,12,0.1,x,0.9", r"'width' in IntDist.*'12' in column 'width'.*map_to_space"),
        ("conv,True,3,wide,0.1,x,0.9", "'wide' in column 'width'"),
        ("conv,True,3,8,2,x,0.9", "'2' in column 'rate'"),
        ('conv,True,3,8,"0,1",x,0.9', "'0,1' in column 'rate'.*decimal point"),
        ("conv,True,3,8,nan,x,0.9", "'nan' in column 'rate'"),
        ("conv,True,3,,0.1,x,0.9", "an empty cell in column 'width', line 3"),
        ("conv,True,3,8,0.1,x,0.9", "got 0.5 in line 2 .* and 0.9 in line 3 .*duplicates='mean'"),
        ("pool,True,3,8,0.1,x,62.5", "fractions beside percentages: 0.5 in line 2 .*allow="),
    ],
)
def test_wrong_cells_are_refused_by_their_place(tmp_path: Path, row: str, message: str) -> None:
    path = written(tmp_path, ROWS[0], row)
    with pytest.raises(PastTaskError, match=message):
        PastTask.from_csv(path, value="accuracy", space=SPACE)


def test_numbers_with_a_decimal_comma_are_refused_without_a_space_too(tmp_path: Path) -> None:
    path = written(tmp_path, "0,1;0.5", "0,2;0.6", header="rate;accuracy")
    with pytest.raises(PastTaskError, match=r"'0,1' in column 'rate', line 2 .*decimal=','"):
        PastTask.from_csv(path, value="accuracy")


def test_missing_columns_are_named_with_what_may_be_meant(tmp_path: Path) -> None:
    path = written(tmp_path, "conv,True,3,8,0.1,x,0.5", header=HEADER.replace("width", "widht"))
    with pytest.raises(PastTaskError, match=r"'width' in letters.csv.*'note'.*Rename 'widht' to"):
        PastTask.from_csv(path, value="accuracy", space=SPACE)
    with pytest.raises(PastTaskError, match=r"'acuracy' .*Rename 'accuracy' to 'acuracy'"):
        PastTask.from_csv(path, value="acuracy", direction="maximize")


def test_a_column_that_is_known_is_not_what_may_be_meant(tmp_path: Path) -> None:
    operations = CategoricalDistribution(("a", "b"))
    space: dict[str, BaseDistribution] = {f"op_{k}": operations for k in range(3)}
    path = written(tmp_path, "a,b,b,0.5", "a,a,b,0.6", header="op_0,op_1,Op_2,accuracy")
    with pytest.raises(PastTaskError, match="Rename 'Op_2' to 'op_2';"):
        PastTask.from_csv(path, value="accuracy", space=space)
    path = written(tmp_path, "a,b,0.5", "a,a,0.6", header="op_0,op_1,accuracy")
    with pytest.raises(PastTaskError, match=r"'op_2' in .* Name the columns so"):
        PastTask.from_csv(path, value="accuracy", space=space)


def test_a_table_without_parameters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PastTaskError, match="at least one column of a parameter"):
        PastTask.from_csv(written(tmp_path, "0.5", header="accuracy"), value="accuracy")


def test_columns_and_empty_cells_can_be_filled_in(tmp_path: Path) -> None:
    path = written(tmp_path, "conv,3,8,0.5", "pool,5,,0.7", header="op,kernel,width,accuracy")
    fill = {"bias": True, "rate": 0.1, "width": 32}
    task = PastTask.from_csv(path, value="accuracy", space=SPACE, fill=fill)
    assert task.params[1] == {"op": "pool", "bias": True, "kernel": 5, "width": 32, "rate": 0.1}
    assert task.notes == (
        "Filled in bias = True in 2 rows.",
        "Filled in rate = 0.1 in 2 rows.",
        "Filled in width = 32 in 1 row.",
    )
    untyped = PastTask.from_csv(path, value="accuracy", fill=fill)
    assert untyped.params[1] == task.params[1]
    with pytest.raises(PastTaskError, match=r"a value of 'width' in IntDistribution.*got fill="):
        PastTask.from_csv(path, value="accuracy", space=SPACE, fill={"width": 9})


def test_failed_trainings_are_left_out_and_noted(tmp_path: Path) -> None:
    failed = ["conv,True,3,16,0.1,x,", "conv,True,3,24,0.1,x,nan", "conv,True,3,32,0.1,x,-inf"]
    task = PastTask.from_csv(written(tmp_path, *ROWS, *failed), value="accuracy", space=SPACE)
    assert list(task.values) == [0.5, 0.75, 0.25]
    assert task.notes == ("Left out 3 rows without a finite value.",)
    with pytest.raises(
        PastTaskError, match=r"rows with a finite value.* got none of task 'letters'"
    ):
        PastTask.from_csv(written(tmp_path, *failed), value="accuracy", space=SPACE)


def test_repeated_trainings_are_averaged_if_asked(tmp_path: Path) -> None:
    again = ROWS[0].replace("0.5", "0.75")
    path = written(tmp_path, *ROWS, again)
    task = PastTask.from_csv(path, value="accuracy", space=SPACE, duplicates="mean")
    assert list(task.values) == [0.625, 0.75, 0.25]
    assert "4 rows to 3 architectures" in task.notes[0]


def test_a_direction_against_the_name_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, *ROWS)
    with pytest.raises(PastTaskError, match="direction 'maximize' for column 'accuracy'"):
        PastTask.from_csv(path, value="accuracy", direction="minimize")
    task = PastTask.from_csv(path, value="accuracy", direction="minimize", allow=("direction",))
    assert task.direction == "minimize"


def test_choices_that_read_alike_cannot_come_from_text(tmp_path: Path) -> None:
    space: dict[str, BaseDistribution] = {"a": CategoricalDistribution((1, "1"))}
    path = written(tmp_path, "1,0.5", "1,0.6", header="a,accuracy")
    with pytest.raises(PastTaskError, match=r"choices of 'a' that differ as text.*from_table"):
        PastTask.from_csv(path, value="accuracy", space=space)
    task = PastTask.from_table(
        {"a": [1, "1"], "accuracy": [0.5, 0.6]}, value="accuracy", space=space
    )
    assert [type(params["a"]) for params in task.params] == [int, str]


def study() -> optuna.Study:
    made = optuna.create_study(direction="maximize", study_name="letters")
    ranges: dict[str, BaseDistribution] = {
        "depth": IntDistribution(1, 2),
        "op_0": CategoricalDistribution(("conv", "pool")),
        "op_1": CategoricalDistribution(("conv", "pool")),
    }

    def trial(value: float | None, state: TrialState, **params: Any) -> FrozenTrial:
        given = {name: ranges[name] for name in params}
        return create_trial(
            value=value, state=state, params=params, distributions=given, user_attrs={"seconds": 3}
        )

    made.add_trials(
        [
            trial(0.5, TrialState.COMPLETE, depth=1, op_0="conv"),
            trial(0.75, TrialState.COMPLETE, depth=2, op_0="conv", op_1="pool"),
            trial(0.1, TrialState.PRUNED, depth=1, op_0="pool"),
            trial(None, TrialState.FAIL, depth=1, op_0="pool"),
        ]
    )
    return made


@pytest.mark.parametrize("levels", [False, True])
@pytest.mark.parametrize("through_file", [False, True])
@pytest.mark.parametrize("space", [None, stages])
def test_studies_exported_by_optuna_are_recognized(
    tmp_path: Path, levels: bool, through_file: bool, space: Any
) -> None:
    table = study().trials_dataframe(multi_index=levels and not through_file)
    if through_file:
        table.to_csv(tmp_path / "letters.csv", index=levels)
        task = PastTask.from_csv(
            tmp_path / "letters.csv", value="value", direction="maximize", space=space
        )
    else:
        task = PastTask.from_table(table, value="value", direction="maximize", space=space)
    assert list(task.params) == [
        {"depth": 1, "op_0": "conv"},
        {"depth": 2, "op_0": "conv", "op_1": "pool"},
    ]
    assert list(task.values) == [0.5, 0.75]
    assert task.notes == ("Left out 2 rows of trials that did not complete.",)


@pytest.mark.parametrize("value", ["value", "accuracy", "value_accuracy"])
def test_exports_with_the_metric_s_name_are_recognized(value: str) -> None:
    made = study()
    with warnings.catch_warnings(action="ignore"):
        made.set_metric_names(["accuracy"])

    task = PastTask.from_table(made.trials_dataframe(), value=value, direction="maximize")

    assert list(task.values) == [0.5, 0.75]
    assert list(task.params) == [
        {"depth": 1, "op_0": "conv"},
        {"depth": 2, "op_0": "conv", "op_1": "pool"},
    ]


def test_exports_without_states_are_recognized() -> None:
    table = study().trials_dataframe(attrs=("params", "value"))
    task = PastTask.from_table(table[:2], value="value", direction="maximize", space=stages)
    assert len(task) == 2


def test_exports_of_optuna_dashboard_are_recognized(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        *("0,COMPLETE,0.5,1,conv,,3", "1,COMPLETE,0.75,2,conv,pool,3", "2,FAIL,,1,pool,,3"),
        header="Number,State,Value,Param depth,Param op_0,Param op_1,UserAttribute seconds",
    )
    task = PastTask.from_csv(path, value="value", direction="maximize", space=stages)
    assert list(task.params) == [
        {"depth": 1, "op_0": "conv"},
        {"depth": 2, "op_0": "conv", "op_1": "pool"},
    ]
    assert len(task.notes) == 1


def test_a_table_of_several_tasks_is_split(tmp_path: Path) -> None:
    rows = [f"{name},{row}" for row in ROWS for name in ("b", "a")]
    path = written(tmp_path, *rows, header=f"task,{HEADER}")
    past = read_table(path, value="accuracy", space=SPACE, meta_features={"a": {"n_train": 9.0}})
    assert [task.name for task in past] == ["b", "a"]
    assert [list(task.params) for task in past] == [PARAMS, PARAMS]
    assert [task.meta_features for task in past] == [None, {"n_train": 9.0}]


def test_several_tasks_may_come_in_memory_and_under_another_name() -> None:
    table: dict[str, Any] = {
        "set": ["a", "a", "b"],
        "x": [1, 2, 1],
        "loss": [0.5, math.nan, np.float32(0.25)],
    }
    past = read_table(table, value="loss", task="set")
    assert [(task.name, list(task.params), list(task.values)) for task in past] == [
        ("a", [{"x": 1}], [0.5]),
        ("b", [{"x": 1}], [0.25]),
    ]
    assert [task.notes for task in past] == [("Left out 1 row without a finite value.",), ()]


def test_a_row_without_a_task_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "a,1,0.5", ",2,0.6", header="task,x,accuracy")
    with pytest.raises(PastTaskError, match="an empty cell in column 'task', line 3"):
        read_table(path, value="accuracy")
    with pytest.raises(PastTaskError, match=r"'data' in letters.csv"):
        read_table(path, value="accuracy", task="data")


def test_an_index_column_without_a_name_is_no_parameter(tmp_path: Path) -> None:
    frame = pandas.DataFrame({"x": [1, 2], "accuracy": [0.5, 0.6]})
    frame.to_csv(tmp_path / "a.csv")
    task = PastTask.from_csv(tmp_path / "a.csv", value="accuracy")
    assert list(task.params) == [{"x": 1}, {"x": 2}]
    again = PastTask.from_table(pandas.read_csv(tmp_path / "a.csv"), value="accuracy")
    assert list(again.params) == [{"x": 1}, {"x": 2}]


@given(text=st.text(), value=st.sampled_from(["accuracy", "x"]))
def test_any_text_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, text: str, value: str
) -> None:
    path = tmp_path_factory.mktemp("tables") / "a.csv"
    path.write_bytes(f"x,accuracy\n{text}\n".encode(errors="surrogatepass"))
    try:
        task = PastTask.from_csv(path, value=value, direction="maximize")
    except PastTaskError:
        return
    assert len(task) > 0
