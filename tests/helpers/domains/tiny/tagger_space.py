"""Networks that score each token's tags: an embedding, one layer that mixes tokens, a head."""

from __future__ import annotations

from typing import Any, final

import optuna
import torch
from torch import nn

from surrogate_nas.space import Architecture, SearchSpace, TaskShape


class Tagger(nn.Module):
    """Token numbers (n, length) -> scores (n, length, tags)."""

    def __init__(self, mixing: str, width: int, shape: Any) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape["vocabulary"], width)
        self.mixing = mixing
        if mixing == "gru":
            self.layer: nn.Module = nn.GRU(width, width, batch_first=True)
        elif mixing == "attention":
            self.layer = nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, batch_first=True)
        else:
            self.layer = nn.Conv1d(width, width, 3, padding=1)
        self.position = nn.Parameter(torch.randn(shape["length"], width))
        self.head = nn.Linear(width, shape["tags"])

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.embedding(tokens) + self.position
        is_token = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        x = x * is_token[:, :, None]
        if self.mixing == "gru":
            x = self.layer(x)[0]
        elif self.mixing == "attention":
            x = self.layer(x)
        else:
            x = self.layer(x.transpose(1, 2)).transpose(1, 2)
        return {"scores": self.head(x.relu())}


@final
class TaggerSpace(SearchSpace):
    """Width and kind of the layer that mixes tokens."""

    def __init__(self, *, widest: int = 16) -> None:
        self.widest = widest

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {
            "mixing": trial.suggest_categorical("mixing", ("conv", "gru", "attention")),
            "width": trial.suggest_int("width", 4, self.widest, step=4),
        }

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        return Tagger(architecture["mixing"], architecture["width"], task.shape)

    def config(self) -> dict[str, Any]:
        return {"widest": self.widest}
