"""One training under way: the loop over epochs, what it keeps, and where it can go on from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.space import ParameterGroup
from surrogate_nas.task import Task
from surrogate_nas.training.checkpoint import Checkpoint, identity_of
from surrogate_nas.training.data import source
from surrogate_nas.training.device import find_device, predict, prepare
from surrogate_nas.training.final_weights import best_epoch
from surrogate_nas.training.interruption import StepHangs, Watchdog
from surrogate_nas.training.memory import MAYBE_OUT_OF_MEMORY, is_out_of_memory
from surrogate_nas.training.network_step import NetworkStep
from surrogate_nas.training.outcome import Outcome, StopReason
from surrogate_nas.training.progress import Progress
from surrogate_nas.training.scoring import score
from surrogate_nas.training.state import NamedTensors

if TYPE_CHECKING:
    from surrogate_nas.training.trainer import Trainer

_LATER: Mapping[str, Any] = {
    **{"clip_norm": None, "ema_decay": 0.0, "patience": None, "keep_best": False},
    **{"start_resolution": 1.0},
}
"""Settings that earlier versions did not have, and the values by which they change nothing."""

OnEpoch = Callable[[int, float], bool]
OnLoss = Callable[[int, float], None]


@final
class Run:
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
        if reason is not StopReason.OUT_OF_MEMORY:
            self._step.finish(has_best=bool(self._progress.values))
        self._progress.seconds = time.perf_counter() - self._began
        is_best = self._trainer.keep_best and bool(self._progress.values)
        return self._progress.outcome(reason, self._best_epoch if is_best else None)

    @property
    def _best_epoch(self) -> int:
        return best_epoch(self._progress.values, self._task.direction)

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
        if trainer.start_resolution < 1:
            self._try_smallest()

    def _try_smallest(self) -> None:
        """Refuse a network that does not take inputs of the first epoch's resolution.

        Raises:
            TrainingError: It raises an error.
        """
        self._network.eval()
        inputs, targets = self._data.take(self._data.rows(torch.arange(1)))
        inputs, _ = self._task.rescale(inputs, targets, self._trainer.start_resolution)
        try:
            with torch.inference_mode():
                predict(self._network, inputs, self._task)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise TrainingError(
                expected="a network that takes inputs of several resolutions",
                got=f"{type(self._network).__name__}, which raised at "
                f"{self._trainer.start_resolution:g} of the resolution: {error}",
                fix="train with start_resolution=1, or average over all positions before the "
                "first linear layer",
            ) from error

    def _epochs(self, on_epoch: OnEpoch | None, checkpoint: Checkpoint | None) -> StopReason:
        """Train and validate, epoch by epoch."""
        progress = self._progress
        for epoch, value in enumerate(progress.values):  # of a training that goes on
            if on_epoch is not None and on_epoch(epoch, value):
                return StopReason.PRUNED
        start = self._step.state.copy()
        for epoch in range(len(progress.values), self._trainer.epochs):
            reason = self._epoch(epoch, start) or self._end(epoch, on_epoch)
            if reason is not None:
                return reason
            start = self._step.state.copy()
            if checkpoint is not None:
                progress.seconds = time.perf_counter() - self._began
                checkpoint.offer(start, progress)
        return StopReason.FINISHED

    def _epoch(self, epoch: int, start: NamedTensors) -> StopReason | None:
        """Train and validate for an epoch; return why the training ends within it, or None."""
        progress = self._progress
        self._step.use_resolution(self._trainer.resolution(epoch))
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
        if self._best_epoch == epoch:
            self._step.keep_best()
        return None

    def _end(self, epoch: int, on_epoch: OnEpoch | None) -> StopReason | None:
        """Return why the training ends after an epoch, or None."""
        if on_epoch is not None and on_epoch(epoch, self._progress.values[-1]):
            return StopReason.PRUNED
        if epoch + 1 == self._trainer.epochs:
            return StopReason.FINISHED
        patience = self._trainer.patience
        is_over = patience is not None and epoch - self._best_epoch >= patience
        return StopReason.NO_IMPROVEMENT if is_over else None

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
        return score(self._step.evaluated, self._task, self._validation, self._device)

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
        for name, value in _LATER.items():  # checkpoints without these are of earlier versions
            if settings[name] == value:
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
