"""Labels become targets of a kind, which is told by the labels where they can tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch

from surrogate_nas.domains.kinds import KindName
from surrogate_nas.domains.targets import LabelReader, read_labels
from surrogate_nas.errors import TaskError

MANY = np.linspace(0, 1, 30)
BINARY = np.array([[1, 1], [0, 0], [1, 0]] * 3)
NAMED = [["sea", "boat"], [], ["sea"]]


def read(values: Any, kind: KindName | None = None, names: Any = None) -> LabelReader:
    return read_labels(values, "y", kind, names)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "b"], "classification"),
        ([1, 0, 2], "classification"),
        ([1.0, 0.0], "classification"),
        (np.arange(50.0), "classification"),
        (MANY, "regression"),
        (MANY[:, None], "regression"),
        (pd.Series(MANY), "regression"),
        (torch.from_numpy(MANY), "regression"),
        (np.stack([MANY, -MANY], axis=1), "regression"),
        ([[1.5, 2.5], [3.5, 4.5]], "regression"),
        (BINARY, "multilabel"),
        (BINARY.astype(bool), "multilabel"),
        (BINARY.astype(float), "multilabel"),
        (NAMED, "multilabel"),
        ([("sea",), frozenset()], "multilabel"),
    ],
)
def test_labels_tell_what_they_are(values: Any, kind: str) -> None:
    assert read(values).kind == kind


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, 1.5] * 30, "1.5 at index 1.*kind='regression'"),
        (np.eye(3)[[0, 1, 2, 1]], "argmax.*kind='multilabel'"),
        (np.array([[1, 2], [3, 4]]), r"shape \(2, 2\).*kind='regression'"),
    ],
)
def test_labels_that_may_be_several_things_name_the_kinds(values: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        read(values)


def test_a_given_kind_decides() -> None:
    assert read([0.0, 1.5] * 3, "regression").targets.tolist() == [0.0, 1.5] * 3
    assert read([1, 2, 3], "regression").targets.dtype == np.float32
    assert read(["1", "2.5"], "classification").names == ("1", "2.5")
    assert read(np.eye(2), "multilabel").targets.tolist() == [[1, 0], [0, 1]]
    objects: npt.NDArray[Any] = np.array([1, 2.5], dtype=object)
    assert read(objects, "regression").targets.tolist() == [1, 2.5]


# Numbers


def test_numbers_keep_their_unit_and_their_columns() -> None:
    reader = read(np.stack([MANY, 10 * MANY], axis=1), names=["share", "price"])
    assert reader.names == ("share", "price")
    assert reader.strata is None
    assert reader.encoded([[7, 8]], "y_test").tolist() == [[7, 8]]
    assert read(MANY[:, None]).targets.shape == (30,)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, np.nan, np.inf], "2 that are NaN, infinite or beyond float32, the first at 1"),
        ([[1.0, 2.0], [3.0, 1e39]], r"1 that are NaN.*\(1, 1\)"),
        (["a", "b"], "type <U1"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.zeros((0, 2)), r"shape \(0, 2\)"),
    ],
)
def test_what_is_no_number_is_refused(values: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        read(values, "regression")


def made(reader: LabelReader, weights: Any = None) -> Any:
    return reader.made(torch.from_numpy(reader.targets.astype(np.float32)), weights)


def test_numbers_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(TaskError, match=r"numbers in y that differ .*only 3"):
        made(read([3.0, 3.0], "regression"))
    two = np.stack([MANY, np.ones(30)], axis=1)
    with pytest.raises(TaskError, match="one value in column 1"):
        made(read(two))
    with pytest.raises(TaskError, match="one value in price"):
        made(read(two, names=["share", "price"]))
    assert made(read(MANY)).n_outputs == 1


def test_numbers_have_no_class_weights() -> None:
    with pytest.raises(TaskError, match="Leave class_weights out"):
        made(read(MANY), "balanced")


# Several labels


def test_names_of_labels_become_columns_in_sorted_order() -> None:
    reader = read(NAMED)
    assert reader.names == ("boat", "sea")
    assert reader.targets.tolist() == [[1, 1], [0, 0], [0, 1]]
    assert reader.encoded([["boat"], []], "y_test").tolist() == [[1, 0], [0, 0]]
    assert reader.encoded([[0, 1]], "y_test").tolist() == [[0, 1]]
    assert read(NAMED, names=["sea", "boat", "sky"]).targets.tolist()[0] == [1, 1, 0]
    assert read(BINARY).names == ("0", "1")
    assert read(BINARY, names=["a", "b"]).names == ("a", "b")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([["sky"]], "only labels in y_test that y has too; got unknown sky"),
        ([[1, 0, 1]], "2 labels in y_test, as in y; got 3"),
        ([[0.5, 1]], "0 or 1 .* with other numbers"),
    ],
)
def test_other_labels_of_another_part_are_refused(values: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        read(NAMED).encoded(values, "y_test")


def test_labels_that_all_or_no_training_rows_have_are_refused() -> None:
    with pytest.raises(TaskError, match="all rows or none with b, c"):
        made(read([[1, 0, 1], [0, 0, 1]], "multilabel", ["a", "b", "c"]))
    assert made(read(NAMED)).outputs == ("boat", "sea")


@pytest.mark.parametrize("kind", ["regression", "multilabel"])
def test_names_of_another_number_of_columns_are_refused(kind: KindName) -> None:
    with pytest.raises(TaskError, match=r"2 names in classes, one for each column.*got 3"):
        read(BINARY, kind, ["a", "b", "c"])


def test_numbers_of_another_width_are_refused() -> None:
    with pytest.raises(TaskError, match="1 numbers a row in y_test, as in y; got 2"):
        read(MANY).encoded(BINARY, "y_test")
