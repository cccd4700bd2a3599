"""Parts of a data set: tensors in memory, or a map-style dataset that is decoded on demand."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, final

import torch
from torch.utils.data import default_collate

from surrogate_nas import tensors
from surrogate_nas.errors import TaskError
from surrogate_nas.tensors import AnyTensors, Tensors

Batch: TypeAlias = tuple[AnyTensors, AnyTensors]
"""Inputs and targets of the same n rows."""


class MapStyle(Protocol):
    """A map-style dataset, such as a ``torch.utils.data.Dataset`` with a length."""

    def __len__(self) -> int:
        """Return the number of items."""

    def __getitem__(self, index: int, /) -> Any:
        """Return an item: its raw inputs and its target."""


class BatchDataset(abc.ABC):
    """A map-style dataset that reads many items at once, such as rows of a file.

    Items may be decoded once and kept by the dataset. Then worker processes decode what is not at
    hand, and later batches need no process.
    """

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of items."""

    @abc.abstractmethod
    def take(self, rows: torch.Tensor) -> Batch:
        """Return inputs and targets of some items, by their numbers (n,).

        Raises:
            TaskError: An item cannot be read.
        """

    @property
    @abc.abstractmethod
    def is_at_hand(self) -> bool:
        """Whether all items can be read without decoding."""

    def decode(self, rows: torch.Tensor) -> Batch | None:
        """Return the same as :meth:`take` in a worker process.

        None says that the training's process now finds these items at hand, and spares the way
        of the batch from process to process.

        Raises:
            TaskError: An item cannot be read.
        """
        return self.take(rows)

    def joined_with(self, other: BatchDataset) -> BatchDataset | None:
        """Return a dataset of these items and of others behind them; None if there is none."""
        del other
        return None

    def __getitem__(self, index: int, /) -> Any:
        """Return an item: its inputs and its target."""
        inputs, targets = self.take(torch.tensor([index]))
        return tensors.apply(lambda one: one[0], inputs), tensors.apply(
            lambda one: one[0], targets
        )


@final
@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set, in memory.

    Args:
        inputs: Raw inputs: a tensor (n, ...) in a compact type such as uint8, or named tensors,
            each of n rows.
        targets: What is to be predicted: a tensor (n, ...), or named tensors of n rows.

    Raises:
        TaskError: It is empty, or its tensors differ in length.
    """

    inputs: AnyTensors
    targets: AnyTensors

    def __post_init__(self) -> None:
        if not tensors.is_tensors(self.inputs) or not tensors.is_tensors(self.targets):
            raise TaskError(
                expected="a tensor, or named tensors, as inputs and as targets",
                got=f"{type(self.inputs).__name__} and {type(self.targets).__name__}",
                fix="convert arrays with torch.from_numpy",
            )
        counts = tensors.row_counts(self.inputs) | tensors.row_counts(self.targets)
        if len(counts) > 1 or 0 in counts:
            inputs, targets = _counted(self.inputs), _counted(self.targets)
            raise TaskError(
                expected="as many inputs as targets, and at least one",
                got=f"{inputs} inputs and {targets} targets",
                fix="give each row its target",
            )

    def __len__(self) -> int:
        return tensors.n_rows(self.targets)

    @property
    def n_bytes(self) -> int:
        """Size in memory, in bytes."""
        return tensors.n_bytes(self.inputs) + tensors.n_bytes(self.targets)

    @property
    def device(self) -> torch.device:
        """Device that the rows lie on."""
        return tensors.device_of(self.inputs)

    def take(self, rows: torch.Tensor) -> Batch:
        """Return raw inputs and targets of some rows, by their numbers (n,) on any device."""
        at = rows.to(self.device)
        # Targets may lie on another device than the inputs.
        targets = tensors.take(self.targets, rows.to(tensors.device_of(self.targets)))
        return tensors.take(self.inputs, at), targets

    def facts(self) -> Iterator[bytes]:
        """Yield what tells this part of a data set from others: shapes, types and all targets."""
        # NOTE: what is yielded for a tensor must never change: studies remember its hash.
        for name, shape, dtype in sorted(tensors.facts(self.inputs), key=lambda one: one[0]):
            # A single tensor has no name, and must not leave a space in the hash.
            yield f"{name} {shape} {dtype}".lstrip().encode()
        yield from _numbers(self.targets)
        # Targets are hashed whole. Inputs may be gigabytes, so a sample stands for them.
        yield from _numbers(self.take(evenly(len(self)))[0])


@final
class DatasetSplit:
    """One part of a data set that is decoded on demand, item by item.

    For data that do not fit into memory: items are decoded by worker processes, a bounded number
    of batches ahead of the training. An item must be the same each time that it is asked for.
    Random variation belongs into :meth:`Task.vary <surrogate_nas.Task.vary>`.

    Args:
        dataset: Map-style dataset. Item k is a pair of raw inputs and target: tensors, arrays or
            numbers, or dicts of these by name, of the same shapes for all items.
        n_workers: Number of processes that decode; 0 decodes in the process that trains, and None
            takes one for each available core, at most four.
        targets: Targets of all items, (n, ...), where they are known without decoding.

    Raises:
        TaskError: The dataset has no length or no items, the number of workers is negative, or
            the targets are those of another number of items.
    """

    def __init__(
        self,
        dataset: MapStyle,
        n_workers: int | None = None,
        targets: AnyTensors | None = None,
    ) -> None:
        self.dataset = dataset
        self.n_workers = n_workers
        self._targets = targets
        if n_workers is not None and n_workers < 0:
            raise TaskError(
                expected="n_workers of at least 0",
                got=repr(n_workers),
                fix="leave it out for one process a core, or pass 0 to decode without processes",
            )
        try:
            self._length = len(dataset)
        except TypeError as error:
            raise TaskError(
                expected="a map-style dataset, which has a length",
                got=f"a {type(dataset).__name__} without one",
                fix="wrap it into a torch.utils.data.Dataset with __len__ and __getitem__",
            ) from error
        if self._length == 0:
            raise TaskError(
                expected="a dataset with at least one item",
                got=f"an empty {type(dataset).__name__}",
                fix="check how its items were listed",
            )
        if targets is not None and tensors.row_counts(targets) != {self._length}:
            raise TaskError(
                expected=f"targets of all {self._length} items",
                got=f"targets of {_counted(targets)}",
                fix="give each item its target",
            )

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return f"<DatasetSplit of {len(self):,} items: {type(self.dataset).__name__}>"

    @property
    def inputs(self) -> AnyTensors:
        """Refuse: the inputs are not in memory.

        Raises:
            TaskError: Always.
        """
        raise self._not_in_memory("inputs")

    @property
    def targets(self) -> AnyTensors:
        """Targets of all items (n, ...), if they were given.

        Raises:
            TaskError: They are not in memory.
        """
        if self._targets is None:
            raise self._not_in_memory("targets")
        return self._targets

    @property
    def knows_targets(self) -> bool:
        """Whether the targets of all items are in memory."""
        return self._targets is not None

    @property
    def is_at_hand(self) -> bool:
        """Whether all items can be read without decoding, so that no process has to."""
        return isinstance(self.dataset, BatchDataset) and self.dataset.is_at_hand

    def _not_in_memory(self, what: str) -> TaskError:
        return TaskError(
            expected=f"a split whose {what} are tensors in memory",
            got=f"{self!r}, which is decoded on demand",
            fix="read some rows with take(rows)",
        )

    @property
    def n_bytes(self) -> int:
        """Size in memory, in bytes: nothing is kept."""
        return 0

    @property
    def device(self) -> torch.device:
        """Device that the rows are decoded on."""
        return torch.device("cpu")

    def take(self, rows: torch.Tensor) -> Batch:
        """Return raw inputs and targets of some rows, by their numbers (n,).

        Raises:
            TaskError: An item cannot be read, or differs from the others in shape.
        """
        if isinstance(self.dataset, BatchDataset):
            return self.dataset.take(rows)
        return joined([self.item(row) for row in rows.tolist()])

    def decode(self, rows: torch.Tensor) -> Batch | None:
        """Return the same as :meth:`take`, or None where it now finds these rows at hand.

        Raises:
            TaskError: An item cannot be read, or differs from the others in shape.
        """
        if isinstance(self.dataset, BatchDataset):
            return self.dataset.decode(rows)
        return self.take(rows)

    def item(self, row: int) -> Item:
        """Return an item, or why it cannot be read. Nothing is raised: processes hand it on."""
        found = read_item(self.dataset, row)
        if isinstance(found, Unreadable):
            return found
        if not isinstance(found, tuple | list) or len(found) != 2:
            return Unreadable(row, f"a {type(found).__name__}, not a pair of inputs and target")
        return row, (found[0], found[1])

    def facts(self) -> Iterator[bytes]:
        """Yield what tells this part of a data set from others: its length and a sample."""
        inputs, targets = self.take(evenly(len(self)))
        if self._targets is not None:
            yield from _numbers(self._targets)
        yield f"{len(self)} items".encode()
        for part in (inputs, targets):
            for name, shape, dtype in sorted(tensors.facts(part), key=lambda one: one[0]):
                # The first axis is the size of the sample, and says nothing about the items.
                yield f"{name} {shape[1:]} {dtype}".lstrip().encode()
            yield from _numbers(part)


def read_item(dataset: MapStyle, row: int) -> Any:
    """Return what a dataset gives for a number, or why it cannot be read. Nothing is raised."""
    try:
        # NOTE: a value, as a DataLoader would wrap what its process raises into a new text.
        return dataset[row]
    except Exception as error:  # the dataset is the user's, and raises whatever it likes
        return Unreadable(row, f"{type(error).__name__}: {error}")


SplitLike: TypeAlias = Split | DatasetSplit
"""One part of a data set, in memory or decoded on demand."""


@final
@dataclass(frozen=True)
class Unreadable:
    """An item of a dataset that cannot be read.

    Args:
        row: Its number.
        why: Error in words.
    """

    row: int
    why: str


Item: TypeAlias = tuple[int, tuple[Any, Any]] | Unreadable
"""An item's number with its inputs and target, or why it cannot be read."""


def joined(items: Sequence[Item]) -> Batch:
    """Put items into one batch; floating-point numbers become float32.

    Raises:
        TaskError: An item cannot be read, or its shape differs from that of the first one.
    """
    for item in items:
        if isinstance(item, Unreadable):
            raise TaskError(
                expected="a dataset whose every item can be read, as inputs and target",
                got=f"item {item.row}: {item.why}",
                fix="repair or leave out this item",
            )
    read = [item for item in items if not isinstance(item, Unreadable)]
    try:
        inputs, targets = default_collate([pair for _, pair in read])
        # NOTE: collating makes float64 of Python's numbers, and networks take float32.
        return tensors.in_float32(inputs), tensors.in_float32(targets)
    except (RuntimeError, TypeError, KeyError, ValueError, AttributeError) as error:
        row, why = _odd_one(read)
        raise TaskError(
            expected="items of one shape, as tensors, arrays, numbers or dicts of these",
            got=f"item {row}: {why or error}",
            fix="bring all items to one shape in the dataset, for example by resizing or padding",
        ) from error


def _odd_one(read: Sequence[tuple[int, tuple[Any, Any]]]) -> tuple[int, str]:
    """Return the first item that cannot be joined with the first one, and how it differs."""
    first = read[0][1]
    for row, pair in read:
        try:
            # The error of a whole batch does not say which item it means. A batch of two does.
            default_collate([first, pair])
        except (RuntimeError, TypeError, KeyError, ValueError, AttributeError):
            sides = [[tuple(getattr(part, "shape", ())) for part in one] for one in (pair, first)]
            return row, f"shapes {sides[0]} beside {sides[1]} of item {read[0][0]}"
    return read[0][0], ""


def evenly(length: int, most: int = 64) -> torch.Tensor:
    """Return evenly spaced row numbers, 64 or another number of them, that stand for a part."""
    count = min(length, most)
    # NOTE: in float32 row numbers above 2**24 would be rounded.
    return torch.linspace(0, length - 1, count, dtype=torch.float64).long()


def _numbers(part: Tensors) -> Iterator[bytes]:
    """Yield the names and numbers of tensors."""
    for name, tensor in sorted(tensors.named(part).items()):
        yield name.encode()
        yield tensor.cpu().contiguous().numpy().tobytes()


def _counted(given: Tensors) -> str:
    """Say how many rows there are, of each name where that differs."""
    counts = {name: len(t) if t.ndim else 0 for name, t in tensors.named(given).items()}
    if len(set(counts.values())) == 1:
        return str(next(iter(counts.values())))
    return ", ".join(f"{count} {name!r}" for name, count in counts.items())
