from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from surrogate_nas.domains.finetuning.frozen import Extractor, FrozenTask, all_targets
from surrogate_nas.domains.finetuning.store import ArrayStore
from surrogate_nas.task import DatasetSplit, Split
from surrogate_nas.training.trainer import Trainer
from tests.helpers.backbones import photos


class Mean(nn.Module):
    """Features: the mean of each channel. Counts the rows that went through."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.rows += len(images)
        return images.mean((2, 3))


@pytest.fixture
def front() -> Mean:
    return Mean()


@pytest.fixture
def extractor(front: Mean, tmp_path: Path) -> Extractor:
    return Extractor(front, "key", ArrayStore(tmp_path))


def test_features_are_computed_once_a_split(front: Mean, extractor: Extractor) -> None:
    task = photos(200)
    view = FrozenTask(task, extractor)
    assert front.rows == 150
    again = FrozenTask(photos(200), extractor)
    assert front.rows == 150
    torch.testing.assert_close(view.train.inputs, task.example(100).mean((2, 3)))
    assert torch.equal(view.train.inputs, again.train.inputs)
    assert len(view.test) == 50
    assert front.rows == 200
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = view.nothing


def test_loss_and_metric_are_the_task_s(extractor: Extractor) -> None:
    task = photos()
    view = FrozenTask(task, extractor)
    outputs, targets = torch.randn(5, 3), torch.arange(5) % 3
    assert view.loss(outputs, targets, 0.1) == task.loss(outputs, targets, 0.1)
    assert view.score(outputs, targets) == task.score(outputs, targets)
    assert (view.metric, view.direction, view.n_outputs) == (task.metric, "maximize", 3)
    assert view.meta_features == task.meta_features
    assert view.fingerprint != task.fingerprint
    assert len(view.merged().train) == len(task.train) + len(task.validation)


def test_a_head_is_trained_on_it(extractor: Extractor) -> None:
    view = FrozenTask(photos(), extractor)
    outcome = Trainer(epochs=60, learning_rate=0.5, device="cpu").train(nn.Linear(3, 3), view)
    assert outcome.value == 1.0


def test_rows_that_are_decoded_on_demand(extractor: Extractor) -> None:
    class Rows:
        def __len__(self) -> int:
            return 70

        def __getitem__(self, row: int, /) -> tuple[object, int]:
            return np.full((3, 16, 16), row, dtype=np.uint8), row % 3

    task, split = photos(), DatasetSplit(Rows(), n_workers=0)
    features = extractor.features(task, split, torch.tensor([3, 69]))
    wanted = task.prepare(torch.tensor([3, 69]).view(2, 1, 1, 1).expand(2, 3, 16, 16).byte())
    torch.testing.assert_close(features, wanted.mean((2, 3)))
    assert torch.equal(all_targets(split), torch.arange(70) % 3)
    assert all_targets(split) is all_targets(split)


def test_other_rows_and_other_labels_are_other_features(front: Mean, extractor: Extractor) -> None:
    task = photos()
    extractor.features(task, task.train)
    extractor.features(task, task.train, torch.tensor([0, 1]))
    assert front.rows == 32
    extractor.features(task, Split(task.train.inputs, (task.train.targets + 1) % 3))
    assert front.rows == 62
