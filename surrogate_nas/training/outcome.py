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
    NO_IMPROVEMENT = "no improvement"
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
        best_epoch: Epoch, from 0, whose weights the network has; None means the last one.
    """

    values: tuple[float, ...]
    losses: tuple[float, ...]
    stop_reason: StopReason
    n_steps: int
    train_seconds: float
    rows_per_second: float
    best_epoch: int | None = None

    @property
    def value(self) -> float:
        """The metric of the weights that the network has; NaN if no epoch was completed.

        It is that of the last epoch, or of the best one if the Trainer keeps the best.
        """
        if not self.values:
            return math.nan
        return self.values[-1 if self.best_epoch is None else self.best_epoch]

    @property
    def images_per_second(self) -> float:
        """The earlier name of :attr:`rows_per_second`."""
        return self.rows_per_second

    @property
    def epochs(self) -> int:
        """Epochs completed and validated."""
        return len(self.values)
