"""Several splits as one: rows keep their order, and are decoded only where they must be."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from surrogate_nas.errors import TaskError
from surrogate_nas.task import BatchDataset, DatasetSplit, Split, together
from surrogate_nas.task.decoding import decoded
from tests.helpers.datasets import Items


class Kept(BatchDataset):
    """Items of which each is decoded once."""

    def __init__(self, n: int, first: int = 0) -> None:
        self.values = torch.arange(first, first + n).float()
        self.decoded: list[int] = []

    def __len__(self) -> int:
        return len(self.values)

    @property
    def is_at_hand(self) -> bool:
        return len(set(self.decoded)) == len(self)

    def take(self, rows: torch.Tensor) -> Any:
        self.decoded += rows.tolist()
        return self.values[rows][:, None], rows

    def decode(self, rows: torch.Tensor) -> Any:
        self.take(rows)


def test_tensors_stay_tensors() -> None:
    parts = [Split(torch.zeros(3, 2), torch.zeros(3)), Split(torch.ones(2, 2), torch.ones(2))]
    both = together(parts)
    assert isinstance(both, Split)
    assert both.targets.tolist() == [0, 0, 0, 1, 1]
    assert both.inputs[:, 0].tolist() == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("n_workers", [0, 2])
def test_rows_of_all_parts_come_in_the_order_they_are_asked_for(n_workers: int) -> None:
    memory = Split(torch.arange(100.0, 104.0)[:, None], torch.arange(4))
    kept = DatasetSplit(Kept(5), n_workers, torch.arange(5))
    both = together([kept, memory, DatasetSplit(Kept(3, 50), n_workers, torch.arange(3))])
    assert len(both) == 12
    assert both.targets.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3, 0, 1, 2]
    rows = torch.tensor([11, 0, 6, 4, 5, 9])
    wanted = [52.0, 0.0, 101.0, 4.0, 100.0, 50.0]
    assert both.take(rows)[0][:, 0].tolist() == wanted
    assert isinstance(both, DatasetSplit)
    (batch,) = decoded(both, [rows])
    assert batch[0][:, 0].tolist() == wanted
    assert batch[1].tolist() == [2, 0, 1, 4, 0, 0]


def test_a_whole_is_at_hand_where_its_parts_are() -> None:
    one, two = Kept(2), Kept(2)
    both = together([DatasetSplit(one), DatasetSplit(two)])
    assert isinstance(both, DatasetSplit)
    assert [both.is_at_hand, both.decode(torch.arange(4)), both.is_at_hand] == [False, None, True]
    assert one.decoded == two.decoded == [0, 1]
    with pytest.raises(TaskError, match="whose targets are tensors in memory"):
        both.targets  # noqa: B018


def test_parts_of_one_source_are_one_dataset() -> None:
    class Joining(Kept):
        def joined_with(self, other: BatchDataset) -> BatchDataset | None:
            return Kept(len(self) + len(other)) if len(other) < 4 else None

    def kinds(*lengths: int) -> type:
        both = together([DatasetSplit(Joining(n)) for n in lengths])
        assert isinstance(both, DatasetSplit)
        assert len(both) == sum(lengths)
        return type(both.dataset)

    assert kinds(2, 3) is Kept
    assert kinds(2, 4) is not Kept
    assert kinds(2, 3, 1) is not Kept  # what is joined joins nothing more
    memory = Split(torch.zeros(2, 1), torch.zeros(2))
    mixed = together([memory, DatasetSplit(Joining(2))])
    assert mixed.take(torch.tensor([3, 0]))[0][:, 0].tolist() == [1, 0]


def test_ordinary_datasets_are_joined_as_well() -> None:
    items = Items(4)
    both = together([DatasetSplit(items), Split(items.inputs, items.targets)])
    inputs, targets = both.take(torch.arange(8))
    assert torch.equal(inputs, torch.cat([items.inputs] * 2))
    assert torch.equal(targets, torch.cat([items.targets] * 2))


def test_an_item_of_a_batch_dataset_is_one_row() -> None:
    value, target = Kept(3)[2]
    assert (value.tolist(), int(target)) == ([2.0], 2)
