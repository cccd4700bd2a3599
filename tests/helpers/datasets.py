"""Map-style datasets for tests, and a task whose splits are such."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.data import Dataset

import surrogate_nas as sn
from surrogate_nas.task import DatasetSplit
from tests.helpers.toys import ToyTask


class Items(Dataset[Any]):
    """Inputs (4,) and classes, one item at a time; one of them may be broken."""

    def __init__(self, n: int, seed: int = 0, broken: int | None = None) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.inputs = torch.randn(n, 4, generator=generator)
        self.targets = torch.arange(n) % 2
        self._broken = broken

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> Any:
        if index == self._broken:
            raise OSError("the file is damaged")
        return self.inputs[index], int(self.targets[index])


class OfTensors(Dataset[Any]):
    """The rows of a split in memory, one at a time."""

    def __init__(self, split: sn.Split, broken: int | None = None) -> None:
        self._split, self._broken = split, broken

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, index: int) -> Any:
        if index == self._broken:
            raise OSError("the file is damaged")
        return self._split.inputs[index], self._split.targets[index]


def on_demand(task: ToyTask, n_workers: int = 0, broken: int | None = None) -> ToyTask:
    """Return a task whose training and validation splits are decoded on demand."""
    assert isinstance(task.train, sn.Split)
    assert isinstance(task.validation, sn.Split)
    task.train = DatasetSplit(OfTensors(task.train, broken), n_workers)
    task.validation = DatasetSplit(OfTensors(task.validation), n_workers)
    return task
