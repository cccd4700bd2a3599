"""Several splits as one, in memory or decoded on demand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import torch

from surrogate_nas import tensors
from surrogate_nas.task.splits import Batch, BatchDataset, DatasetSplit, Split, SplitLike


def together(parts: Sequence[SplitLike]) -> SplitLike:
    """Return the rows of several splits as one split; in memory if all of them are."""
    in_memory = [part for part in parts if isinstance(part, Split)]
    on_demand = [part for part in parts if isinstance(part, DatasetSplit)]
    if not on_demand:
        return Split(
            tensors.cat([part.inputs for part in in_memory]),
            tensors.cat([part.targets for part in in_memory]),
        )
    targets = None
    if all(part.knows_targets for part in on_demand):
        targets = tensors.cat([part.targets for part in parts])
    return DatasetSplit(_joined(parts) or _Together(parts), on_demand[0].n_workers, targets)


def _joined(parts: Sequence[SplitLike]) -> BatchDataset | None:
    """Return one dataset for all parts, if they are of one source; None otherwise."""
    found: BatchDataset | None = None
    for number, part in enumerate(parts):
        own = part.dataset if isinstance(part, DatasetSplit) else None
        if not isinstance(own, BatchDataset):
            return None
        found = own if number == 0 else found and found.joined_with(own)
    return found


@final
class _Together(BatchDataset):
    """The items of several splits, one after the other."""

    def __init__(self, parts: Sequence[SplitLike]) -> None:
        self._parts = tuple(parts)
        lengths = torch.tensor([len(part) for part in parts])
        self._starts = torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def is_at_hand(self) -> bool:
        """Whether those of all parts are."""
        return all(isinstance(part, Split) or part.is_at_hand for part in self._parts)

    def take(self, rows: torch.Tensor) -> Batch:
        """Return items of any parts, in the order of their numbers."""
        asked = list(self._asked(rows))
        return _ordered([part.take(own) for part, own, _ in asked], [at for *_, at in asked])

    def decode(self, rows: torch.Tensor) -> Batch | None:
        """Return the same in a worker process, or None where each part is at hand afterwards."""
        asked = list(self._asked(rows))
        found = [
            part.take(own) if isinstance(part, Split) else part.decode(own)
            for part, own, _ in asked
        ]
        if all(batch is None for batch in found):
            return None
        read = [
            part.take(own) if batch is None else batch
            for (part, own, _), batch in zip(asked, found, strict=True)
        ]
        return _ordered(read, [at for *_, at in asked])

    def _asked(self, rows: torch.Tensor) -> Iterator[tuple[SplitLike, torch.Tensor, torch.Tensor]]:
        """Yield each part that rows are asked of: their numbers there, and their places."""
        of_part = torch.bucketize(rows, self._starts[1:], right=True)
        for number, part in enumerate(self._parts):
            at = (of_part == number).nonzero()[:, 0]
            if len(at):
                yield part, rows[at] - self._starts[number], at


def _ordered(batches: Sequence[Batch], places: Sequence[torch.Tensor]) -> Batch:
    """Return the rows of several batches at their places."""
    order = torch.cat(list(places)).argsort()
    inputs, targets = (tensors.cat(list(one)) for one in zip(*batches, strict=True))
    return tensors.take(inputs, order), tensors.take(targets, order)
