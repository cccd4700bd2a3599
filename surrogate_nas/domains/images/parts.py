"""Helpers of the image spaces: reading architectures, resolutions, counting, training choices."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import optuna

from surrogate_nas.errors import SpaceError
from surrogate_nas.space import TRAINING_PARAMS, Architecture, TaskShape

SMALLEST_REDUCED = 4
"""Smallest side in pixels of a feature map that is still reduced."""


def image_shape(task: TaskShape) -> tuple[int, int, int]:
    """Return a task's (channels, height, width).

    Raises:
        SpaceError: The task's inputs are not images.
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
    """Return each stage's (height, width), halved from stage to stage while large enough."""
    sizes = [(height, width)]
    for _ in range(n_stages - 1):
        height, width = sizes[-1]
        if min(height, width) >= SMALLEST_REDUCED:
            # NOTE: a convolution of stride 2 rounds up.
            height, width = (height + 1) // 2, (width + 1) // 2
        sizes.append((height, width))
    return sizes


def value(architecture: Architecture, name: str) -> Any:
    """Return one of an architecture's values.

    Raises:
        SpaceError: The architecture has no value of this name.
    """
    if name not in architecture:
        raise SpaceError(
            expected=f"an architecture with a value of {name!r}",
            got=f"an architecture with {', '.join(sorted(architecture)) or 'no values'}",
            fix="give what this space's suggest or from_params returns",
        )
    return architecture[name]


def whole(architecture: Architecture, name: str, allowed: Sequence[int]) -> int:
    """Return one of an architecture's whole numbers.

    Raises:
        SpaceError: The number is missing or not allowed.
    """
    return int(choice(architecture, name, allowed))


def choice(architecture: Architecture, name: str, allowed: Sequence[Any]) -> Any:
    """Return one of an architecture's choices.

    Raises:
        SpaceError: The choice is missing or not allowed.
    """
    got = value(architecture, name)
    if got not in allowed:
        raise SpaceError(
            expected=f"a value of {name!r} among {', '.join(map(str, allowed))}",
            got=f"{got!r}",
            fix="give what this space's suggest or from_params returns",
        )
    return got


def checked_widths(widths: Sequence[int], name: str = "widths") -> tuple[int, ...]:
    """Return the widths, or sizes of another name, that a space may choose from.

    Raises:
        SpaceError: They are not ascending positive whole numbers.
    """
    found = tuple(widths)
    whole_numbers = all(isinstance(w, int) and w >= 1 for w in found)
    if not found or not whole_numbers or list(found) != sorted(set(found)):
        raise SpaceError(
            expected=f"{name} as ascending positive whole numbers",
            got=f"{found}",
            fix=f"give for example {name}=(8, 16, 24, 32)",
        )
    return found


def checked_count(name: str, number: int, lowest: int = 1) -> int:
    """Return a count that a constructor was given.

    Raises:
        SpaceError: The count is not a whole number of at least `lowest`.
    """
    if not isinstance(number, int) or number < lowest:
        raise SpaceError(
            expected=f"{name} as a whole number of at least {lowest}",
            got=f"{number!r}",
            fix=f"give for example {name}={lowest + 1}",
        )
    return number


def suggest_width(trial: optuna.trial.BaseTrial, name: str, widths: tuple[int, ...]) -> int:
    """Ask for a width: a number if the widths are evenly spaced, else a category."""
    # NOTE: a surrogate can interpolate between numbers, and not between categories.
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
    """Sums of a network's parameters and multiply-accumulates, counted without building it."""

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
        """Add convolutions.

        Args:
            inputs: Channels of the input.
            outputs: Channels of the output.
            kernel: Side of the kernel.
            pixels: Pixels of the output's feature map.
            groups: Number of groups of channels.
            bias: Whether the convolutions have a bias.
            times: Number of such convolutions.
        """
        # Each weight is multiplied once for each pixel of the output.
        weights = outputs * (inputs // groups) * kernel * kernel
        self.parameters += times * (weights + outputs * bias)
        self.macs += times * weights * pixels

    def norm(self, channels: int, times: int = 1) -> None:
        """Add normalizations, with a scale and a shift for each channel."""
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
