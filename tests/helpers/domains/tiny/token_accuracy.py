"""Share of right tags, summed up batch by batch."""

from __future__ import annotations

from typing import final

import torch

from surrogate_nas.metric import Metric

PADDING = -1


@final
class TokenAccuracy:
    """Counts right tags."""

    def __init__(self) -> None:
        self.right = self.total = 0

    def update(self, outputs: dict[str, torch.Tensor], targets: torch.Tensor, /) -> None:
        is_token = targets != PADDING
        self.right += int(((outputs["tags"] == targets) & is_token).sum())
        self.total += int(is_token.sum())

    def compute(self) -> float:
        return self.right / self.total


METRICS = {
    "token_accuracy": Metric("token_accuracy", "maximize", scorer=TokenAccuracy),
}
