"""Train one network on one task: the settings, the loop and what came out.

The same seed gives the same result, bit for bit, on a CPU with the same number of threads. Batch
order and augmentation draw from an explicit generator; a network's initialization and its dropout
can only draw from PyTorch's global one, which :func:`seeded` lends and puts back.
"""

from __future__ import annotations

import enum
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Literal, final

import torch
from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.space import TRAINING_PARAMS
from surrogate_nas.task import Split, Task

OptimizerName = Literal["sgd", "adamw"]
ScheduleName = Literal["cosine", "inverse_sqrt"]
OnEpoch = Callable[[int, float], bool]

_LEARNING_RATES = {"sgd": 0.05, "adamw": 3e-3}
_WEIGHT_DECAYS = {"sgd": 5e-3, "adamw": 5e-2}

_PREPARED_BYTES = 2**31
"""A split that is larger than this as float32 stays raw and is prepared batch by batch."""

_EVALUATION_BATCH = 512
"""Rows of one forward pass of an evaluation."""


class StopReason(enum.Enum):
    """Why training ended; the values are what users read."""

    FINISHED = "finished"
    NOT_FINITE = "loss is not finite"
    TIME_LIMIT = "time limit"
    PRUNED = "pruned"


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
        images_per_second: Inputs trained on per second, validation excluded; 0 if no epoch ended.
    """

    values: tuple[float, ...]
    losses: tuple[float, ...]
    stop_reason: StopReason
    n_steps: int
    train_seconds: float
    images_per_second: float

    @property
    def value(self) -> float:
        """The metric after the last completed epoch, not the best one; NaN if there is none."""
        return self.values[-1] if self.values else math.nan

    @property
    def epochs(self) -> int:
        """Epochs completed and validated."""
        return len(self.values)


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
        _check("optimizer", self.optimizer, self.optimizer in _LEARNING_RATES, "'sgd' or 'adamw'")
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
        return _LEARNING_RATES.get(self.optimizer, 0.0) if rate is None else rate

    @property
    def _decay(self) -> float:
        decay = self.weight_decay
        return _WEIGHT_DECAYS.get(self.optimizer, 0.0) if decay is None else decay

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
        device = _place(network, self.device)
        return _score(network, task, _Resident(split, task, device))


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed PyTorch's global generators for a while, then put them back as they were.

    A network's initialization and dropout take no generator of their own. The global ones belong
    to the process: threads that train at the same time share them.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield


@final
class _Run:
    """One training under way: the data on the device, the optimizer, the counts."""

    def __init__(self, trainer: Trainer, network: nn.Module, task: Task, seed: int) -> None:
        self.seed = seed
        self._began = time.perf_counter()
        self._deadline = self._began + (trainer.time_limit_seconds or math.inf)
        self._trainer, self._network, self._task = trainer, network, task
        self._device = _place(network, trainer.device)
        self._data = _Resident(task.train, task, self._device)
        self._validation = _Resident(task.validation, task, self._device)
        self._generator = torch.Generator().manual_seed(seed)
        self._optimizer = _make_optimizer(trainer, network)
        params = [p.data for p in network.parameters() if p.requires_grad]
        self._decaying = [p for p in params if p.ndim > 1]
        self._n_steps, self._n_images, self._busy_seconds = 0, 0, 0.0

    def train_epoch(self) -> float | None:
        """Train for one epoch; return its mean loss, or None if the time was up before its end."""
        trainer, network, task = self._trainer, self._network, self._task
        began = time.perf_counter()
        total = torch.zeros((), device=self._device)
        batches = self._batches()
        network.train()
        for rows in batches:
            if time.perf_counter() > self._deadline:
                return None
            inputs, targets = self._data.take(rows)
            if trainer.augmentation > 0:
                inputs = task.augment(inputs, trainer.augmentation, self._generator)
            outputs = _forward(network, inputs, task)
            loss = task.loss(outputs, targets, trainer.label_smoothing)
            self._optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            self._step(_learning_rate(trainer, self._n_steps, len(batches)))
            total += loss.detach()
        mean_loss = total.item() / len(batches)  # the epoch's only wait for the device
        self._n_images += sum(len(rows) for rows in batches)
        self._busy_seconds += time.perf_counter() - began
        return mean_loss

    def _step(self, rate: float) -> None:
        """Update the network by its gradients and by decay, apart from each other."""
        self._optimizer.param_groups[0]["lr"] = rate
        if self._decaying and self._trainer._decay > 0:
            torch._foreach_mul_(self._decaying, 1.0 - rate * self._trainer._decay)
        self._optimizer.step()
        self._n_steps += 1

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


@final
class _Resident:
    """A split that lives on the device, prepared once if it is small enough."""

    def __init__(self, split: Split, task: Task, device: torch.device) -> None:
        numbers = len(split) * math.prod(task.input_shape)
        self._is_prepared = 4 * numbers <= _PREPARED_BYTES
        self._task = task
        inputs = split.inputs.to(device)
        self._inputs = task.prepare(inputs) if self._is_prepared else inputs
        self.targets = split.targets.to(device)

    def __len__(self) -> int:
        return len(self.targets)

    def take(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the prepared inputs and the targets of some rows."""
        inputs, targets = self._inputs.index_select(0, rows), self.targets.index_select(0, rows)
        return (inputs if self._is_prepared else self._task.prepare(inputs)), targets

    def inputs(self, batch_size: int) -> Iterator[torch.Tensor]:
        """Yield all prepared inputs in order."""
        for inputs in torch.split(self._inputs, batch_size):
            yield inputs if self._is_prepared else self._task.prepare(inputs)


def _place(network: nn.Module, device: str | None) -> torch.device:
    """Move a network to its device, in the memory layout that is fast there."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    place = torch.device(device)
    network.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return place


def _forward(network: nn.Module, inputs: torch.Tensor, task: Task) -> torch.Tensor:
    """Return a network's outputs (n, n_outputs) in float32."""
    if inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cuda", dtype=torch.bfloat16) if inputs.is_cuda else nullcontext():
        outputs = network(inputs)
    shape = (len(inputs), task.n_outputs)
    got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
    if got != shape:
        raise TrainingError(
            expected=f"a network whose output has shape {shape}",
            got=f"{got}",
            fix="end the network with a layer of task.n_outputs outputs",
        )
    result: torch.Tensor = outputs.float()
    return result


def _score(network: nn.Module, task: Task, data: _Resident) -> float:
    """Return the metric of a network on a whole split; NaN if an output is not finite."""
    network.eval()
    with torch.inference_mode():
        outputs = [_forward(network, inputs, task) for inputs in data.inputs(_EVALUATION_BATCH)]
    together = torch.cat(outputs).cpu()
    if not together.isfinite().all():
        return math.nan
    return task.score(together, data.targets.cpu())


def _learning_rate(trainer: Trainer, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step, counted from 0."""
    n_steps = trainer.epochs * steps_per_epoch
    warmup = min(round(trainer.warmup_epochs * steps_per_epoch), n_steps // 4)
    if step < warmup:
        return trainer._peak_rate * (step + 1) / warmup
    if trainer.schedule == "inverse_sqrt":
        return trainer._peak_rate * math.sqrt(max(warmup, 1) / (step + 1))
    progress = (step - warmup) / (n_steps - warmup)
    return trainer._peak_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def _make_optimizer(trainer: Trainer, network: nn.Module) -> torch.optim.Optimizer:
    """Return the optimizer; weight decay is not its business, as it is the same for all."""
    params, rate = list(network.parameters()), trainer._peak_rate
    is_fused = all(p.device.type in ("cpu", "cuda") for p in params)
    if trainer.optimizer == "sgd":
        return torch.optim.SGD(params, lr=rate, momentum=0.9, nesterov=True, fused=is_fused)
    return torch.optim.Adam(params, lr=rate, fused=is_fused)


def _check(name: str, value: object, is_valid: bool, allowed: str) -> None:
    """Refuse a setting that is out of its range."""
    if not is_valid:
        raise TrainingError(
            expected=f"{name} {allowed}",
            got=f"{value!r}",
            fix=f"give the Trainer another {name}",
        )
