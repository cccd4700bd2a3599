from __future__ import annotations

from typing import Any

import numpy as np
import pandas
import pytest

from surrogate_nas.errors import PastTaskError
from surrogate_nas.past.tables.checks import (
    Direction,
    better,
    check_options,
    check_units,
    merge_rows,
    resolve_direction,
)
from tests.helpers.shared import shared_table


@pytest.mark.parametrize(
    "name",
    [
        *("accuracy", "val_accuracy", "ValAcc", "val-acc@1", "test acc (%)", "top1acc", "mAP"),
        *("f1", "macro_f1_score", "roc_auc", "R2", "mIoU", "dice", "BLEU", "ndcg@10", "score"),
        *("neg_mean_squared_error", "negative loss", "log_likelihood"),
    ],
)
def test_larger_is_better_by_name(name: str) -> None:
    assert better(name) == "maximize"


@pytest.mark.parametrize(
    "name",
    [
        *("loss", "val_loss", "ValLoss", "logloss", "log-loss", "RMSE", "test_rmse", "mae"),
        *("top-1 error", "error rate", "perplexity", "latency_ms", "cross_entropy", "fid_score"),
        *("negative_log_likelihood", "neg_accuracy"),
    ],
)
def test_smaller_is_better_by_name(name: str) -> None:
    assert better(name) == "minimize"


@pytest.mark.parametrize(
    "name",
    ["value", "val__cifar10", "result", "maps", "accelerate", "glossary", "loss_vs_accuracy", ""],
)
def test_other_names_do_not_say_which_way_is_better(name: str) -> None:
    assert better(name) is None


@pytest.mark.parametrize(
    ("given", "column", "direction"),
    [
        (None, "val_acc", "maximize"),
        (None, "val_loss", "minimize"),
        ("minimize", "loss", "minimize"),
        ("maximize", "value", "maximize"),
        ("minimize", "value", "minimize"),
    ],
)
def test_direction_is_given_or_follows_from_the_name(
    given: Direction | None, column: str, direction: Direction
) -> None:
    assert resolve_direction(given, column, "a.csv", ()) == direction


@pytest.mark.parametrize(
    ("given", "column", "message"),
    [
        (None, "value", "which way column 'value' of a.csv is better; .* direction='maximize'"),
        ("minimize", "val_accuracy", "'maximize' for column 'val_accuracy'.*got direction 'min"),
        ("maximize", "loss", "'minimize' for column 'loss'.*rename the column or pass allow="),
        ("up", "loss", "'minimize' or 'maximize'; got 'up'"),
    ],
)
def test_unknown_and_contradictory_directions_are_refused(
    given: Any, column: str, message: str
) -> None:
    with pytest.raises(PastTaskError, match=message):
        resolve_direction(given, column, "a.csv", ())


def test_a_direction_can_be_insisted_on() -> None:
    assert resolve_direction("maximize", "loss", "a.csv", ("direction",)) == "maximize"


def check(
    values: Any, column: str = "value", direction: Direction = "maximize", *allow: str
) -> None:
    check_units(values, [f"row {k}" for k in range(len(values))], column, direction, allow)


@pytest.mark.parametrize(
    ("values", "column", "direction"),
    [
        ([91.2, 0.905, 88.1], "value", "maximize"),
        ([0.5, 0.6, 0.7, 55.0, 65.0, 75.0], "value", "maximize"),
        ([0.92, 93.0], "accuracy", "maximize"),
        ([8.0, 12.0, 0.09], "val_error", "minimize"),
        ([0.0, 0.905, 88.1], "value", "maximize"),
    ],
)
def test_fractions_beside_percentages_are_refused(
    values: Any, column: str, direction: Direction
) -> None:
    with pytest.raises(PastTaskError, match=f"one unit in column '{column}'; got fractions") as e:
        check(values, column, direction)
    assert "by 100" in e.value.fix
    check(values, column, direction, "mixed_units")


@pytest.mark.parametrize(
    ("values", "column", "direction"),
    [
        ([0.905, 0.88, 1.0], "value", "maximize"),
        ([90.5, 88.0, 100.0], "value", "maximize"),
        ([90.5, 88.0, 1.0], "value", "maximize"),
        ([0.4, 2.3, 5.0], "value", "maximize"),
        ([0.05, 5.0, 0.04], "val_loss", "minimize"),
        ([0.9, 88.0, 150.0], "value", "maximize"),
        ([0.9, 88.0, -1.0], "value", "maximize"),
        ([0.83, 47.0, 41.0, 38.0], "value", "maximize"),
        (
            [0.5] * 3 + [40.0, 45.0, 50.0, 52.0, 55.0, 57.0, 58.0, 60.0, 61.0, 62.0],
            "v",
            "maximize",
        ),
    ],
    ids=[
        *("fractions", "percentages", "one percent", "no gap", "a loss", "beyond 100"),
        *("below 0", "too large as a fraction", "equal networks that learned nothing"),
    ],
)
def test_other_values_are_of_one_unit(values: Any, column: str, direction: Direction) -> None:
    check(values, column, direction)


@pytest.mark.parametrize("table", ["nb201", "nas_bench_graph", "nas_bench_macro", "hpobench_mlp"])
def test_units_are_judged_right_in_real_results(table: str) -> None:
    results = pandas.read_parquet(shared_table(table))
    rng = np.random.default_rng(0)
    for column in [name for name in results if str(name).startswith(("val__", "test__"))]:
        values = rng.choice(results[column].dropna().to_numpy(float), 100)
        check(values)
        if values.max() > 1.0:
            with pytest.raises(PastTaskError):
                check(np.where(np.arange(100) < 50, values, values / 100))


def test_equal_rows_are_merged_and_noted() -> None:
    first, values, note = merge_rows(["a", "b", "a"], [1.0, 2.0, 1.0], ["1", "2", "3"], "refuse")
    assert (first, values) == ([0, 1], [1.0, 2.0])
    assert note == "Merged 3 rows to 2 architectures."


def test_rows_that_disagree_are_refused_by_their_places() -> None:
    with pytest.raises(PastTaskError, match=r"got 1 in line 2 and 3 in line 4.*duplicates='mean'"):
        merge_rows(["a", "b", "a"], [1.0, 2.0, 3.0], ["line 2", "line 3", "line 4"], "refuse")


def test_rows_that_disagree_are_averaged_if_asked() -> None:
    first, values, note = merge_rows(["a", "b", "a"], [1.0, 2.0, 3.0], ["", "", ""], "mean")
    assert (first, values) == ([0, 1], [2.0, 2.0])
    assert note is not None
    assert "1 of them by averaging" in note


def test_rows_that_all_differ_stay_as_they_are() -> None:
    assert merge_rows(["a", "b"], [0.1, 0.3], ["", ""], "mean") == ([0, 1], [0.1, 0.3], None)


@pytest.mark.parametrize(
    ("duplicates", "allow", "message"),
    [
        ("keep", (), "'refuse' or 'mean'; got 'keep'"),
        ("mean", ("units",), r"names among \('direction', 'mixed_units'\); got \('units',\)"),
        ("mean", "direction", "tuple of names"),
    ],
)
def test_unknown_options_are_refused(duplicates: Any, allow: Any, message: str) -> None:
    with pytest.raises(PastTaskError, match=message):
        check_options(duplicates, allow)
