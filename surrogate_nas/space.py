"""Search spaces: what architectures there are, and how one becomes a network.

An *architecture* is what :meth:`SearchSpace.suggest` returns, normally a dict of the values it
asked the trial for. A space needs two methods, ``suggest`` and ``build``; the others have sensible
defaults that a space may sharpen.
"""

from __future__ import annotations

import abc
import copy
import hashlib
import json
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self, TypeAlias, TypeVar, final, runtime_checkable

import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution, distribution_to_json
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from surrogate_nas import tensors
from surrogate_nas.draw import (
    Chooser,
    Draw,
    mutation_chooser,
    numbers_of,
    random_chooser,
    replay_chooser,
)
from surrogate_nas.errors import SpaceError
from surrogate_nas.files.svg import choices_table
from surrogate_nas.tensors import Shape, Tensors

Architecture: TypeAlias = Mapping[str, Any]
Distributions: TypeAlias = dict[str, BaseDistribution]

TRAINING_PARAMS = ("learning_rate", "weight_decay", "augmentation")
"""Names in an architecture that the Trainer reads as its own settings."""

_NAMED = 5
_PROBES = 256
"""Random draws that discover a space's parameters, conditional ones included."""

_MOST_COUNTED_BYTES = 2**28
"""Size of the largest network that is built only to count its operations."""

_LAYERS = (
    *(nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d),
    *(nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.Embedding, nn.EmbeddingBag, nn.RNNBase, nn.MultiheadAttention),
)
"""What is counted as depth: layers with matrices of weights."""

_T = TypeVar("_T")

_logger = logging.getLogger(__name__)


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
class _Exemplary(Protocol):
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
            lambda: self.build(architecture, self.reference),
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
            neighbour, by ``space.suggest(surrogate_nas.draw.Draw(chooser))``.
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

    def training(self, architecture: Architecture) -> dict[str, float]:
        """Return the training hyperparameters that it sets (see TRAINING_PARAMS)."""
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
        shown = task.example(1) if isinstance(task, _Exemplary) else None
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


@final
class ParameterSpace(SearchSpace):
    """A space without networks, from a dict of distributions or a define-by-run function.

    Used when the objective builds what it evaluates by itself.
    """

    def __init__(self, space: Distributions | Callable[[optuna.trial.BaseTrial], Any]) -> None:
        self._space = space

    def __repr__(self) -> str:
        if not isinstance(self._space, Mapping):
            return f"<ParameterSpace of {getattr(self._space, '__name__', 'a function')}>"
        names = [*self._space][:_NAMED]
        more = f" and {len(self._space) - _NAMED} more" if len(self._space) > _NAMED else ""
        return f"<ParameterSpace of {', '.join(names)}{more}>"

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        """Ask for every parameter."""
        if isinstance(self._space, Mapping):
            return {n: suggest_from(trial, n, d) for n, d in self._space.items()}
        self._space(trial)
        return trial.params

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        """Refuse: there is nothing to build.

        Raises:
            SpaceError: Always.
        """
        raise SpaceError(
            expected="a SearchSpace with a build method",
            got="a space of bare parameters",
            fix="subclass surrogate_nas.SearchSpace with suggest and build",
        )

    def describe(self, architecture: Architecture) -> dict[str, float]:
        """Return the numeric parameters themselves: nothing else is known."""
        return {n: float(v) for n, v in architecture.items() if isinstance(v, int | float)}


SpaceLike: TypeAlias = SearchSpace | Distributions | Callable[[optuna.trial.BaseTrial], Any]


def as_space(space: SpaceLike) -> SearchSpace:
    """Accept a SearchSpace, a dict of distributions or a define-by-run function.

    Raises:
        SpaceError: It is none of these.
    """
    if isinstance(space, SearchSpace):
        return space
    is_dict = isinstance(space, Mapping) and all(
        isinstance(d, BaseDistribution) for d in space.values()
    )
    if is_dict or (callable(space) and not isinstance(space, type)):
        return ParameterSpace(space)
    raise SpaceError(
        expected="a SearchSpace, a dict of Optuna distributions or a function of a trial",
        got=f"{space!r}",
        fix="pass for example surrogate_nas.spaces.CellSpace()",
    )


def suggest_from(trial: optuna.trial.BaseTrial, name: str, distribution: BaseDistribution) -> Any:
    """Ask a trial for a parameter that is given as a distribution object."""
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    numbers = numbers_of(distribution)
    if isinstance(numbers, optuna.distributions.IntDistribution):
        low, high, step = numbers.low, numbers.high, numbers.step
        return trial.suggest_int(name, low, high, step=step, log=numbers.log)
    low_, high_, step_ = numbers.low, numbers.high, numbers.step
    return trial.suggest_float(name, low_, high_, step=step_, log=numbers.log)


def distributions(space: SearchSpace) -> Distributions:
    """Return every parameter of a space with its distribution, found by seeded random draws.

    Raises:
        SpaceError: The space has no parameters, or a parameter's distribution changes.
    """
    rng = np.random.default_rng(0)
    found: Distributions = {}
    for _ in range(_PROBES):
        draw = Draw(random_chooser(rng))
        space.suggest(draw)
        for name, distribution in draw.distributions.items():
            if found.setdefault(name, distribution) != distribution:
                raise SpaceError(
                    expected=f"one range for parameter {name!r}",
                    got=f"{found[name]} and {distribution}",
                    fix="give the parameter another name where its range differs",
                )
    if not found:
        raise SpaceError(
            expected="a space that asks the trial for at least one parameter",
            got="a space without parameters",
            fix="call trial.suggest_categorical, suggest_int or suggest_float in it",
        )
    return found


def fingerprint(found: Distributions) -> str:
    """Return a short hash of a space's parameters and ranges, equal across processes."""
    listed = {name: json.loads(distribution_to_json(d)) for name, d in sorted(found.items())}
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()[:16]


def count(
    build: Callable[[], nn.Module], input_shape: tuple[int, ...], example: Tensors | None = None
) -> dict[str, float]:
    """Count a network's parameters, multiply-accumulates and depth, on the meta device if it can.

    Multiply-accumulates are those of matrix products, convolutions and attention, as PyTorch's
    FlopCounterMode counts them. A network that cannot be run on the meta device is run on the CPU;
    what cannot be counted there either is left out.

    Args:
        build: Makes the network; called under ``torch.device("meta")``.
        input_shape: Shape of one input, without the batch; used where there is no example.
        example: One input on the CPU, as the network is called with it.
    """
    inputs = torch.zeros(1, *input_shape) if example is None else example
    network = _tried(lambda: _built_on_meta(build))
    if isinstance(network, Exception):
        network = _built_on_cpu(build)  # whose error counts
    parameters = float(sum(p.numel() for p in network.parameters()))
    return {"parameters": parameters, **_operations(build, network, inputs)}


def _tried(run: Callable[[], _T]) -> _T | Exception:
    """Return what a function returns, or the error that it raises."""
    try:
        return run()
    except Exception as error:  # a user's build and forward run here, on stand-ins
        return error


def _built_on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network whose tensors have shapes but no numbers."""
    with torch.device("meta"):
        return build().eval()


def _built_on_cpu(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network for real, with the same weights each time, and touch no global generator."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.manual_seed(0)
        return build().eval()


def _operations(
    build: Callable[[], nn.Module], network: nn.Module, inputs: Tensors
) -> dict[str, float]:
    """Count multiply-accumulates and depth by running a network; nothing where it cannot run."""
    device = next((p.device for p in network.parameters()), torch.device("meta"))
    found = _tried(lambda: _run_counted(network, tensors.to_device(inputs, device), device))
    fits_cpu = device.type != "cpu" and _n_bytes(network) <= _MOST_COUNTED_BYTES
    if isinstance(found, Exception) and fits_cpu:
        cpu = torch.device("cpu")
        found = _tried(lambda: _run_counted(_built_on_cpu(build), inputs, cpu))
    if isinstance(found, Exception):  # training will show the error, if it is one
        _logger.info("Operations cannot be counted: %s: %s", type(found).__name__, found)
        return {}
    return found


def _n_bytes(network: nn.Module) -> int:
    return sum(p.nbytes for p in network.parameters())


def _recurrent_flops(
    inputs: torch.Size, w_inputs: torch.Size, w_hidden: torch.Size, *_: object, **__: object
) -> int:
    """Count a recurrent layer: each of (steps, rows) is multiplied with both matrices."""
    return 2 * inputs[0] * inputs[1] * (math.prod(w_inputs) + math.prod(w_hidden))


def _attention_flops(
    query: torch.Size, key: torch.Size, value: torch.Size, *_: object, **__: object
) -> int:
    """Count attention of (rows, heads, steps, width): scores of all pairs, then their sums."""
    rows, heads, steps, width = query
    return 2 * rows * heads * steps * key[2] * (width + value[3])


_CPU_KERNELS: dict[Any, Callable[..., int]] = {
    torch.ops.aten.mkldnn_rnn_layer: _recurrent_flops,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops,
}
"""Fused operations of the CPU that FlopCounterMode does not know."""


def _run_counted(network: nn.Module, inputs: Tensors, device: torch.device) -> dict[str, float]:
    """Run a network once, and count what it does."""
    depth = 0.0

    def add_depth(module: nn.Module, *_: object) -> None:
        nonlocal depth
        depth += module.num_layers if isinstance(module, nn.RNNBase) else 1

    hooks = [
        module.register_forward_hook(add_depth)
        for module in network.modules()
        if isinstance(module, _LAYERS)
    ]
    counter = FlopCounterMode(display=False, custom_mapping=_CPU_KERNELS)
    with device, torch.no_grad(), counter:
        tensors.call(network, inputs)
    for hook in hooks:
        hook.remove()
    # A flop is an addition or a multiplication: two of them are one multiply-accumulate.
    return {"multiply_accumulates": counter.get_total_flops() / 2, "depth": depth}
