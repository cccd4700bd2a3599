"""What training returned, and why it ended."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import final


class StopReason(enum.Enum):
    """Why training ended; the values are what users read."""

    FINISHED = "finished"
    NOT_FINITE = "loss is not finite"
    TIME_LIMIT = "time limit"
    PRUNED = "pruned"
    OUT_OF_MEMORY = "out of memory"


@final
@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What training returned.

    Args:
        values: The validation metric after each completed epoch: the learning curve.
        losses: The mean training loss of each of these epochs.
        stop_reason: Why training ended.
        n_steps: Optimizer steps made, those of an epoch that was cut short included.
        train_seconds: Wall-clock seconds of the whole call, validation included.
        rows_per_second: Inputs trained on per second, validation excluded; 0 if no epoch ended.
    """

    values: tuple[float, ...]
    losses: tuple[float, ...]
    stop_reason: StopReason
    n_steps: int
    train_seconds: float
    rows_per_second: float

    @property
    def value(self) -> float:
        """The metric after the last completed epoch, not the best one; NaN if there is none."""
        return self.values[-1] if self.values else math.nan

    @property
    def images_per_second(self) -> float:
        """The earlier name of :attr:`rows_per_second`."""
        return self.rows_per_second

    @property
    def epochs(self) -> int:
        """Epochs completed and validated."""
        return len(self.values)
