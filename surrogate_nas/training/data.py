"""Splits as the training loop takes them: resident on the device, or streamed to it.

What has been put on a device stays there as long as its task lives, so that the next network, or
one that is trained beside it, starts at once.
"""

from __future__ import annotations

import abc
import functools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias, TypeVar, final

import torch

from surrogate_nas import tensors
from surrogate_nas.task import DatasetSplit, Split, SplitLike, Task
from surrogate_nas.task.decoding import decoded
from surrogate_nas.tensors import AnyTensors, Tensors

Batch: TypeAlias = tuple[AnyTensors, AnyTensors]
"""Prepared inputs (n, *input_shape) and targets (n, ...): tensors or named tensors."""

_Key = TypeVar("_Key")
_Made = TypeVar("_Made")

_PREPARED_BYTES = 2**31
"""On the CPU a split that is larger than this as float32 stays raw, prepared batch by batch."""

_SHARE_OF_FREE = 0.5
"""A split that takes more of a GPU's free memory is streamed: networks need the rest."""

_AHEAD = 3
"""Batches that are under way to the device while one is trained on."""


_DECODED_ROWS = 64
"""Largest batch of an evaluation whose rows are decoded on demand: they may be large."""


class Source(abc.ABC):
    """A split, batch by batch."""

    is_resident: bool
    """Whether :meth:`take` reads what lies on the device already, without waiting for the host."""
    most_rows: int | None = None
    """Largest batch that an evaluation may ask for; None leaves that to the device."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abc.abstractmethod
    def rows(self, order: torch.Tensor) -> torch.Tensor:
        """Return row numbers (n,) where :meth:`take` wants them."""

    @abc.abstractmethod
    def take(self, rows: torch.Tensor) -> Batch:
        """Return the batch of some rows, on the device."""

    @abc.abstractmethod
    def batches(self, rows: Sequence[torch.Tensor]) -> Iterator[Batch]:
        """Yield a batch for each set of rows."""

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Yield all rows in order, for an evaluation."""
        return self.batches(torch.split(self.rows(torch.arange(len(self))), batch_size))


@final
@dataclass(frozen=True)
class _Stored:
    """A split on a device; it must not hold its task, which holds it alive."""

    split: Split
    inputs: Tensors
    targets: Tensors
    is_prepared: bool


@final
class Resident(Source):
    """A split that lies on the device: on the CPU prepared if it is small enough, else raw.

    Raw images are bytes, a quarter of what they are when prepared, and a GPU prepares a batch in
    no time.
    """

    is_resident = True

    def __init__(self, stored: _Stored, task: Task) -> None:
        self._stored = stored
        self._task = task
        self.targets = stored.targets

    def __len__(self) -> int:
        return tensors.n_rows(self.targets)

    def rows(self, order: torch.Tensor) -> torch.Tensor:
        """Return row numbers on the device."""
        return order.to(tensors.device_of(self.targets))

    def take(self, rows: torch.Tensor) -> Batch:
        """Return the prepared inputs and the targets of some rows."""
        inputs = self._prepared(tensors.take(self._stored.inputs, rows))
        return inputs, tensors.take(self.targets, rows)

    def batches(self, rows: Sequence[torch.Tensor]) -> Iterator[Batch]:
        """Yield a batch for each set of rows."""
        return map(self.take, rows)

    def in_order(self, batch_size: int) -> Iterator[Batch]:
        """Yield all rows in order, without a copy where they are prepared."""
        inputs = map(self._prepared, tensors.split(self._stored.inputs, batch_size))
        return zip(inputs, tensors.split(self.targets, batch_size), strict=True)

    def _prepared(self, inputs: AnyTensors) -> AnyTensors:
        return inputs if self._stored.is_prepared else self._task.prepare(inputs)


@final
class Streamed(Source):
    """A split that is not on the device: its batches are gathered and sent ahead.

    A thread gathers the rows of tensors. Worker processes decode those of a dataset, and the
    thread sends them. Either way at most a few batches are under way.
    """

    is_resident = False

    def __init__(self, split: SplitLike, task: Task, device: torch.device) -> None:
        self._split = split
        self._task = task
        self._device = device
        if isinstance(split, DatasetSplit):
            self.most_rows = _DECODED_ROWS
        self._stream: torch.cuda.Stream | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def rows(self, order: torch.Tensor) -> torch.Tensor:
        """Return row numbers where the split is."""
        return order.to(self._split.device)

    def __len__(self) -> int:
        return len(self._split)

    def take(self, rows: torch.Tensor) -> Batch:
        """Return the batch of some rows."""
        return next(self.batches([rows]))

    def batches(self, rows: Sequence[torch.Tensor]) -> Iterator[Batch]:
        """Yield a batch for each set of rows, the next ones already under way."""
        for (inputs, targets), arrival in ahead(self._send, self._gathered(rows), _AHEAD):
            if arrival is not None:
                # NOTE: the device waits for the copy, and the host does not.
                current = torch.cuda.current_stream(self._device)
                current.wait_event(arrival)
                # NOTE: the memory belongs to the stream that copied. This keeps it from giving the
                # memory to a later batch while the training still reads it.
                for tensor in (*tensors.leaves(inputs), *tensors.leaves(targets)):
                    tensor.record_stream(current)
            yield self._task.prepare(inputs), targets

    def _gathered(self, rows: Sequence[torch.Tensor]) -> Iterator[Callable[[], Batch]]:
        """Yield for each set of rows how to get its batch."""
        if isinstance(self._split, DatasetSplit) and not self._split.is_at_hand:
            for batch in decoded(self._split, rows):
                # A partial holds this batch, and a lambda would see the loop's latest one.
                yield functools.partial(_given, batch)
        else:
            for some in rows:
                yield functools.partial(self._split.take, some)

    def _send(self, gather: Callable[[], Batch]) -> tuple[Batch, torch.cuda.Event | None]:
        """Gather some rows and begin to copy them; the event is when they have arrived."""
        found = gather()
        if self._stream is None:
            inputs, targets = (tensors.to_device(t, self._device) for t in found)
            return (inputs, targets), None
        with torch.cuda.stream(self._stream):
            inputs, targets = (
                # Only a copy from page-locked memory runs beside other work.
                tensors.to_device(tensors.pinned(t), self._device, non_blocking=True)
                for t in found
            )
            return (inputs, targets), self._stream.record_event()


def _given(batch: Batch) -> Batch:
    return batch


def ahead(make: Callable[[_Key], _Made], keys: Iterable[_Key], n_ahead: int) -> Iterator[_Made]:
    """Yield ``make(key)`` for each key in order; a thread makes up to ``n_ahead`` in advance."""
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        pending: deque[Future[_Made]] = deque()
        try:
            for key in keys:
                pending.append(pool.submit(make, key))
                if len(pending) > n_ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            # A reader may stop early. The pool then waits for the one batch that is being made.
            for future in pending:
                future.cancel()


def source(split: SplitLike, task: Task, device: torch.device) -> Source:
    """Return a split as it best gets to a device."""
    if isinstance(split, DatasetSplit):
        return Streamed(split, task, device)
    # NOTE: under a lock, or two trainings that begin together would store a split twice.
    with _STORING:
        of_task = _stored.setdefault(task, {})
        at = (id(split), device)
        if at not in of_task:
            # Not remembered, because the next training may find more free memory.
            if not _fits(split, device):
                return Streamed(split, task, device)
            of_task[at] = _store(split, task, device)
        return Resident(of_task[at], task)


_STORING = threading.Lock()
_stored: weakref.WeakKeyDictionary[Task, dict[tuple[int, torch.device], _Stored]] = (
    weakref.WeakKeyDictionary()
)
"""What lies on devices. A stored split keeps its own Split, so that no other gets its id."""


def _store(split: Split, task: Task, device: torch.device) -> _Stored:
    is_prepared = device.type == "cpu" and prepared_bytes(split, task) <= _PREPARED_BYTES
    inputs, targets = (tensors.to_device(t, device) for t in (split.inputs, split.targets))
    stored = _Stored(split, task.prepare(inputs) if is_prepared else inputs, targets, is_prepared)
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()  # other streams will read it
    return stored


def _fits(split: Split, device: torch.device) -> bool:
    """Whether a split may stay on a device."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return split.n_bytes <= _SHARE_OF_FREE * free


def prepared_bytes(split: SplitLike, task: Task) -> int:
    """Return the size of what is kept of a split's prepared inputs, judged by the first one."""
    inputs, _ = split.take(torch.zeros(1, dtype=torch.long))
    # Of a dataset that is decoded on demand only the batches under way are in memory.
    n_kept = min(len(split), _DECODED_ROWS * _AHEAD) if split.n_bytes == 0 else len(split)
    return n_kept * tensors.n_bytes(task.prepare(inputs))
