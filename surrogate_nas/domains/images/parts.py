"""What the image spaces share: reading architectures, resolutions, counting, training choices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import optuna

from surrogate_nas.errors import SpaceError
from surrogate_nas.space import TRAINING_PARAMS, Architecture, TaskShape

SMALLEST_REDUCED = 4
"""Feature maps with a side below this many pixels are not reduced further."""


def image_shape(task: TaskShape) -> tuple[int, int, int]:
    """Return a task's (channels, height, width).

    Raises:
        SpaceError: Its inputs are not images.
    """
    shape = tuple(task.input_shape)
    if len(shape) != 3 or min(shape) < 1:
        raise SpaceError(
            expected="image inputs of shape (channels, height, width)",
            got=f"{shape}",
            fix="use a task of images, or a search space for this kind of input",
        )
    return shape[0], shape[1], shape[2]


def stage_sizes(height: int, width: int, n_stages: int) -> list[tuple[int, int]]:
    """Return each stage's (height, width): halved from stage to stage while large enough."""
    sizes = [(height, width)]
    for _ in range(n_stages - 1):
        height, width = sizes[-1]
        if min(height, width) >= SMALLEST_REDUCED:
            # A convolution of stride 2 rounds up.
            height, width = (height + 1) // 2, (width + 1) // 2
        sizes.append((height, width))
    return sizes


def value(architecture: Architecture, name: str) -> Any:
    """Return one of an architecture's values.

    Raises:
        SpaceError: It has no such value.
    """
    if name not in architecture:
        raise SpaceError(
            expected=f"an architecture with a value of {name!r}",
            got=f"one with {', '.join(sorted(architecture)) or 'no values'}",
            fix="give what this space's suggest or from_params returns",
        )
    return architecture[name]


def whole(architecture: Architecture, name: str, allowed: Sequence[int]) -> int:
    """Return one of an architecture's whole numbers.

    Raises:
        SpaceError: It is missing or not among the allowed ones.
    """
    return int(choice(architecture, name, allowed))


def choice(architecture: Architecture, name: str, allowed: Sequence[Any]) -> Any:
    """Return one of an architecture's choices.

    Raises:
        SpaceError: It is missing or not among the allowed ones.
    """
    got = value(architecture, name)
    if got not in allowed:
        raise SpaceError(
            expected=f"a value of {name!r} among {', '.join(map(str, allowed))}",
            got=f"{got!r}",
            fix="give what this space's suggest or from_params returns",
        )
    return got


def checked_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """Return the channel counts a space may choose from.

    Raises:
        SpaceError: They are not ascending positive whole numbers.
    """
    found = tuple(widths)
    whole_numbers = all(isinstance(w, int) and w >= 1 for w in found)
    if not found or not whole_numbers or list(found) != sorted(set(found)):
        raise SpaceError(
            expected="widths as ascending positive whole numbers",
            got=f"{found}",
            fix="give for example widths=(8, 16, 24, 32)",
        )
    return found


def checked_count(name: str, number: int, lowest: int = 1) -> int:
    """Return a constructor's count.

    Raises:
        SpaceError: It is not a whole number of at least `lowest`.
    """
    if not isinstance(number, int) or number < lowest:
        raise SpaceError(
            expected=f"{name} as a whole number of at least {lowest}",
            got=f"{number!r}",
            fix=f"give for example {name}={lowest + 1}",
        )
    return number


def suggest_width(trial: optuna.trial.BaseTrial, name: str, widths: tuple[int, ...]) -> int:
    """Ask for a width; as a number where the widths are evenly spaced, else as a category."""
    steps = {b - a for a, b in itertools.pairwise(widths)} or {1}
    if len(steps) == 1:
        return trial.suggest_int(name, widths[0], widths[-1], step=steps.pop())
    return int(trial.suggest_categorical(name, widths))


def suggest_training(trial: optuna.trial.BaseTrial) -> dict[str, float]:
    """Ask for the training hyperparameters that the Trainer reads from an architecture."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 3e-3, 3e-1, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 1e-2, log=True),
        "augmentation": trial.suggest_float("augmentation", 0.0, 1.0),
    }


def say_training(training: Mapping[str, float]) -> list[str]:
    """Return training hyperparameters in words."""
    return [f"{n.replace('_', ' ')} {training[n]:.2g}" for n in TRAINING_PARAMS if n in training]


def plural(number: int, noun: str) -> str:
    """Return for example "1 block" or "2 blocks"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


@final
class Tally:
    """Adds up a network's parameters and multiply-accumulates without building it."""

    def __init__(self) -> None:
        self.parameters = 0
        self.macs = 0

    def convolution(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        pixels: int,
        *,
        groups: int = 1,
        bias: bool = False,
        times: int = 1,
    ) -> None:
        """Add convolutions of so many channels, with so many pixels in their output."""
        weights = outputs * (inputs // groups) * kernel * kernel
        self.parameters += times * (weights + outputs * bias)
        self.macs += times * weights * pixels

    def norm(self, channels: int, times: int = 1) -> None:
        """Add normalizations, each with a scale and a shift a channel."""
        self.parameters += times * 2 * channels

    def head(self, channels: int, outputs: int) -> None:
        """Add the last linear layer."""
        self.convolution(channels, outputs, 1, 1, bias=True)

    def described(self, depth: int) -> dict[str, float]:
        """Return the sums under the names of :meth:`SearchSpace.describe`."""
        return {
            "parameters": float(self.parameters),
            "multiply_accumulates": float(self.macs),
            "depth": float(depth),
        }


def log_sizes(described: Mapping[str, float]) -> dict[str, float]:
    """Return the features that every image space has: sizes in powers of ten, and depth."""
    return {
        "log10_parameters": math.log10(described["parameters"]),
        "log10_multiply_accumulates": math.log10(described["multiply_accumulates"]),
        "network_depth": described["depth"],
    }
