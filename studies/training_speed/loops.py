"""The loops that the Trainer is compared with, written by hand, and the Trainer itself.

Each takes a network that was built on the CPU and a job, trains, validates after every epoch and
returns the last accuracy. What is timed is the whole call.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from surrogate_nas.domains.images.images import ImageTask
from surrogate_nas.training.trainer import Trainer


@dataclass(frozen=True)
class Job:
    """What every loop of a comparison does."""

    task: ImageTask
    epochs: int
    batch_size: int
    augmentation: float
    device: str


Loop = Callable[[nn.Module, Job], float]


def trainer(network: nn.Module, job: Job) -> float:
    """Train with the Trainer, at its defaults."""
    return _trainer(job).train(network, job.task).value


def trainer_with_checkpoints(network: nn.Module, job: Job) -> float:
    """The same, with a checkpoint on disk."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint"
        return _trainer(job).train(network, job.task, checkpoint=path).value


def trainer_eager(network: nn.Module, job: Job) -> float:
    """The same, without a recorded step."""
    return _trainer(job, cuda_graph=False).train(network, job.task).value


def _trainer(job: Job, *, cuda_graph: bool = True) -> Trainer:
    return Trainer(
        epochs=job.epochs,
        batch_size=job.batch_size,
        augmentation=job.augmentation,
        device=job.device,
        cuda_graph=cuda_graph,
    )


def bare(network: nn.Module, job: Job) -> float:
    """Prepared data in memory, shuffled rows, plain SGD: float32, no schedule, no limits."""
    task = job.task
    generator = torch.Generator().manual_seed(0)
    x, y = task.prepare(task.train.inputs), task.train.targets
    x_validation = task.prepare(task.validation.inputs)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    accuracy = 0.0
    for _ in range(job.epochs):
        network.train()
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x), job.batch_size):
            rows = order[start : start + job.batch_size]
            inputs = x[rows]
            if job.augmentation:
                inputs = task.augment(inputs, job.augmentation, generator)
            _step(network, inputs, y[rows], optimizer)
        accuracy = _accuracy(network, [(x_validation, task.validation.targets)])
    return accuracy


def bare_tuned(network: nn.Module, job: Job) -> float:
    """The same in channels-last order with the fused optimizer: all that a CPU gives for free."""
    task = job.task
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(0)
    x, y = task.prepare(task.train.inputs), task.train.targets
    x_validation = task.prepare(task.validation.inputs)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
    )
    accuracy = 0.0
    for _ in range(job.epochs):
        network.train()
        order = torch.randperm(len(x), generator=generator)
        for rows in order.split(job.batch_size):  # type: ignore[no-untyped-call]
            inputs = x[rows]
            if job.augmentation:
                inputs = task.augment(inputs, job.augmentation, generator)
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            _step(network, inputs, y[rows], optimizer)
        accuracy = _accuracy(network, [(x_validation, task.validation.targets)])
    return accuracy


class _Images(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """One image at a time, normalized, shifted and mirrored: what a DataLoader is given."""

    def __init__(self, job: Job, is_train: bool) -> None:
        split = job.task.train if is_train else job.task.validation
        self._images, self._targets = split.inputs, split.targets
        pixels = split.inputs[:2000].float()
        self._mean, self._std = pixels.mean((0, 2, 3))[:, None, None], pixels.std()
        self._varies = is_train and job.augmentation > 0

    def __len__(self) -> int:
        return len(self._targets)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = (self._images[row] - self._mean) / self._std
        if self._varies:
            side = image.shape[1]
            padded = functional.pad(image, [4, 4, 4, 4])
            down, right = torch.randint(9, (2,)).tolist()
            image = padded[:, down : down + side, right : right + side]
            image = image.flip(2) if torch.rand(()) < 0.5 else image
        return image, self._targets[row]


def gpu_bare_loader(network: nn.Module, job: Job) -> float:
    """A bare float32 loop with a DataLoader, as tutorials have it."""
    network.to(job.device)
    workers = min(8, os.cpu_count() or 1)
    loaders = [
        DataLoader(
            _Images(job, is_train),
            batch_size=job.batch_size,
            shuffle=is_train,
            num_workers=workers,
            pin_memory=True,
            persistent_workers=True,
        )
        for is_train in (True, False)
    ]
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    accuracy = 0.0
    for _ in range(job.epochs):
        network.train()
        for images, targets in loaders[0]:
            inputs = images.to(job.device, non_blocking=True)
            _step(network, inputs, targets.to(job.device, non_blocking=True), optimizer)
        batches = [
            (images.to(job.device), targets.to(job.device)) for images, targets in loaders[1]
        ]
        accuracy = _accuracy(network, batches)
    return accuracy


def gpu_bare_resident(network: nn.Module, job: Job) -> float:
    """A bare loop with bfloat16, channels-last order and data on the device; fused optimizer."""
    return _resident(network, job, torch.optim.SGD, autocast=True)


def gpu_hand_written(network: nn.Module, job: Job) -> float:
    """The same with the weights themselves in bfloat16, as speed records have it."""
    network.to(torch.bfloat16)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()
    return _resident(network, job, torch.optim.SGD, autocast=False)


def _resident(
    network: nn.Module, job: Job, kind: type[torch.optim.SGD], *, autocast: bool
) -> float:
    task, device = job.task, job.device
    network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    dtype = torch.float32 if autocast else torch.bfloat16
    x, x_validation = (
        task.prepare(split.inputs.to(device)).to(dtype, memory_format=torch.channels_last)
        for split in (task.train, task.validation)
    )
    y, y_validation = task.train.targets.to(device), task.validation.targets.to(device)
    generator = torch.Generator(device)
    optimizer = kind(
        network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
    )
    cast = torch.autocast("cuda", torch.bfloat16) if autocast else contextlib.nullcontext()
    accuracy = 0.0
    for _ in range(job.epochs):
        network.train()
        order = torch.randperm(len(x), device=device)
        for rows in order.split(job.batch_size):  # type: ignore[no-untyped-call]
            inputs = x[rows]
            if job.augmentation:
                inputs = task.augment(inputs, job.augmentation, generator)
            with cast:
                _step(network, inputs, y[rows], optimizer)
        with cast:
            batches = zip(
                *(torch.split(t, 2048) for t in (x_validation, y_validation)), strict=True
            )
            accuracy = _accuracy(network, list(batches))
    return accuracy


def _step(
    network: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, optimizer: torch.optim.SGD
) -> None:
    loss = functional.cross_entropy(network(inputs), targets)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


def _accuracy(network: nn.Module, batches: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    network.eval()
    with torch.no_grad():
        hits = [(network(x).argmax(dim=1) == y).float().sum() for x, y in batches]
    return float(torch.stack(hits).sum()) / sum(len(y) for _, y in batches)
