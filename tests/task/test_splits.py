"""Parts of a data set in memory and decoded on demand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from surrogate_nas.errors import TaskError
from surrogate_nas.task import DatasetSplit, Split
from tests.helpers.datasets import Items


def test_rows_of_a_dataset_are_those_of_its_tensors() -> None:
    items = Items(10)
    whole = Split(items.inputs, items.targets)
    rows = torch.tensor([3, 3, 9, 0])
    for part, wanted in zip(DatasetSplit(items).take(rows), whole.take(rows), strict=True):
        assert torch.equal(part, wanted)


def test_items_may_hold_arrays_numbers_and_names() -> None:
    named = [({"tokens": np.arange(3) + k, "length": k}, {"label": k % 2}) for k in range(4)]
    inputs, targets = DatasetSplit(named).take(torch.arange(4))
    assert inputs["tokens"].shape == (4, 3)
    assert inputs["length"].tolist() == [0, 1, 2, 3]
    assert targets["label"].tolist() == [0, 1, 0, 1]
    _, numbers = DatasetSplit([(torch.zeros(2), 0.5)]).take(torch.arange(1))
    assert numbers.dtype == torch.float32


def test_nothing_of_a_dataset_is_kept_in_memory() -> None:
    items = Items(10)
    split = DatasetSplit(items)
    assert split.n_bytes == 0
    assert Split(items.inputs, items.targets).n_bytes == items.inputs.nbytes + items.targets.nbytes
    assert repr(split) == "<DatasetSplit of 10 items: Items>"
    with pytest.raises(TaskError, match="decoded on demand") as error:
        split.inputs  # noqa: B018
    assert "take(rows)" in error.value.fix


def test_facts_of_a_dataset_tell_it_from_others() -> None:
    def facts(items: Any) -> list[bytes]:
        return list(DatasetSplit(items).facts())

    assert facts(Items(10)) == facts(Items(10))
    assert facts(Items(10)) != facts(Items(11))
    assert facts(Items(10)) != facts(Items(10, seed=1))


@pytest.mark.parametrize(
    ("items", "got"),
    [
        ([(torch.zeros(2), 0), torch.zeros(2)], "item 1: a Tensor, not a pair"),
        ([(torch.zeros(2), 0), (torch.zeros(3), 0)], r"item 1: shapes \[\(3,\), \(\)\] beside"),
        (Items(4, broken=2), "item 2: OSError: the file is damaged"),
    ],
)
def test_an_item_that_cannot_be_used_is_named(items: Any, got: str) -> None:
    with pytest.raises(TaskError, match=got):
        DatasetSplit(items).take(torch.arange(len(items)))


class _Endless:
    def __getitem__(self, index: int) -> Any:
        return index, index


@pytest.mark.parametrize(
    ("dataset", "options", "got", "fix"),
    [
        (_Endless(), {}, "a _Endless without one", "__len__"),
        ([], {}, "an empty list", "items"),
        (Items(2), {"n_workers": -1}, "-1", "pass 0"),
    ],
)
def test_unusable_datasets_are_refused(
    dataset: Any, options: dict[str, Any], got: str, fix: str
) -> None:
    with pytest.raises(TaskError) as error:
        DatasetSplit(dataset, **options)
    assert got in error.value.got
    assert fix in error.value.fix
