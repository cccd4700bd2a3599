"""A split on the device: prepared inputs and targets, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import final

import torch

from surrogate_nas.task import Split, Task

_PREPARED_BYTES = 2**31
"""A split that is larger than this as float32 stays raw and is prepared batch by batch."""


@final
class Resident:
    """A split that lives on the device, prepared once if it is small enough."""

    def __init__(self, split: Split, task: Task, device: torch.device) -> None:
        numbers = len(split) * math.prod(task.input_shape)
        self._is_prepared = 4 * numbers <= _PREPARED_BYTES
        self._task = task
        inputs = split.inputs.to(device)
        self._inputs = task.prepare(inputs) if self._is_prepared else inputs
        self.targets = split.targets.to(device)

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the prepared inputs and the targets of some rows."""
        inputs, targets = self._inputs.index_select(0, rows), self.targets.index_select(0, rows)
        return (inputs if self._is_prepared else self._task.prepare(inputs)), targets

    def inputs(self, batch_size: int) -> Iterator[torch.Tensor]:
        """Yield all prepared inputs in order."""
        for inputs in torch.split(self._inputs, batch_size):
            yield inputs if self._is_prepared else self._task.prepare(inputs)
