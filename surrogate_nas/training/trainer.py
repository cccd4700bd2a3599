"""Train one network on one task: the settings, the loop and what came out.

The same seed gives the same result, bit for bit, on a CPU with the same number of threads. Batch
order and augmentation draw from an explicit generator; a network's initialization and its dropout
can only draw from PyTorch's global one, which :func:`seeded` lends and puts back.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.space import ParameterGroup
from surrogate_nas.task import SplitLike, Task
from surrogate_nas.training.checkpoint import Checkpoint, identity_of
from surrogate_nas.training.data import source
from surrogate_nas.training.device import find_device, prepare
from surrogate_nas.training.interruption import StepHangs, Watchdog, terminable
from surrogate_nas.training.memory import MAYBE_OUT_OF_MEMORY, is_out_of_memory
from surrogate_nas.training.network_step import NetworkStep, StepSettings
from surrogate_nas.training.outcome import Outcome as Outcome
from surrogate_nas.training.outcome import StopReason as StopReason
from surrogate_nas.training.progress import Progress
from surrogate_nas.training.scoring import score
from surrogate_nas.training.seeding import seeded as seeded
from surrogate_nas.training.settings import checked
from surrogate_nas.training.state import NamedTensors
from surrogate_nas.training.updates import (
    LEARNING_RATES,
    WEIGHT_DECAYS,
    OptimizerName,
    Schedule,
    ScheduleName,
)

OnEpoch = Callable[[int, float], bool]
OnLoss = Callable[[int, float], None]


@final
@dataclass(frozen=True, kw_only=True)
class Trainer:
    """How a network is trained.

    Weight decay is decoupled from the gradient for both optimizers (Loshchilov & Hutter 2019,
    "Decoupled weight decay regularization", Algorithms 1 and 2). As in PyTorch, each step
    multiplies kernels and weight matrices by ``1 - learning_rate * weight_decay``. Biases and
    normalization layers do not decay.

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
        mixup: Each batch is mixed with itself in another order, by a share drawn from
            Beta(mixup, mixup) (Zhang et al. 2018, arXiv:1710.09412); 0 for none.
        device: A name for ``torch.device``; None means CUDA if there is a GPU, otherwise the CPU.
        time_limit_seconds: Ends training early, in the middle of an epoch if need be.
        cuda_graph: Whether a GPU replays a recorded step. A network that cannot be recorded is
            noticed by itself, unless it changes its behaviour in Python after its first steps.
        seed: Of batch order, augmentation and dropout.

    Raises:
        TrainingError: A setting has a wrong type or is out of its range.
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
    mixup: float = 0.0
    device: str | None = None
    time_limit_seconds: float | None = None
    cuda_graph: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        for name, value in checked(given).items():
            object.__setattr__(self, name, value)

    @property
    def _peak_rate(self) -> float:
        rate = self.learning_rate
        return LEARNING_RATES[self.optimizer] if rate is None else rate

    @property
    def _decay(self) -> float:
        decay = self.weight_decay
        return WEIGHT_DECAYS[self.optimizer] if decay is None else decay

    @property
    def _step_settings(self) -> StepSettings:
        return StepSettings(
            optimizer=self.optimizer,
            decay=self._decay,
            label_smoothing=self.label_smoothing,
            augmentation=self.augmentation,
            is_mixed=self.mixup > 0,
            is_recorded=self.cuda_graph,
        )

    def _schedule(self, steps_per_epoch: int) -> Schedule:
        return Schedule(
            self.schedule, self._peak_rate, self.epochs, self.warmup_epochs, steps_per_epoch
        )

    def override(self, **training: Any) -> Trainer:
        """Return a copy with an architecture's own settings (see ``SearchSpace.training``).

        Raises:
            TrainingError: A name is no field of the Trainer, or a value is out of its range.
        """
        names = [each.name for each in fields(self)]
        unknown = sorted(set(training) - set(names))
        if unknown:
            raise TrainingError(
                expected=f"settings among {', '.join(names)}",
                got=", ".join(unknown),
                fix="correct the names that the space's training returns",
            )
        try:
            return replace(self, **training)
        except TrainingError as error:
            raise TrainingError(
                expected=error.expected,
                got=error.got,
                fix="correct the value that the space's training returns, or give the parameter "
                "of that name another name",
            ) from error

    def train(
        self,
        network: nn.Module,
        task: Task,
        *,
        on_epoch: OnEpoch | None = None,
        on_loss: OnLoss | None = None,
        seed: int | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        groups: Sequence[ParameterGroup] | None = None,
    ) -> Outcome:
        """Train a network in place, and validate it after every epoch.

        Training ends early when a loss, summed over an epoch, or an output on the validation split
        is not finite, when the time is up, or when `on_epoch` says so.

        Where memory runs out, batches are cut into parts whose gradients are added up. Only batch
        normalization and the mean of class weights see the difference, as they look at one part.
        Where two inputs are too many the stop reason is OUT_OF_MEMORY.

        With a checkpoint a training that was killed goes on from the last epoch that was written,
        when it is called again with the same network, task and settings. On the CPU its result is
        that of an uninterrupted one, bit for bit.

        Args:
            network: ``(n, *task.input_shape) -> (n, task.n_outputs)``; left on the device.
            task: The data, the loss and the metric.
            on_epoch: Given the epoch, from 0, and its validation metric; True stops (pruning).
                Of a training that goes on it hears the earlier epochs again.
            on_loss: Told the epoch and its mean training loss, before it is validated.
            seed: Instead of the Trainer's own.
            checkpoint: A file for what is needed to go on, deleted when the training ends. One
                that is damaged or of another training is left out, with a warning in the log.
            groups: The network's parameters with factors for their rates; by default one group.

        Raises:
            TrainingError: The network's outputs do not fit the task, the groups do not fit the
                network, or there is no such device.
            KeyboardInterrupt: On Ctrl-C, or on SIGTERM in the main thread. The checkpoint is
                written then, as after any other error, and kept.
        """
        run = _Run(self, network, task, self.seed if seed is None else seed, on_loss, groups)
        with seeded(run.seed), terminable():
            return run.fit(on_epoch, None if checkpoint is None else Path(checkpoint))

    def evaluate(self, network: nn.Module, task: Task, split: SplitLike) -> float:
        """Return the task's metric on a split; NaN if an output of the network is not finite.

        Raises:
            TrainingError: The network's output has the wrong shape, there is no such device, or no
                memory for a single input.
        """
        device = find_device(self.device)
        try:
            prepare(network, task, device)
            return score(network, task, source(split, task, device), device)
        except MAYBE_OUT_OF_MEMORY as error:
            if not is_out_of_memory(error):
                raise
            raise TrainingError(
                expected=f"memory for the network and one input on {device}",
                got="too little",
                fix="free memory there, or give the Trainer device='cpu'",
            ) from error


@final
class _Run:
    """One training under way: the loop, and the counts."""

    def __init__(
        self,
        trainer: Trainer,
        network: nn.Module,
        task: Task,
        seed: int,
        on_loss: OnLoss | None,
        groups: Sequence[ParameterGroup] | None,
    ) -> None:
        self.seed = seed
        self._groups = groups
        self._on_loss = on_loss
        self._began = time.perf_counter()
        self._limit = trainer.time_limit_seconds or math.inf
        self._trainer, self._network, self._task = trainer, network, task
        self._device = find_device(trainer.device)
        self._generator = torch.Generator().manual_seed(seed)
        self._progress = Progress()

    def fit(self, on_epoch: OnEpoch | None, path: Path | None) -> Outcome:
        """Train to the end, and say which end it was."""
        checkpoint: Checkpoint | None = None
        try:
            self._prepare()
            if path is not None:
                checkpoint = Checkpoint(path, self._identity())
                self._go_on_from(checkpoint)
            with Watchdog(self._limit - self._progress.seconds, self._limit):
                reason = self._epochs(on_epoch, checkpoint)
        except StepHangs:
            reason = StopReason.TIME_LIMIT
        except BaseException as error:  # Ctrl-C and a user's own errors find a checkpoint, too
            if not is_out_of_memory(error):
                if checkpoint is not None:
                    checkpoint.flush()
                raise
            reason = StopReason.OUT_OF_MEMORY
        if checkpoint is not None:
            checkpoint.remove()
        self._progress.seconds = time.perf_counter() - self._began
        return self._progress.outcome(reason)

    def _prepare(self) -> None:
        """Put everything on the device."""
        trainer, task, device = self._trainer, self._task, self._device
        prepare(self._network, task, device)
        self._data = source(task.train, task, device)
        self._validation = source(task.validation, task, device)
        self._step = NetworkStep(
            self._network,
            task,
            self._data,
            trainer._step_settings,
            self._generator,
            self.seed,
            device,
            self._groups,
        )

    def _epochs(self, on_epoch: OnEpoch | None, checkpoint: Checkpoint | None) -> StopReason:
        """Train and validate, epoch by epoch."""
        progress = self._progress
        for epoch, value in enumerate(progress.values):  # of a training that goes on
            if on_epoch is not None and on_epoch(epoch, value):
                return StopReason.PRUNED
        start = self._step.state.copy()
        for epoch in range(len(progress.values), self._trainer.epochs):
            loss = self._train_epoch(start)
            if loss is None:
                return StopReason.TIME_LIMIT
            if self._on_loss is not None:
                self._on_loss(epoch, loss)
            value = self._validate() if math.isfinite(loss) else math.nan
            if not math.isfinite(value):
                return StopReason.NOT_FINITE
            progress.values += (value,)
            progress.losses += (loss,)
            if on_epoch is not None and on_epoch(epoch, value):
                return StopReason.PRUNED
            if epoch + 1 == self._trainer.epochs:
                break
            start = self._step.state.copy()
            if checkpoint is not None:
                progress.seconds = time.perf_counter() - self._began
                checkpoint.offer(start, progress)
        return StopReason.FINISHED

    def _train_epoch(self, start: NamedTensors) -> float | None:
        """Train for one epoch, in smaller parts where memory runs out; see :meth:`_all_steps`."""
        n_steps = self._progress.n_steps
        while True:
            try:
                return self._all_steps()
            except MAYBE_OUT_OF_MEMORY as error:
                if not is_out_of_memory(error):
                    raise
                batch_size = min(self._trainer.batch_size, len(self._data))
                if not self._step.use_more_parts(batch_size):
                    raise
            self._progress.n_parts = self._step.n_parts
            self._progress.n_steps = n_steps
            self._step.state.restore(start)

    def _all_steps(self) -> float | None:
        """Make an epoch's steps; return its mean loss, or None if the time was up before."""
        began, progress = time.perf_counter(), self._progress
        batches = self._deal()
        schedule = self._trainer._schedule(len(batches))
        self._step.begin_epoch()
        mixes = self._mixes(len(batches))
        for mix, batch in zip(mixes, self._step.feed(batches), strict=True):
            if time.perf_counter() > self._began + self._limit:
                return None
            self._step(schedule.rate(progress.n_steps), mix, *batch)
            progress.n_steps += 1
        mean_loss = self._step.total_loss() / len(batches)  # the epoch's only wait for the device
        progress.n_rows += sum(len(rows) for rows in batches)
        progress.busy_seconds += time.perf_counter() - began
        return mean_loss

    def _deal(self) -> list[torch.Tensor]:
        """Deal all rows of the training split into batches, in random order."""
        order = self._data.rows(torch.randperm(len(self._data), generator=self._generator))
        batches = list(torch.split(order, self._trainer.batch_size))
        if len(batches) > 1 and len(batches[-1]) == 1 < self._trainer.batch_size:
            batches.pop()
        return batches

    def _mixes(self, n: int) -> list[float]:
        """Draw for each batch what an input weighs when it is mixed with another one."""
        if self._trainer.mixup == 0:
            return [1.0] * n
        seed = int(torch.randint(2**62, (), generator=self._generator))
        alpha = self._trainer.mixup
        mixes: list[float] = np.random.default_rng(seed).beta(alpha, alpha, size=n).tolist()
        return mixes

    def _validate(self) -> float:
        return score(self._network, self._task, self._validation, self._device)

    def _go_on_from(self, checkpoint: Checkpoint) -> None:
        """Go on where a killed process had come to, if there is something to go on from."""
        found = checkpoint.resume(self._step.state)
        if found is not None:
            self._progress = found
            self._began -= found.seconds
            self._step.use_parts(found.n_parts)

    def _identity(self) -> str:
        """What must be the same for a training to go on from a checkpoint."""
        settings = asdict(self._trainer)
        for name in ("device", "time_limit_seconds", "cuda_graph"):
            del settings[name]
        factors = [[g.rate, g.decay, len(g.parameters)] for g in self._groups or ()]
        if len(factors) > 1:  # checkpoints of one group are those of earlier versions
            settings["groups"] = factors
        return identity_of(
            self._network,
            {
                **settings,
                "seed": self.seed,
                "device": self._device.type,
                "task": self._task.fingerprint,
            },
        )
