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
import torch
from optuna.distributions import BaseDistribution
from torch import nn

from surrogate_nas import tensors
from surrogate_nas.errors import SpaceError
from surrogate_nas.files.svg import choices_table
from surrogate_nas.space.draw import Chooser, attempt, mutation_chooser, replay_chooser
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
    described_params: tuple[str, ...] = ()
    """Names of parameters whose choices are a user's own, such as backbones by name.

    A surrogate knows these choices by the numbers of :meth:`features` alone. So it fits a space
    with other choices as well.
    """
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
        through it to get the same architecture back. It may be conditional. A combination that is
        no architecture may be refused by raising ``optuna.TrialPruned``: it is drawn again.
        """

    @abc.abstractmethod
    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        """Build the network, ``(batch, *task.input_shape) -> (batch, task.n_outputs)``."""

    def canonical(self, architecture: Architecture) -> str:
        """Return a key that is equal for architectures that are the same network.

        By default the sorted values themselves; a space that knows of equivalent architectures
        says so here, and none of them is trained twice.
        """
        # NOTE: values that JSON does not know are told apart by their text.
        return json.dumps(dict(sorted(architecture.items())), sort_keys=True, default=str)

    def describe(self, architecture: Architecture) -> dict[str, float]:
        """Return named numbers that are known before training, for :attr:`reference`'s shape.

        By default ``parameters``, ``multiply_accumulates`` (for one input) and ``depth`` (layers
        with weights), counted on PyTorch's meta device: no memory, no arithmetic, no GPU. What
        cannot be counted is left out.
        """
        # NOTE: a function that builds, because the counting decides on which device that happens.
        return count(
            lambda: checked_network(
                self.build(architecture, self.reference), f"{type(self).__name__}.build"
            ),
            self.reference.input_shape,
            self._example,
        )

    def is_degenerate(self, architecture: Architecture) -> bool:
        """Return whether an architecture cannot learn, whatever its training is.

        Its network has no path from input to output, for example. It is never suggested as long as
        there are others. By default it is degenerate if :meth:`describe` counts no parameters, or
        if a ``describe`` of the space's own gives a ``depth`` of 0.

        A space that overrides it is asked about every candidate, so it should be quick. The
        default is asked about the chosen candidate alone, and only where that builds no network:
        if the space has a ``describe`` of its own, or if there are limits.
        """
        described = self.describe(architecture)
        # NOTE: the depth that this class counts leaves out layers of a user's own.
        is_own = type(self).describe is not SearchSpace.describe
        return described.get("parameters") == 0 or (is_own and described.get("depth") == 0)

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

    def training_view(
        self, network: nn.Module, task: Any, device: torch.device
    ) -> tuple[nn.Module, Any]:
        """Return the part of a network that is trained, and the task that this part sees.

        By default they are the network and the task themselves. A network that begins with a
        frozen part may run that part once. Its other part is then trained on the outputs.

        Args:
            network: What :meth:`build` returned, with the weights that training starts from.
            task: The task that the network is for.
            device: Device that the network is going to be trained on.

        Returns:
            A part of the network, which shares its weights, and a task with the same metric.
        """
        return network, task

    def finished(self, network: nn.Module) -> nn.Module:
        """Return a network in the form in which it is exported; by default the network itself.

        Args:
            network: What :meth:`build` returned, with any weights. It may be changed.
        """
        return network

    def first(self) -> Sequence[Mapping[str, Any]]:
        """Return parameters that a new study of the bound task begins with; by default none."""
        return ()

    def meta_features(self) -> dict[str, float]:
        """Return numbers that describe the bound task, beside the task's own; by default none."""
        return {}

    def weights_from(self, architecture: Architecture) -> str:
        """Say which weights a network starts from; empty where it starts from random ones."""
        return ""

    def training(self, architecture: Architecture) -> dict[str, Any]:
        """Return the settings of the Trainer that the architecture decides, by name.

        By default they are the values named in TRAINING_PARAMS. A space may return any other field
        of :class:`~surrogate_nas.Trainer` as well, such as ``batch_size`` or ``optimizer``.

        Raises:
            SpaceError: A value named in TRAINING_PARAMS is no number.
        """
        return {n: _setting(n, architecture[n]) for n in TRAINING_PARAMS if n in architecture}

    def config(self) -> dict[str, Any] | None:
        """Return the constructor's arguments as JSON has them.

        None, the default, says that the space cannot be rebuilt from a file.
        """
        return None

    @final
    def from_params(self, params: Mapping[str, Any]) -> Architecture:
        """Replay a trial's parameters.

        Raises:
            SpaceError: A parameter is missing, its value is not allowed, or the space refuses the
                combination.
        """
        # The replay asks the second chooser only for what is missing or not allowed.
        _, architecture = attempt(self.suggest, replay_chooser(params, _refuse(params)))
        if architecture is None:
            raise SpaceError(
                expected="parameters that the space accepts together",
                got=f"a combination that it refuses: {dict(params)!r}",
                fix="give the parameters of a trial that this space has accepted",
            )
        return architecture

    @final
    def for_task(self, task: TaskShape) -> Self:
        """Return a copy whose :meth:`describe` counts for this task's shape."""
        # NOTE: a copy, because one space may be used for several tasks at the same time. It is
        # shallow, as only attributes that this method replaces differ.
        bound = copy.copy(self)
        named = task.shape if isinstance(task, _Shaped) else _NO_SHAPE
        bound.reference = ReferenceShape(tuple(task.input_shape), task.n_outputs, named)
        # Descriptions are counted on the CPU or on the meta device, never on a GPU.
        shown = task.example(1) if isinstance(task, Exemplary) else None
        bound._example = None if shown is None else tensors.on_cpu(shown)
        bound.bound_to(task)
        return bound

    def bound_to(self, task: TaskShape) -> None:
        """Hear which task :meth:`for_task` has bound this copy to; by default do nothing."""
        return


def _setting(name: str, value: Any) -> float:
    """Return a value of a parameter whose name the Trainer reads as a number.

    Raises:
        SpaceError: The value is no number.
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        raise SpaceError(
            expected=f"a number as {name!r}, which the Trainer reads as its own setting",
            got=repr(value),
            fix="suggest numbers, for example 0.0 for none, give the parameter another name, or "
            "override the space's method training",
        ) from None


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
