"""Train one network on one task: the settings, the loop and what came out.

The same seed gives the same result, bit for bit, on a CPU with the same number of threads. Batch
order and augmentation draw from an explicit generator; a network's initialization and its dropout
can only draw from PyTorch's global one, which :func:`seeded` lends and puts back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.space import TRAINING_PARAMS
from surrogate_nas.task import Split, Task
from surrogate_nas.training.data import Resident
from surrogate_nas.training.device import find_device, forward, place
from surrogate_nas.training.outcome import Outcome as Outcome
from surrogate_nas.training.outcome import StopReason as StopReason
from surrogate_nas.training.seeding import seeded as seeded
from surrogate_nas.training.updates import (
    LEARNING_RATES,
    WEIGHT_DECAYS,
    OptimizerName,
    Schedule,
    ScheduleName,
    Updater,
)

OnEpoch = Callable[[int, float], bool]

_EVALUATION_BATCH = 512
"""Rows of one forward pass of an evaluation."""


@final
@dataclass(frozen=True, kw_only=True)
class Trainer:
    """How a network is trained.

    Weight decay is decoupled from the gradient for both optimizers (Loshchilov & Hutter 2019,
    "Decoupled weight decay regularization", Algorithms 1 and 2; multiplied by the learning rate,
    as in PyTorch): each step multiplies kernels and weight matrices by
    ``1 - learning_rate * weight_decay``. Biases and normalization layers do not decay.

    Args:
        epochs: Passes over the training split.
        batch_size: Inputs a step. An epoch's last batch may be smaller, but is left out if it is
            a single input, on which batch normalization cannot work.
        optimizer: "sgd" (Nesterov momentum 0.9) or "adamw".
        learning_rate: At its peak; None means 0.05 for "sgd", 0.003 for "adamw".
        weight_decay: None means 0.005 for "sgd", 0.05 for "adamw".
        schedule: After a linear warm-up the learning rate follows half a cosine down to 0, or
            falls with the inverse square root of the step.
        warmup_epochs: Length of the warm-up, at most a quarter of the training.
        label_smoothing: Share of the target that is spread over all outputs, in [0, 1).
        augmentation: Strength of the task's augmentation, in [0, 1].
        device: A name for ``torch.device``; None means CUDA if there is a GPU, otherwise the CPU.
        time_limit_seconds: Ends training early, in the middle of an epoch if need be.
        seed: Of batch order, augmentation and dropout.

    Raises:
        TrainingError: A setting is out of its range.
    """

    epochs: int = 15
    batch_size: int = 64
    optimizer: OptimizerName = "sgd"
    learning_rate: float | None = None
    weight_decay: float | None = None
    schedule: ScheduleName = "cosine"
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    augmentation: float = 0.0
    device: str | None = None
    time_limit_seconds: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        limit = self.time_limit_seconds
        schedules = ("cosine", "inverse_sqrt")
        _check("epochs", self.epochs, self.epochs >= 1, "from 1")
        _check("batch_size", self.batch_size, self.batch_size >= 1, "from 1")
        _check("optimizer", self.optimizer, self.optimizer in LEARNING_RATES, "'sgd' or 'adamw'")
        _check("learning_rate", self.learning_rate, 0 < self._peak_rate < math.inf, "above 0")
        _check("weight_decay", self.weight_decay, 0 <= self._decay < math.inf, "from 0")
        _check("schedule", self.schedule, self.schedule in schedules, "'cosine' or 'inverse_sqrt'")
        _check("warmup_epochs", self.warmup_epochs, self.warmup_epochs >= 0, "from 0")
        _check("label_smoothing", self.label_smoothing, 0 <= self.label_smoothing < 1, "in [0, 1)")
        _check("augmentation", self.augmentation, 0 <= self.augmentation <= 1, "in [0, 1]")
        _check("time_limit_seconds", limit, limit is None or limit > 0, "above 0")
        _check("seed", self.seed, self.seed >= 0, "from 0")

    @property
    def _peak_rate(self) -> float:
        rate = self.learning_rate
        return LEARNING_RATES.get(self.optimizer, 0.0) if rate is None else rate

    @property
    def _decay(self) -> float:
        decay = self.weight_decay
        return WEIGHT_DECAYS.get(self.optimizer, 0.0) if decay is None else decay

    def _schedule(self, steps_per_epoch: int) -> Schedule:
        return Schedule(
            self.schedule, self._peak_rate, self.epochs, self.warmup_epochs, steps_per_epoch
        )

    def override(self, **training: float) -> Trainer:
        """Return a copy with an architecture's own settings (see ``SearchSpace.training``).

        Raises:
            TrainingError: A name is not in TRAINING_PARAMS, or a value is out of its range.
        """
        unknown = sorted(set(training) - set(TRAINING_PARAMS))
        if unknown:
            raise TrainingError(
                expected=f"settings among {', '.join(TRAINING_PARAMS)}",
                got=", ".join(unknown),
                fix="change the other settings of a Trainer with dataclasses.replace",
            )
        return replace(self, **training)  # type: ignore[arg-type]

    def train(
        self,
        network: nn.Module,
        task: Task,
        *,
        on_epoch: OnEpoch | None = None,
        seed: int | None = None,
    ) -> Outcome:
        """Train a network in place, and validate it after every epoch.

        Training ends early when a loss, summed over an epoch, or an output on the validation split
        is not finite, when the time is up, or when `on_epoch` says so.

        Args:
            network: (n, *task.input_shape) -> (n, task.n_outputs); left on the device.
            task: The data, the loss and the metric.
            on_epoch: Given the epoch, from 0, and its validation metric; True stops (pruning).
            seed: Instead of the Trainer's own.

        Raises:
            TrainingError: The network's output has the wrong shape.
        """
        run = _Run(self, network, task, self.seed if seed is None else seed)
        values: list[float] = []
        losses: list[float] = []
        reason = StopReason.FINISHED
        with seeded(run.seed):
            for epoch in range(self.epochs):
                loss = run.train_epoch()
                if loss is None:
                    reason = StopReason.TIME_LIMIT
                    break
                value = run.validate() if math.isfinite(loss) else math.nan
                if not math.isfinite(value):
                    reason = StopReason.NOT_FINITE
                    break
                values.append(value)
                losses.append(loss)
                if on_epoch is not None and on_epoch(epoch, value):
                    reason = StopReason.PRUNED
                    break
        return run.outcome(values, losses, reason)

    def evaluate(self, network: nn.Module, task: Task, split: Split) -> float:
        """Return the task's metric on a split; NaN if an output of the network is not finite.

        Raises:
            TrainingError: The network's output has the wrong shape.
        """
        device = find_device(self.device)
        place(network, device)
        return _score(network, task, Resident(split, task, device))


@final
class _Run:
    """One training under way: the data on the device, the optimizer, the counts."""

    def __init__(self, trainer: Trainer, network: nn.Module, task: Task, seed: int) -> None:
        self.seed = seed
        self._began = time.perf_counter()
        self._deadline = self._began + (trainer.time_limit_seconds or math.inf)
        self._trainer, self._network, self._task = trainer, network, task
        self._device = find_device(trainer.device)
        place(network, self._device)
        self._data = Resident(task.train, task, self._device)
        self._validation = Resident(task.validation, task, self._device)
        self._generator = torch.Generator().manual_seed(seed)
        self._updater = Updater(network, trainer.optimizer, trainer._decay)
        self._n_steps, self._n_images, self._busy_seconds = 0, 0, 0.0

    def train_epoch(self) -> float | None:
        """Train for one epoch; return its mean loss, or None if the time was up before its end."""
        trainer, network, task = self._trainer, self._network, self._task
        began = time.perf_counter()
        total = torch.zeros((), device=self._device)
        batches = self._batches()
        schedule = trainer._schedule(len(batches))
        network.train()
        for rows in batches:
            if time.perf_counter() > self._deadline:
                return None
            inputs, targets = self._data.take(rows)
            if trainer.augmentation > 0:
                inputs = task.augment(inputs, trainer.augmentation, self._generator)
            outputs = forward(network, inputs, task)
            loss = task.loss(outputs, targets, trainer.label_smoothing)
            self._updater.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._updater.step(schedule.rate(self._n_steps))
            self._n_steps += 1
            total += loss.detach()
        mean_loss = total.item() / len(batches)  # the epoch's only wait for the device
        self._n_images += sum(len(rows) for rows in batches)
        self._busy_seconds += time.perf_counter() - began
        return mean_loss

    def _batches(self) -> list[torch.Tensor]:
        """Deal all rows of the training split into batches, in random order."""
        order = torch.randperm(len(self._data), generator=self._generator).to(self._device)
        batches = list(torch.split(order, self._trainer.batch_size))
        if len(batches) > 1 and len(batches[-1]) == 1 < self._trainer.batch_size:
            batches.pop()
        return batches

    def validate(self) -> float:
        """Return the metric on the validation split."""
        return _score(self._network, self._task, self._validation)

    def outcome(self, values: list[float], losses: list[float], reason: StopReason) -> Outcome:
        """Sum the training up."""
        return Outcome(
            values=tuple(values),
            losses=tuple(losses),
            stop_reason=reason,
            n_steps=self._n_steps,
            train_seconds=time.perf_counter() - self._began,
            images_per_second=self._n_images / self._busy_seconds if values else 0.0,
        )


def _score(network: nn.Module, task: Task, data: Resident) -> float:
    """Return the metric of a network on a whole split; NaN if an output is not finite."""
    network.eval()
    with torch.inference_mode():
        outputs = [forward(network, inputs, task) for inputs in data.inputs(_EVALUATION_BATCH)]
    together = torch.cat(outputs).cpu()
    if not together.isfinite().all():
        return math.nan
    return task.score(together, data.targets.cpu())


def _check(name: str, value: object, is_valid: bool, allowed: str) -> None:
    """Refuse a setting that is out of its range."""
    if not is_valid:
        raise TrainingError(
            expected=f"{name} {allowed}",
            got=f"{value!r}",
            fix=f"give the Trainer another {name}",
        )
