"""How far a training is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from surrogate_nas.training.outcome import Outcome, StopReason


@final
@dataclass(kw_only=True)
class Progress:
    """The learning curve and the counts of a training under way.

    Args:
        values: The validation metric after each epoch.
        losses: The mean loss of each epoch.
        n_steps: Optimizer steps made; the schedule goes on from there.
        n_rows: Inputs trained on in whole epochs.
        busy_seconds: Seconds of these epochs, without validation.
        seconds: Since the training began, without the time between two processes.
        n_parts: Into how many parts batches are cut, for want of memory.
    """

    values: tuple[float, ...] = ()
    losses: tuple[float, ...] = ()
    n_steps: int = 0
    n_rows: int = 0
    busy_seconds: float = 0.0
    seconds: float = 0.0
    n_parts: int = 1

    def outcome(self, reason: StopReason, best_epoch: int | None = None) -> Outcome:
        """Sum the training up."""
        return Outcome(
            values=self.values,
            losses=self.losses,
            stop_reason=reason,
            n_steps=self.n_steps,
            train_seconds=self.seconds,
            rows_per_second=self.n_rows / self.busy_seconds if self.values else 0.0,
            best_epoch=best_epoch,
        )
