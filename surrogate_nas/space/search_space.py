"""Search spaces: what architectures there are, and how one becomes a network.

An *architecture* is what :meth:`SearchSpace.suggest` returns, normally a dict of the values it
asked the trial for. A space needs two methods, ``suggest`` and ``build``; the others have sensible
defaults that a space may sharpen.
"""

from __future__ import annotations

import abc
import copy
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeAlias, final, runtime_checkable

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.errors import SpaceError
from surrogate_nas.files.svg import choices_table
from surrogate_nas.space.draw import Chooser, Draw, mutation_chooser, replay_chooser
from surrogate_nas.space.networks import checked_network
from surrogate_nas.tensors import Shape, Tensors
from surrogate_nas.tensors.counting import count

Architecture: TypeAlias = Mapping[str, Any]
Distributions: TypeAlias = dict[str, BaseDistribution]

TRAINING_PARAMS = ("learning_rate", "weight_decay", "augmentation")
"""Names in an architecture that the Trainer reads as its own settings."""


class TaskShape(Protocol):
    """What a network must fit; every :class:`~surrogate_nas.Task` is one."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, without the batch: (channels, height, width) for images."""

    @property
    def n_outputs(self) -> int:
        """Width of the network's last layer: the number of classes."""

    @property
    def shape(self) -> Shape:
        """All that a network must fit, by name."""


@runtime_checkable
class Exemplary(Protocol):
    """A shape that has inputs to show, as every Task has."""

    def example(self, n: int) -> Tensors:
        """Return n prepared inputs."""


@runtime_checkable
class _Shaped(Protocol):
    @property
    def shape(self) -> Shape:
        """All that a network must fit, by name."""


_NO_SHAPE = Shape()


@final
@dataclass(frozen=True)
class ReferenceShape:
    """A task's shape without its data, for describing architectures before a task is known."""

    input_shape: tuple[int, ...] = (3, 32, 32)
    n_outputs: int = 10
    shape: Shape = _NO_SHAPE

    def __post_init__(self) -> None:
        if not self.shape:
            plain = Shape(input=tuple(self.input_shape), outputs=self.n_outputs)
            object.__setattr__(self, "shape", plain)


@final
@dataclass(frozen=True, eq=False)
class ParameterGroup:
    """Parameters of a network that are trained with rates of their own.

    Args:
        parameters: The parameters.
        rate: What their learning rate is multiplied by; 0 leaves them as they are.
        decay: What their weight decay is multiplied by.
    """

    parameters: Sequence[nn.Parameter]
    rate: float = 1.0
    decay: float = 1.0


class SearchSpace(abc.ABC):
    """A set of architectures as a define-by-run function, and the way to build them."""

    reference: TaskShape = ReferenceShape()
    """The shape that :meth:`describe` counts for; see :meth:`for_task`."""
    _example: Tensors | None = None
    """One prepared input of the task that the space is bound to."""

    def __repr__(self) -> str:
        settings = self.config()
        if settings is None:
            return f"<{type(self).__name__}>"
        words = ", ".join(f"{name}={value!r}" for name, value in settings.items())
        return f"{type(self).__name__}({words})"

    @abc.abstractmethod
    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        """Ask the trial for each choice and return the architecture.

        Must be a pure function of the trial's answers: a stored trial's parameters are replayed
        through it to get the same architecture back. It may be conditional.
        """

    @abc.abstractmethod
    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        """Build the network, ``(batch, *task.input_shape) -> (batch, task.n_outputs)``."""

    def canonical(self, architecture: Architecture) -> str:
        """Return a key that is equal for architectures that are the same network.

        By default the sorted values themselves; a space that knows of equivalent architectures
        says so here, and none of them is trained twice.
        """
        return json.dumps(dict(sorted(architecture.items())), sort_keys=True, default=str)

    def describe(self, architecture: Architecture) -> dict[str, float]:
        """Return named numbers that are known before training, for :attr:`reference`'s shape.

        By default ``parameters``, ``multiply_accumulates`` (for one input) and ``depth`` (layers
        with weights), counted on PyTorch's meta device: no memory, no arithmetic, no GPU. What
        cannot be counted is left out.
        """
        return count(
            lambda: checked_network(
                self.build(architecture, self.reference), f"{type(self).__name__}.build"
            ),
            self.reference.input_shape,
            self._example,
        )

    def features(self, architecture: Architecture) -> dict[str, float]:
        """Return further named numbers for the surrogate, the same names for all architectures."""
        return {}

    def mutate(self, params: Mapping[str, Any], rng: np.random.Generator) -> Chooser:
        """Return how to draw a neighbour of an architecture.

        By default one parameter is moved: to another category, or a step along a number's range.
        Parameters that exist only because of the move are drawn at random. Screening and
        strategies use it; a space that knows better what a small change is overrides it.

        Args:
            params: Parameters of the architecture. Missing ones are drawn at random.
            rng: Source of randomness.

        Returns:
            A function that answers a parameter's name and distribution with a value. It draws one
            neighbour, by ``space.suggest(surrogate_nas.space.draw.Draw(chooser))``.
        """
        return mutation_chooser(params, rng)

    def summary(self, architecture: Architecture) -> str:
        """Say in plain words what the architecture is."""
        return ", ".join(f"{name} {value}" for name, value in architecture.items())

    def picture(self, architecture: Architecture) -> str:
        """Draw the architecture, as the text of an SVG picture.

        By default a table of its choices. A picture should say what it shows in a ``<title>`` and
        not by colour alone; names that enter it must be escaped, as
        ``surrogate_nas.files.svg.Drawing`` does.
        """
        words = self.summary(architecture)
        return choices_table(type(self).__name__, list(architecture.items()), words)

    def label(self, parameter: str) -> str:
        """Return what a parameter is in plain words; by default its name without underscores."""
        return parameter.replace("_", " ")

    def parameter_groups(self, network: nn.Module) -> Sequence[ParameterGroup]:
        """Return the network's parameters in groups with learning rates of their own.

        By default all are in one group. A pretrained body may learn more slowly than a new head.

        Args:
            network: What :meth:`build` returned, with the weights that training starts from.
        """
        return (ParameterGroup(tuple(network.parameters())),)

    def training(self, architecture: Architecture) -> dict[str, Any]:
        """Return the settings of the Trainer that the architecture decides, by name.

        By default they are the values named in TRAINING_PARAMS. A space may return any other field
        of :class:`~surrogate_nas.Trainer` as well, such as ``batch_size`` or ``optimizer``.
        """
        return {n: float(architecture[n]) for n in TRAINING_PARAMS if n in architecture}

    def config(self) -> dict[str, Any] | None:
        """Return the constructor's arguments as JSON has them.

        None, the default, says that the space cannot be made anew from a file.
        """
        return None

    @final
    def from_params(self, params: Mapping[str, Any]) -> Architecture:
        """Replay a trial's parameters.

        Raises:
            SpaceError: A parameter is missing or its value is not allowed.
        """
        return self.suggest(Draw(replay_chooser(params, _refuse(params))))

    @final
    def for_task(self, task: TaskShape) -> Self:
        """Return a copy whose :meth:`describe` counts for this task's shape."""
        bound = copy.copy(self)
        named = task.shape if isinstance(task, _Shaped) else _NO_SHAPE
        bound.reference = ReferenceShape(tuple(task.input_shape), task.n_outputs, named)
        shown = task.example(1) if isinstance(task, Exemplary) else None
        bound._example = None if shown is None else tensors.on_cpu(shown)
        return bound


def _refuse(params: Mapping[str, Any]) -> Callable[[str, BaseDistribution], Any]:
    """A chooser that explains which parameter could not be replayed."""

    def choose(name: str, distribution: BaseDistribution) -> Any:
        got = f"{params[name]!r}" if name in params else "no such parameter"
        raise SpaceError(
            expected=f"a value of {name!r} in {distribution}",
            got=got,
            fix="give the parameters of a trial of this very search space",
        )

    return choose
