"""Train one network on one task: the settings, the loop and what came out.

The same seed gives the same result, bit for bit, on a CPU with the same number of threads. Batch
order and augmentation draw from an explicit generator; a network's initialization and its dropout
can only draw from PyTorch's global one, which :func:`seeded` lends and puts back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, final

from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.space import ParameterGroup
from surrogate_nas.task import SplitLike, Task
from surrogate_nas.training.data import source
from surrogate_nas.training.device import find_device, prepare
from surrogate_nas.training.interruption import terminable
from surrogate_nas.training.memory import MAYBE_OUT_OF_MEMORY, is_out_of_memory
from surrogate_nas.training.network_step import StepSettings
from surrogate_nas.training.outcome import Outcome as Outcome
from surrogate_nas.training.outcome import StopReason as StopReason
from surrogate_nas.training.run import OnEpoch, OnLoss, Run
from surrogate_nas.training.scoring import score
from surrogate_nas.training.seeding import seeded as seeded
from surrogate_nas.training.settings import checked
from surrogate_nas.training.updates import (
    LEARNING_RATES,
    WEIGHT_DECAYS,
    OptimizerName,
    Schedule,
    ScheduleName,
)

_N_RESOLUTIONS = 4
_SHARE_BELOW_FULL = 0.75
"""Number of resolutions below the full one, and the share of a training that is spent on them."""


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
        augmentation: Strength of the task's augmentation, in [0, 1]; None means the task's own:
            1 for photos, 0 for others (see ``Task.usual_augmentation``).
        mixup: Each batch is mixed with itself in another order, by a share drawn from
            Beta(mixup, mixup) (Zhang et al. 2018, arXiv:1710.09412); 0 for none.
        clip_norm: Largest norm of all gradients together, which larger ones are scaled down to
            (Pascanu et al. 2013, arXiv:1211.5063); None for any.
        ema_decay: Decay, for each step, of an exponential moving average of the weights, which is
            validated and kept in place of the latest ones; 0 for none. In step t it is at most
            (1 + t) / (10 + t).
        patience: Training ends after this number of epochs without a better validation metric;
            None for never.
        keep_best: Whether the network gets the weights of its best epoch, by the validation
            metric, in place of those of the last one.
        start_resolution: Share of the inputs' resolution that the first epochs train on. It rises
            in four steps, and from three quarters of the training on it is 1 (progressive
            resizing, Tan & Le 2021, arXiv:2104.00298). Validation is at the full resolution.
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
    augmentation: float | None = None
    mixup: float = 0.0
    clip_norm: float | None = None
    ema_decay: float = 0.0
    patience: int | None = None
    keep_best: bool = False
    start_resolution: float = 1.0
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
            augmentation=self.augmentation or 0.0,
            is_mixed=self.mixup > 0,
            is_recorded=self.cuda_graph,
            clip_norm=self.clip_norm,
            ema_decay=self.ema_decay,
            keeps_best=self.keep_best,
        )

    def _schedule(self, steps_per_epoch: int) -> Schedule:
        return Schedule(
            self.schedule, self._peak_rate, self.epochs, self.warmup_epochs, steps_per_epoch
        )

    def for_task(self, task: Task) -> Trainer:
        """Return a copy in which the settings that a task decides have their values."""
        if self.augmentation is not None:
            return self
        return replace(self, augmentation=task.usual_augmentation)

    def resolution(self, epoch: int) -> float:
        """Return the share of the inputs' resolution that an epoch, from 0, trains on."""
        start, low_epochs = self.start_resolution, _SHARE_BELOW_FULL * self.epochs
        if start == 1 or epoch >= min(low_epochs, self.epochs - 1):
            return 1.0
        step = int(_N_RESOLUTIONS * epoch / low_epochs)
        return start + (1 - start) * step / _N_RESOLUTIONS

    @property
    def full_epochs(self) -> float:
        """Number of epochs at full resolution that cost as much as all epochs."""
        shares = [self.resolution(epoch) for epoch in _evenly(self.epochs)]
        # An image of half the sides has a quarter of the pixels.
        return self.epochs * sum(share**2 for share in shares) / len(shares)

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
        is not finite. It also ends when time or patience is up, or when `on_epoch` says so.

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
                network, there is no such device, or a setting does not suit the network.
            TaskError: A setting does not suit the task, such as mixup tokens.
            KeyboardInterrupt: On Ctrl-C, or on SIGTERM in the main thread. The checkpoint is
                written then, as after any other error, and kept.
        """
        run = Run(
            self.for_task(task),
            network,
            task,
            self.seed if seed is None else seed,
            on_loss,
            groups,
        )
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


def _evenly(epochs: int) -> list[int]:
    """Return at most 400 epochs, from 0 and evenly spaced, that stand for all."""
    count = min(epochs, 400)
    return [place * epochs // count for place in range(count)]
