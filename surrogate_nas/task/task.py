"""What a network is trained for: data, splits, metric and direction, loss, meta-features.

The Trainer, the surrogate and the sampler know a :class:`Task` by these names alone. Each domain
has subclasses of its own under :mod:`surrogate_nas.domains`: they say how raw data become a batch,
how a batch is varied, and which loss is taken.
"""

from __future__ import annotations

import abc
import hashlib
import inspect
import json
from collections.abc import Callable
from typing import Any, Literal, final

import torch
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.errors import TaskError, TrainingError, visible
from surrogate_nas.metric import Metric, Scorer
from surrogate_nas.task.splits import SplitLike
from surrogate_nas.tensors import AnyTensors, Shape, Tensors

Direction = Literal["minimize", "maximize"]


@final
class _Derived:
    """An attribute that follows from others until it is set, in a subclass or on an instance."""

    def __init__(self, derive: Callable[[Task], Any]) -> None:
        self._derive = derive

    def __get__(self, task: Task | None, owner: type[Task]) -> Any:
        # NOTE: without a `__set__`, what a subclass or an instance assigns comes first.
        return self if task is None else self._derive(task)


def _derived(derive: Callable[[Task], Any]) -> Any:
    """Return a :class:`_Derived`, for annotations of what it gives."""
    return _Derived(derive)


def _is_set(task: Task, name: str) -> bool:
    # NOTE: looked up statically. An ordinary access would derive the value, and `shape` and
    # `input_shape` derive from each other.
    return not isinstance(inspect.getattr_static(task, name), _Derived)


def _shape(task: Task) -> Shape:
    if not _is_set(task, "input_shape") or not _is_set(task, "n_outputs"):
        raise TaskError(
            expected=f"{type(task).__name__} to say what a network must fit",
            got="neither shape, nor input_shape and n_outputs",
            fix="set self.shape in the task's constructor, such as Shape(length=64, classes=4)",
        )
    return Shape(input=tuple(task.input_shape), outputs=task.n_outputs)


def _input_shape(task: Task) -> tuple[int, ...]:
    sides = (value for value in task.shape.values() if isinstance(value, tuple))
    return next(sides, ())


def _n_outputs(task: Task) -> int:
    return int(task.shape.get("outputs", task.shape.get("classes", 0)))


class Task(abc.ABC):
    """A data set with its splits, metric, loss and meta-features."""

    name: str
    """How past tasks and reports call it."""
    train: SplitLike
    """Networks are fitted on this."""
    validation: SplitLike
    """Architectures are chosen by the metric on this."""
    test: SplitLike
    """Touched once, by the final network."""
    metric: Metric
    """What a trial returns, and which way is better."""
    input_shape: tuple[int, ...] = _derived(_input_shape)
    """Shape of one prepared input; by default the first tuple in :attr:`shape`, if any."""
    n_outputs: int = _derived(_n_outputs)
    """Width of the network's last layer; by default :attr:`shape`'s ``outputs`` or ``classes``."""
    shape: Shape = _derived(_shape)
    """What a network must fit; by default ``input`` and ``outputs`` from the two above."""
    augments_on_device: bool = False
    """Whether :meth:`vary` takes a generator on the inputs' own device, too."""
    usual_augmentation: float = 0.0
    """Strength of the augmentation where the Trainer has none of its own, in [0, 1]."""
    classes: tuple[str, ...] = ()
    """Names of the classes in the order of the outputs; empty where there are none."""

    def __repr__(self) -> str:
        sizes = " + ".join(f"{len(s):,}" for s in (self.train, self.validation, self.test))
        outputs = f"{len(self.classes)} classes" if self.classes else f"{self.n_outputs} outputs"
        return visible(
            f"<{type(self).__name__} {self.name!r}: {sizes} rows (train + validation + test), "
            f"{self._inputs_in_words()}, {outputs}, {self.metric.name}>"
        )

    def _inputs_in_words(self) -> str:
        if self.input_shape:
            return f"inputs {self.input_shape}"
        outputs = ("outputs", "classes")
        return ", ".join(f"{n} {value}" for n, value in self.shape.items() if n not in outputs)

    @property
    def direction(self) -> Direction:
        """Whether a larger or a smaller metric is better."""
        return self.metric.direction

    @property
    def fingerprint(self) -> str:
        """A short hash of shapes, metric, targets and a sample of inputs, equal across processes.

        A study that is continued compares it: trials of another task, or of the same data split
        otherwise, do not belong together. Names play no part.
        """
        digest = hashlib.sha256(f"{self.metric.name} {self.n_outputs}".encode())
        # NOTE: what is hashed of a task of plain tensors must never change: studies remember it.
        said = (tuple(self.input_shape), self.n_outputs)
        # Names came later than the two sizes, so only what they add to these enters the hash.
        rest = {n: value for n, value in self.shape.items() if value not in said}
        if rest:
            digest.update(json.dumps(Shape(rest).to_json(), sort_keys=True).encode())
        for split in (self.train, self.validation, self.test):
            for fact in split.facts():
                digest.update(fact)
        return digest.hexdigest()[:16]

    @abc.abstractmethod
    def prepare(self, inputs: AnyTensors) -> AnyTensors:
        """Turn raw inputs (n, ...) into network inputs ``(n, *input_shape)``, same device."""

    def example(self, n: int) -> AnyTensors:
        """Return n prepared inputs, as a network is called with them.

        Operations are counted, and exported forms traced and compared, on these. By default they
        are the first inputs of the training split. A task whose networks take more in training,
        such as the inputs of a decoder, adds that here.
        """
        # A split of fewer than n rows is repeated.
        inputs, _ = self.train.take(torch.arange(n) % len(self.train))
        return self.prepare(inputs)

    def augment(
        self, inputs: AnyTensors, strength: float, generator: torch.Generator
    ) -> AnyTensors:
        """Vary prepared inputs ``(n, *input_shape)`` at random; by default not at all.

        Args:
            inputs: A prepared batch; not modified.
            strength: 0 leaves the batch as it is, 1 is the domain's usual augmentation.
            generator: Source of randomness, on the CPU; or on the inputs' device, where
                :attr:`augments_on_device` says so. A GPU then waits for nothing.
        """
        return inputs

    def vary(
        self, inputs: AnyTensors, targets: AnyTensors, strength: float, generator: torch.Generator
    ) -> tuple[Tensors, Tensors]:
        """Vary a batch of the training split at random, its targets with it where they must.

        A mask or a box moves with its image. By default :meth:`augment` varies the inputs alone.

        Args:
            inputs: A prepared batch; not modified.
            targets: Its targets; not modified.
            strength: As in :meth:`augment`.
            generator: As in :meth:`augment`.
        """
        return self.augment(inputs, strength, generator), targets

    def rescale(
        self, inputs: AnyTensors, targets: AnyTensors, share: float
    ) -> tuple[Tensors, Tensors]:
        """Return a batch at a share of its resolution, its targets with it where they must.

        Args:
            inputs: A prepared batch.
            targets: Its targets.
            share: Share of each side, in (0, 1).

        Raises:
            TaskError: The inputs have no resolution. That is the default.
        """
        raise TaskError(
            expected="inputs with a resolution, such as images",
            got=f"{type(self).__name__}, which cannot rescale its inputs",
            fix=f"train with start_resolution=1, or override {type(self).__name__}.rescale",
        )

    def mix(self, inputs: AnyTensors, other: AnyTensors, share: torch.Tensor) -> Tensors:
        """Mix prepared inputs with others, row by row (mixup, Zhang et al. 2018).

        Args:
            inputs: A batch.
            other: As many other inputs.
            share: What `inputs` weigh, a number from 0 to 1; the others weigh the rest.

        Raises:
            TaskError: The inputs are discrete, such as tokens: there is nothing between two.
        """
        discrete = tensors.discrete(inputs)
        if discrete:
            raise TaskError(
                expected="inputs of floating-point numbers, which mixup can mix",
                got=f"whole numbers as {', '.join(discrete)}",
                fix=f"train with mixup=0, or override {type(self).__name__}.mix",
            )
        # lerp(a, b, w) is a + w (b - a), so its last argument is the weight of `inputs`.
        mixed: Tensors = tensors.apply(lambda one, two: torch.lerp(two, one, share), inputs, other)
        return mixed

    def forward(
        self, network: nn.Module, inputs: AnyTensors, targets: AnyTensors | None = None
    ) -> Tensors:
        """Return a network's outputs in training, for :meth:`loss`.

        By default the network is called with the inputs: with a tensor as its only argument, with
        named tensors as its keyword arguments. A task may use the targets here, for teacher
        forcing or to draw negatives. It must not return them.

        Args:
            network: In training mode.
            inputs: A prepared batch, varied and mixed.
            targets: Its targets; None outside training.
        """
        outputs: Tensors = tensors.call(network, inputs)
        return outputs

    def predict(self, network: nn.Module, inputs: AnyTensors) -> Tensors:
        """Return a network's outputs in evaluation, for :meth:`scorer`.

        By default they are those of :meth:`forward`. A task may decode or rank here.

        Args:
            network: In evaluation mode.
            inputs: A prepared batch.
        """
        return self.forward(network, inputs)

    def check_outputs(self, outputs: AnyTensors, n: int) -> None:
        """Refuse outputs that do not fit, of :meth:`forward` as well as of :meth:`predict`.

        By default they must be one tensor (n, n_outputs).

        Args:
            outputs: What the network returned.
            n: How many rows the batch has.

        Raises:
            TrainingError: They do not fit.
        """
        shape = (n, self.n_outputs)
        if isinstance(outputs, torch.Tensor) and tuple(outputs.shape) == shape:
            return
        got = f"{tuple(outputs.shape)}" if isinstance(outputs, torch.Tensor) else _said(outputs)
        raise TrainingError(
            expected=f"a network whose output has shape {shape}",
            got=got,
            fix="end the network with a layer of task.n_outputs outputs, or override "
            f"{type(self).__name__}.check_outputs if its outputs have another form",
        )

    @abc.abstractmethod
    def loss(
        self, outputs: AnyTensors, targets: AnyTensors, label_smoothing: float
    ) -> torch.Tensor:
        """Return the training loss, a scalar, of outputs (n, n_outputs) and targets (n, ...)."""

    def score(self, outputs: AnyTensors, targets: AnyTensors) -> float:
        """Return the metric of a whole split's outputs (n, n_outputs), on the CPU in float32.

        By default the metric's ``compute`` is given targets and outputs as NumPy arrays. A task
        with a :meth:`scorer` of its own needs no score.
        """
        return self.metric.compute(targets.numpy(), outputs.numpy())

    def scorer(self) -> Scorer:
        """Return what accumulates the metric of a split, batch by batch.

        By default it is the metric's own, if it has one; else all outputs and targets are
        collected on the CPU and given to :meth:`score`. A task with large outputs, such as masks,
        returns one that keeps sums only.
        """
        return Collecting(self) if self.metric.scorer is None else self.metric.scorer()

    @abc.abstractmethod
    def merged(self) -> Task:
        """Return the same task with the validation split added to the training split."""

    @property
    @abc.abstractmethod
    def meta_features(self) -> dict[str, float]:
        """Return numbers that describe the task, computed from the training split alone."""

    def preparation(self) -> nn.Module | None:
        """Return :meth:`prepare` as a module on the CPU, raw inputs to prepared inputs.

        Its constants are buffers, so that it can be written down as plain PyTorch beside an
        exported network. None, the default, says that there is no such module.
        """
        return None

    def scripts(self) -> dict[str, str]:
        """Return small programs for one new input, by file name, for an exported network's folder.

        They stand beside ``network.py`` and ``architecture.json``, and import the former. By
        default there are none.
        """
        return {}


@final
class Collecting:
    """Collects a split's outputs, and scores them as a whole.

    Args:
        task: Whose ``score`` is asked at the end.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._outputs: list[Tensors] = []
        self._targets: list[Tensors] = []

    @property
    def name(self) -> str:
        """What the number comes from, for messages."""
        return f"{type(self._task).__name__}.score"

    def update(self, outputs: Tensors, targets: Tensors) -> None:
        """Take one batch's outputs and targets, on any device."""
        # NOTE: batches stay on their device until the end, since each copy makes a GPU wait.
        self._outputs.append(outputs)
        self._targets.append(targets)

    def compute(self) -> Any:
        """Return the score of all."""
        outputs, targets = (
            tensors.to_device(tensors.cat(parts), "cpu")
            for parts in (self._outputs, self._targets)
        )
        return self._task.score(outputs, targets)


def _said(outputs: object) -> str:
    """Say what a network returned instead of a tensor."""
    if isinstance(outputs, dict) and tensors.is_tensors(outputs):
        return "named tensors " + ", ".join(f"{n} {tuple(t.shape)}" for n, t in outputs.items())
    return type(outputs).__name__
