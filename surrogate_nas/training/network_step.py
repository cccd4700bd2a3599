"""One update of a network: a batch, forward, loss, backward, optimizer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.space import ParameterGroup
from surrogate_nas.task import Task
from surrogate_nas.tensors import AnyTensors, Tensors
from surrogate_nas.training.data import Batch, Source
from surrogate_nas.training.device import forward
from surrogate_nas.training.final_weights import BestWeights, MovingAverage, copy_weights
from surrogate_nas.training.graph import GraphRecorder
from surrogate_nas.training.memory import more_parts, part_sizes, release
from surrogate_nas.training.state import TrainingState
from surrogate_nas.training.step import RecordedStep, Recorder, Step
from surrogate_nas.training.updates import OptimizerName, Updater

_logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True, kw_only=True)
class StepSettings:
    """What a step does.

    Args:
        optimizer: Name of the optimizer.
        decay: Weight decay.
        label_smoothing: See ``Task.loss``.
        augmentation: Strength, see ``Task.vary``; 0 for none.
        is_mixed: Whether each batch is mixed with itself (mixup).
        is_recorded: Whether the step is to be recorded as a CUDA graph, on a GPU.
        clip_norm: Largest norm of all gradients together; None for any.
        ema_decay: Decay of the moving average of the weights; 0 for none.
        keeps_best: Whether the weights of the best epoch are kept.
    """

    optimizer: OptimizerName
    decay: float
    label_smoothing: float
    augmentation: float
    is_mixed: bool
    is_recorded: bool
    clip_norm: float | None = None
    ema_decay: float = 0.0
    keeps_best: bool = False


@final
class NetworkStep:
    """Updates a network by one batch after another.

    On a GPU one recorded step goes from the row numbers of a batch to the new weights. Work on the
    host stays outside it: streamed data, and augmentation that draws from a generator on the CPU.

    Args:
        network: On its device.
        task: Its loss and augmentation.
        data: The training split.
        settings: What a step does.
        generator: Of augmentation on the host; the one on a GPU is seeded by `seed`.
        seed: The training's.
        device: Where the network is.
        groups: The network's parameters with factors for their rates; None for one group.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        data: Source,
        settings: StepSettings,
        generator: torch.Generator,
        seed: int,
        device: torch.device,
        groups: Sequence[ParameterGroup] | None = None,
    ) -> None:
        self._network, self._task, self._data = network, task, data
        self._settings, self._device = settings, device
        self._generator = generator
        generators = {"order": generator}
        draws_on_host = settings.augmentation > 0 and not task.augments_on_device
        if device.type == "cuda" and not draws_on_host:
            # NOTE: the order of the rows is still drawn on the CPU, so it is equal on all devices.
            self._generator = torch.Generator(device).manual_seed(seed)
            generators["augmentation"] = self._generator
        self._takes_rows = data.is_resident and (device.type == "cpu" or not draws_on_host)
        # Tensors, since a recorded step reads and writes what lies on the device.
        self._total = torch.zeros((), device=device)
        self._mix = torch.ones((), device=device)
        self._recorder = _recorder(device, [self._generator]) if settings.is_recorded else None
        self._updater = Updater(
            network,
            settings.optimizer,
            settings.decay,
            groups,
            is_recordable=self._recorder is not None,
            clip_norm=settings.clip_norm,
        )
        self._average = (
            MovingAverage(network, settings.ema_decay) if settings.ema_decay > 0 else None
        )
        self._best = BestWeights(network) if settings.keeps_best else None
        extra = {"loss": self._total}
        for kept in (self._average, self._best):
            extra |= {} if kept is None else kept.tensors()
        self.state = TrainingState(network, self._updater.optimizer, generators, device, extra)
        self.n_parts = 1
        self._share = 1.0
        self._run: Step = self._compute
        self.use_parts(1)

    def use_parts(self, n_parts: int) -> None:
        """Cut batches into this number of parts from now on; their gradients are added up."""
        self.n_parts = n_parts
        self._run = self._compute
        if self._recorder is not None:
            # A recording has the number of parts built in, so recordings begin afresh.
            self._run = RecordedStep(self._compute, self._network, self.state, self._recorder)

    def use_more_parts(self, batch_size: int) -> bool:
        """Cut batches into twice as many parts after memory ran out; False if they cannot be."""
        n_parts = more_parts(batch_size, self.n_parts)
        if n_parts is None:
            return False
        sizes = part_sizes(batch_size, n_parts)
        _logger.warning(
            "Out of memory: batches of %d go on as %d parts of at most %d inputs.",
            batch_size,
            len(sizes),
            sizes[0],
        )
        self.use_parts(n_parts)
        release(self._device)
        return True

    def use_resolution(self, share: float) -> None:
        """Train on inputs of this share of their resolution from now on."""
        if share != self._share:
            self._share = share
            self.use_parts(self.n_parts)  # a recording has the size of the inputs built in

    @property
    def evaluated(self) -> nn.Module:
        """The network that is validated: with averaged weights, if there is an average."""
        return self._network if self._average is None else self._average.network

    def keep_best(self) -> None:
        """Keep the weights of the network that was just validated, if the best are wanted."""
        if self._best is not None:
            self._best.keep(self.evaluated)

    def finish(self, *, has_best: bool) -> None:
        """Give the network its final weights: the best, the averaged or the latest ones.

        Args:
            has_best: Whether any weights were kept as the best.
        """
        if self._best is not None and has_best:
            self._best.put_into(self._network)
        elif self._average is not None:
            copy_weights(self._average.network, self._network)

    def feed(self, rows: Sequence[torch.Tensor]) -> Iterator[tuple[Tensors, ...]]:
        """Yield what a call takes, for each set of rows."""
        if self._takes_rows:
            return ((some,) for some in rows)
        return (self._varied(batch) for batch in self._data.batches(rows))

    def begin_epoch(self) -> None:
        """Set the network to training, and the loss to 0."""
        self._network.train()
        self._total.zero_()

    def __call__(self, rate: float, mix: float, *batch: Tensors) -> None:
        """Make one step.

        Args:
            rate: The learning rate.
            mix: What an input weighs when it is mixed with another one; ignored without mixup.
            batch: What :meth:`feed` has yielded.
        """
        self._updater.set_rate(rate)
        if self._settings.is_mixed:
            self._mix.fill_(mix)
        self._run(*batch)
        if self._average is not None:
            # NOTE: outside the recorded step, whose trial runs must leave no trace in it.
            self._average.update(self._network)

    def total_loss(self) -> float:
        """Return the sum of the epoch's losses: this waits for the device."""
        return self._total.item()

    def _varied(self, batch: Batch) -> Batch:
        strength = self._settings.augmentation
        if self._share < 1:
            batch = self._task.rescale(*batch, self._share)
        return self._task.vary(*batch, strength, self._generator) if strength > 0 else batch

    def _compute(self, *batch: AnyTensors) -> None:
        if self._takes_rows:
            batch = self._varied(self._data.take(*batch))
        inputs, *targets = batch
        if self._settings.is_mixed:
            # Rows are in random order, so the last row is as good a partner as any for the first.
            inputs = self._task.mix(inputs, tensors.backwards(inputs), self._mix)
            targets.append(tensors.backwards(targets[0]))
        self._updater.optimizer.zero_grad()
        n_rows = tensors.n_rows(inputs)
        sizes = part_sizes(n_rows, self.n_parts)
        parts = zip(*(tensors.split(each, sizes) for each in (inputs, *targets)), strict=True)
        for size, part in zip(sizes, parts, strict=True):
            loss = self._loss(*part)
            if len(sizes) > 1:
                # The mean of the batch is the mean of its parts, weighted by their rows.
                loss = loss * (size / n_rows)
            loss.backward()  # type: ignore[no-untyped-call]
            # NOTE: summed on the device. To read a loss in each step would make the host wait.
            self._total += loss.detach()
        self._updater.step()

    def _loss(self, inputs: Tensors, *targets: Tensors) -> torch.Tensor:
        """Return the loss of one part; of two sets of targets, if the inputs are mixed."""
        outputs = forward(self._network, inputs, self._task, targets[0])
        # NOTE: classes as numbers cannot be mixed. The mixture of both losses is what cross
        # entropy would give for mixed classes.
        losses = [self._task.loss(outputs, t, self._settings.label_smoothing) for t in targets]
        return losses[0] if len(losses) == 1 else torch.lerp(losses[1], losses[0], self._mix)


def _recorder(device: torch.device, generators: Sequence[torch.Generator]) -> Recorder | None:
    """Return what records steps on a device, or None where they cannot be recorded."""
    if device.type != "cuda":
        return None
    return GraphRecorder(device, [g for g in generators if g.device.type == "cuda"])
