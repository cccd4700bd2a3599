"""Batches of a dataset that worker processes decode, a bounded number of them ahead."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch.utils.data import DataLoader, Dataset

from surrogate_nas.errors import TaskError
from surrogate_nas.task.splits import Batch, BatchDataset, DatasetSplit, Item, joined

_MOST_WORKERS = 4
"""Largest number of processes for one split, unless the split says otherwise."""
_AHEAD = 2
"""Number of batches that each process may have decoded before they are asked for."""


def decoded(split: DatasetSplit, rows: Sequence[torch.Tensor]) -> Iterator[Batch]:
    """Yield the batch of raw inputs and targets for each set of rows, in order.

    Args:
        split: The dataset.
        rows: Row numbers (n,) of each batch.

    Raises:
        TaskError: An item cannot be read, or differs from the others in shape.
    """
    n_workers = 0 if split.is_at_hand else min(n_workers_of(split), len(rows))
    if n_workers == 0:
        for some in rows:
            yield split.take(some)
        return
    # NOTE: a loader seeds its processes by PyTorch's global generator unless it has its own, and
    # a training would then depend on the number of processes.
    loader: DataLoader[Any] = DataLoader(
        _Items(split),
        batch_sampler=[some.tolist() for some in rows],
        num_workers=n_workers,
        prefetch_factor=_AHEAD,
        collate_fn=_as_it_is,
        worker_init_fn=_begin_worker,
        generator=torch.Generator().manual_seed(0),
    )
    for some, batch in zip(rows, loader, strict=True):
        if isinstance(batch, _Refused):
            raise TaskError(expected=batch.expected, got=batch.got, fix=batch.fix)
        # A tuple becomes a list on its way between processes.
        inputs, targets = split.take(some) if batch is None else batch
        yield inputs, targets


def n_workers_of(split: DatasetSplit) -> int:
    """Return the number of processes that decode a split."""
    if split.n_workers is not None:
        return split.n_workers
    cores = len(os.sched_getaffinity(0)) if "sched_getaffinity" in dir(os) else os.cpu_count()
    return min(cores or 1, _MOST_WORKERS)


@final
class _Items(Dataset[Item]):
    """The items of a split, as a loader asks for them: an unreadable one raises nothing.

    PyTorch's loader would raise an error of another class in the training's process.
    """

    def __init__(self, split: DatasetSplit) -> None:
        self._split = split

    def __getitem__(self, row: int) -> Item:
        return self._split.item(row)

    def __getitems__(self, rows: Sequence[int]) -> Batch | _Refused | None:
        """Return the batch of some items, or why there is none; None where it is at hand."""
        try:
            if isinstance(self._split.dataset, BatchDataset):
                return self._split.decode(torch.tensor(rows))
            return joined([self[row] for row in rows])
        except TaskError as error:
            return _Refused(error.expected, error.got, error.fix)


@final
@dataclass(frozen=True)
class _Refused:
    """The parts of an error, which a process hands to another one."""

    expected: str
    got: str
    fix: str


def _as_it_is(batch: Any) -> Any:
    """Return what the items' process has put together."""
    return batch


def _begin_worker(_number: int) -> None:
    """Let the training's process alone decide about Ctrl-C and SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A loader ends its processes by SIGTERM, which the training's handler would make an error.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    # NOTE: what the process has inherited is no garbage. Else it is looked through again and
    # again, and its memory is copied.
    gc.freeze()
