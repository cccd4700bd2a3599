"""Sequences of tokens, a tag for each: whether a token is larger than the one before it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from surrogate_nas.errors import TaskError, TrainingError
from surrogate_nas.metric import Metric, find
from surrogate_nas.task import Split, Task
from surrogate_nas.tensors import Shape, Tensors, cat

from .token_accuracy import METRICS, PADDING

Named = dict[str, torch.Tensor]

LENGTH = 8
VOCABULARY = 12
TAGS = ("not larger", "larger")


@final
class TaggingTask(Task):
    """Named tensors in, named tensors of scores out of the network, decoded tags in evaluation.

    Args:
        name: Of the task.
        splits: Training, validation and test: inputs ``tokens`` (n, LENGTH) and ``lengths`` (n,),
            targets (n, LENGTH) with PADDING behind a sequence's end.
        metric: What is measured.
    """

    augments_on_device = True

    train: Split
    validation: Split
    test: Split

    def __init__(self, name: str, splits: tuple[Split, Split, Split], metric: Metric) -> None:
        self.name, self.metric, self.classes = name, metric, TAGS
        self.train, self.validation, self.test = splits
        self.shape = Shape(length=LENGTH, vocabulary=VOCABULARY, tags=len(TAGS))

    def prepare(self, inputs: Named) -> Named:
        return {name: tensor.long() for name, tensor in inputs.items()}

    def vary(
        self, inputs: Named, targets: torch.Tensor, strength: float, generator: torch.Generator
    ) -> tuple[Tensors, Tensors]:
        """Cut the last token off some sequences, and its tag with it."""
        lengths = inputs["lengths"]
        drawn = torch.rand(len(lengths), generator=generator, device=lengths.device)
        shorter = (lengths - (drawn < 0.2 * strength).long()).clamp(min=1)
        is_cut = torch.arange(LENGTH, device=lengths.device) >= shorter[:, None]
        tokens = inputs["tokens"].masked_fill(is_cut, 0)
        return {"tokens": tokens, "lengths": shorter}, targets.masked_fill(is_cut, PADDING)

    def predict(self, network: nn.Module, inputs: Named) -> Named:
        """Decode: the best tag of each token."""
        scores: Tensors = self.forward(network, inputs)
        assert isinstance(scores, dict)
        return {"tags": scores["scores"].argmax(2)}

    def check_outputs(self, outputs: Any, n: int) -> None:
        scores = outputs.get("scores") if isinstance(outputs, dict) else None
        wanted = (n, LENGTH, len(TAGS))
        if isinstance(outputs, dict) and set(outputs) == {"tags"}:
            return
        if scores is None or tuple(scores.shape) != wanted:
            raise TrainingError(
                expected=f"scores of shape {wanted}",
                got="others" if scores is None else f"{tuple(scores.shape)}",
                fix="score each token's tags",
            )

    def loss(self, outputs: Named, targets: torch.Tensor, label_smoothing: float) -> torch.Tensor:
        return functional.cross_entropy(
            outputs["scores"].flatten(0, 1),
            targets.flatten(),
            ignore_index=PADDING,
            label_smoothing=label_smoothing,
        )

    def merged(self) -> TaggingTask:
        both = Split(
            cat([self.train.inputs, self.validation.inputs]),
            cat([self.train.targets, self.validation.targets]),
        )
        return TaggingTask(self.name, (both, self.validation, self.test), self.metric)

    @property
    def meta_features(self) -> dict[str, float]:
        lengths = self.train.inputs["lengths"]
        return {"n_train": float(len(self.train)), "mean_length": float(lengths.float().mean())}


def load(
    path: str | os.PathLike[str],
    *,
    metric: str = "token_accuracy",
    name: str | None = None,
    most: int | None = None,
    is_reversed: bool = False,
) -> TaggingTask:
    """Make a task from a file with a sequence a line."""
    lines = [line.split() for line in Path(path).read_text().splitlines()[:most]]
    if not lines:
        raise TaskError(expected="a sequence a line", got="none", fix="write some")
    read = [[int(word) for word in line] for line in lines]
    sequences = [line[::-1] for line in read] if is_reversed else read
    return from_sequences(sequences, name=name or Path(path).stem, metric=metric)


def from_sequences(
    sequences: Any, *, name: str, metric: str | Metric = "token_accuracy", seed: int = 0
) -> TaggingTask:
    """Make a task from sequences of whole numbers below VOCABULARY."""
    chosen = metric if isinstance(metric, Metric) else find(metric, METRICS)
    tokens = np.zeros((len(sequences), LENGTH), dtype=np.int32)
    tags = np.full((len(sequences), LENGTH), PADDING)
    for row, sequence in enumerate(sequences):
        tokens[row, : len(sequence)] = sequence
        tags[row, : len(sequence)] = np.diff(sequence, prepend=VOCABULARY) > 0
    lengths = torch.tensor([len(sequence) for sequence in sequences], dtype=torch.int32)
    order = torch.randperm(len(sequences), generator=torch.Generator().manual_seed(seed))
    n = len(order)
    parts = torch.tensor_split(order, [3 * n // 5, 4 * n // 5])
    splits = [
        Split(
            {"tokens": torch.from_numpy(tokens)[rows], "lengths": lengths[rows]},
            torch.from_numpy(tags)[rows],
        )
        for rows in parts
    ]
    return TaggingTask(name, (splits[0], splits[1], splits[2]), chosen)


def drawn(n: int, seed: int = 0) -> list[list[int]]:
    """Draw sequences of several lengths."""
    rng = np.random.default_rng(seed)
    return [rng.integers(1, VOCABULARY, rng.integers(2, LENGTH + 1)).tolist() for _ in range(n)]
