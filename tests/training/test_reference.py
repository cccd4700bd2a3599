"""The Trainer against a loop written down plainly: equal bit for bit on the CPU.

Recorded studies and the history that ships were made with what this loop does. A change of the
Trainer that breaks these tests changes what past results mean.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from surrogate_nas import tasks
from surrogate_nas.spaces import CellSpace
from surrogate_nas.task import Task
from surrogate_nas.training.trainer import Trainer, seeded
from tests.helpers.toys import ARCHITECTURE, ToySpace, ToyTask

CELL = {
    **{"op_0": "conv_3x3", "op_1": "skip_connect", "op_2": "avg_pool_3x3"},
    **{"op_3": "conv_1x1", "op_4": "none", "op_5": "skip_connect"},
    **{"width": 8, "depth": 1},
}


def reference(
    network: nn.Module, task: Task, epochs: int, batch_size: int, peak: float, decay: float,
    augmentation: float, smoothing: float, adam: bool,
) -> tuple[list[float], list[float]]:  # fmt: skip
    """Train as the Trainer's documentation says: losses and validation metrics."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(0)
    inputs, targets = task.prepare(task.train.inputs), task.train.targets
    params = list(network.parameters())
    optimizer: torch.optim.Optimizer = torch.optim.SGD(
        params, lr=peak, momentum=0.9, nesterov=True, fused=True
    )
    if adam:
        optimizer = torch.optim.Adam(params, lr=peak, fused=True)
    n_batches = math.ceil(len(targets) / batch_size)
    n_steps = epochs * n_batches
    warmup = min(n_batches, n_steps // 4)
    step, losses, values = 0, [], []
    with seeded(0):
        for _ in range(epochs):
            network.train()
            total = torch.zeros(())
            for rows in torch.randperm(len(targets), generator=generator).split(batch_size):  # type: ignore[no-untyped-call]
                batch = inputs[rows]
                if augmentation:
                    batch = task.augment(batch, augmentation, generator)
                if batch.ndim == 4:
                    batch = batch.contiguous(memory_format=torch.channels_last)
                loss = task.loss(network(batch), targets[rows], smoothing)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                rate = peak * (step + 1) / warmup
                if step >= warmup:
                    done = (step - warmup) / (n_steps - warmup)
                    rate = peak * 0.5 * (1.0 + math.cos(math.pi * done))
                optimizer.param_groups[0]["lr"] = rate
                with torch.no_grad():
                    for param in params:
                        if param.ndim > 1:
                            param.mul_(1.0 - rate * decay)
                optimizer.step()
                total += loss.detach()
                step += 1
            losses.append(total.item() / n_batches)
            network.eval()
            with torch.inference_mode():
                validation = task.prepare(task.validation.inputs)
                values.append(task.score(network(validation), task.validation.targets))
    return losses, values


@pytest.mark.parametrize("kind", ["toy", "cell"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"augmentation": 1.0, "label_smoothing": 0.1},
        {"optimizer": "adamw", "batch_size": 100, "augmentation": 0.5},
    ],
)
def test_the_trainer_is_the_plain_loop(kind: str, settings: dict[str, Any]) -> None:
    """Losses, metrics and every weight, for both optimizers, with dropout and augmentation."""
    task: Task = ToyTask() if kind == "toy" else tasks.digits()

    def build() -> nn.Module:
        with seeded(1):
            if kind == "toy":
                return ToySpace(dropout=0.3).build(ARCHITECTURE, task)
            return CellSpace().for_task(task).build(CELL, task)

    trainer = Trainer(epochs=2, device="cpu", **settings)
    adam = trainer.optimizer == "adamw"
    plain, trained = build(), build()
    expected = reference(
        plain, task, trainer.epochs, trainer.batch_size, 3e-3 if adam else 0.05,
        5e-2 if adam else 5e-3, trainer.augmentation or 0.0, trainer.label_smoothing, adam,
    )  # fmt: skip
    outcome = trainer.train(trained, task)
    assert (list(outcome.losses), list(outcome.values)) == expected
    for ours, theirs in zip(
        trained.state_dict().values(), plain.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, theirs)
