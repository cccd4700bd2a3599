"""Splits that keep groups together, follow time, and have every class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from surrogate_nas.domains.splitting import SplitRule, split_rows
from surrogate_nas.errors import TaskError

SHARES = {"val": 0.2, "test": 0.2}
NAMES = ("cat", "dog", "newt")


def split(n: int = 100, shares: Any = SHARES, **rule: Any) -> dict[str, Any]:
    return split_rows(n, shares, SplitRule(**rule))


def all_rows(parts: dict[str, Any]) -> list[int]:
    return sorted(row for rows in parts.values() for row in rows.tolist())


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 20), min_size=8, max_size=40),
    n_classes=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_a_group_is_in_one_part_and_parts_have_about_their_shares(
    sizes: list[int], n_classes: int, seed: int
) -> None:
    groups = np.repeat(np.arange(len(sizes)), sizes)
    classes = np.arange(len(groups)) % n_classes
    parts = split(len(groups), groups=groups, strata=classes, names=NAMES, seed=seed)
    assert all_rows(parts) == list(range(len(groups)))
    of_part = [set(groups[rows]) for rows in parts.values()]
    assert sum(map(len, of_part)) == len(set.union(*of_part)) == len(sizes)
    for part, share in SHARES.items():
        # Whole groups cannot be cut, so a part may miss or gain the largest one.
        assert abs(len(parts[part]) - share * len(groups)) <= max(sizes) + 1


def test_groups_keep_the_shares_of_classes() -> None:
    groups = np.repeat(np.arange(60), 5)
    classes = (groups % 10 == 0).astype(int)  # whole groups of a rare class
    parts = split(300, groups=groups, strata=classes, names=NAMES[:2])
    assert [int(classes[rows].sum()) for rows in parts.values()] == [20, 5, 5]


def test_another_seed_draws_other_groups() -> None:
    groups = np.arange(100) // 2
    one, same, other = (split(groups=groups, seed=seed)["test"] for seed in (0, 0, 1))
    assert one.tolist() == same.tolist() != other.tolist()


def test_the_latest_rows_are_the_test_and_the_ones_before_the_validation() -> None:
    times = np.random.default_rng(0).permutation(100)
    parts = split(times=times)
    assert {part: len(rows) for part, rows in parts.items()} == {
        "train": 60,
        "val": 20,
        "test": 20,
    }
    assert times[parts["train"]].max() < times[parts["val"]].min()
    assert times[parts["val"]].max() < times[parts["test"]].min()


def test_rows_of_one_time_and_of_one_group_stay_together() -> None:
    times = np.repeat(np.arange(10), 10)
    parts = split(times=times, shares={"test": 0.15})
    assert set(times[parts["test"]]) == {8, 9}
    groups = np.array([0, 1, 2, 3, 4, 0])  # the first group's latest row is the latest of all
    parts = split(6, {"test": 0.3}, times=np.arange(6), groups=groups)
    assert sorted(parts["test"].tolist()) == [0, 5]


@pytest.mark.parametrize(
    "times",
    [
        [f"2024-{1 + month:02}-01" for month in range(10)],
        pd.date_range("2024-01-01", periods=10),
        [f"{number}.5" for number in range(10)],
        [10.0**power for power in range(10)],
    ],
    ids=["texts", "dates", "numbers as text", "floats"],
)
def test_times_are_numbers_or_dates(times: Any) -> None:
    assert split(10, {"test": 0.2}, times=times)["test"].tolist() == [8, 9]


def test_without_classes_rows_are_drawn_at_random() -> None:
    parts = split(101, seed=3)
    assert all_rows(parts) == list(range(101))
    assert (len(parts["val"]), len(parts["test"])) == (21, 21)
    assert split(101, seed=3)["test"].tolist() == parts["test"].tolist()
    assert split(101, seed=4)["test"].tolist() != parts["test"].tolist()


def test_nothing_is_drawn_where_all_parts_are_given() -> None:
    assert split(5, {})["train"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"groups": np.arange(9)}, r"groups of shape \(100,\).*shape \(9,\)"),
        ({"groups": ["a"] * 100}, "at least two groups; got only 'a'"),
        ({"groups": [None, *["a"] * 99]}, "1 missing, the first at index 0"),
        ({"groups": np.arange(100) % 2}, "no rows for (val|test)"),
        ({"times": ["yesterday"] * 100}, "dates such as 2024-12-31"),
        ({"times": [*range(99), float("nan")]}, "1 missing, the first at index 99"),
        ({"times": [pd.NaT, *pd.date_range("2024", periods=99)]}, "1 missing"),
        ({"times": np.ones(100)}, "no rows for (train|val)"),
        ({"times": np.arange(100) * 1j}, "times as numbers, or as dates"),
        (
            {"times": np.arange(100), "strata": (np.arange(100) > 90).astype(int), "names": NAMES},
            "none of 'dog', by these times",
        ),
    ],
)
def test_unusable_groups_and_times_are_refused(rule: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        split(**rule)
