"""The choices of a fine-tuning: asked for under their conditions, and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias, final, get_args

import optuna

from surrogate_nas.domains.finetuning.heads import HEADS, HeadName
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import Architecture

Adaptation: TypeAlias = Literal["means", "probe", "last", "norm_bias", "lora", "all"]
Places: TypeAlias = Literal["all", "late"]

ADAPTATIONS: tuple[Adaptation, ...] = get_args(Adaptation)
PLACES: tuple[Places, ...] = ("all", "late")
MOST_STAGES = 3
"""Largest number of last stages that are trained while the others stay frozen."""
PROBE_EPOCHS = 50
"""Epochs of a linear probe, whose inputs are features that have been computed."""

LABELS: Mapping[str, str] = {
    "adaptation": "what is trained",
    "last_stages": "trained last stages",
    "lora_rank": "rank of the adapters",
    "lora_places": "places of the adapters",
    "learning_rate": "learning rate of the head",
    "body_rate": "learning rate of the body",
    "adapter_rate": "learning rate of adapters or biases",
    "layer_decay": "factor of the rate from stage to stage",
}
"""Parameter -> its name in plain words, where that is another one."""

_WORDS: Mapping[str, str] = {
    "means": "class means on frozen features of {name}, without training",
    "probe": "{head} head on frozen features of {name}",
    "last": "{name} with a {head} head, last {stages} trained",
    "norm_bias": "{name} with a {head} head, normalizations and biases trained",
    "lora": "{name} with a {head} head and adapters of rank {rank} ({places})",
    "all": "{name} with a {head} head, all trained",
}


@final
@dataclass(frozen=True)
class Choices:
    """An architecture, read and checked. Values that do not exist in it are the defaults.

    Args:
        backbone: Name of the backbone.
        adaptation: What is trained.
        resolution: Length of images' shorter side in pixels; None where there are no images.
        head: Kind of the head.
        last_stages: Number of trained stages, for "last".
        lora_rank: Rank of adapters, for "lora".
        lora_places: Which layers have adapters, for "lora".
        learning_rate: Peak learning rate of the head.
        body_rate: Peak learning rate of the last trained stage, for "last" and "all".
        adapter_rate: Peak learning rate of what is trained, for "norm_bias" and "lora".
        layer_decay: Factor of the learning rate from a stage to the one before.
        weight_decay: Weight decay.
        augmentation: Strength of the augmentation.
        epochs: Number of epochs.
    """

    backbone: str
    adaptation: Adaptation
    resolution: int | None = None
    head: HeadName = "linear"
    last_stages: int = 0
    lora_rank: int = 0
    lora_places: Places = "all"
    learning_rate: float = 1e-3
    body_rate: float = 0.0
    adapter_rate: float = 0.0
    layer_decay: float = 1.0
    weight_decay: float = 0.0
    augmentation: float = 0.0
    epochs: int = 1

    @property
    def is_frozen(self) -> bool:
        """Whether the body stays as it is."""
        return self.adaptation in ("means", "probe")

    def training(self) -> dict[str, Any]:
        """Return the settings of the Trainer."""
        return {
            "optimizer": "adamw",
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "augmentation": self.augmentation,
            "epochs": PROBE_EPOCHS if self.adaptation == "probe" else self.epochs,
        }

    def words(self) -> str:
        """Return what it is in a line."""
        stages = "stage" if self.last_stages == 1 else f"{self.last_stages} stages"
        said = _WORDS[self.adaptation].format(
            name=self.backbone,
            head=self.head,
            stages=stages,
            rank=self.lora_rank,
            places=f"{self.lora_places} layers",
        )
        parts = [said]
        if self.resolution is not None:
            parts.append(f"{self.resolution} pixels")
        if self.adaptation == "means":
            return ", ".join(parts)
        parts.append(f"rate {self.learning_rate:.2g}")
        for rate in (self.body_rate, self.adapter_rate):
            parts += [f"{rate:.2g} of the body"] if rate else []
        if self.layer_decay < 1:
            parts.append(f"times {self.layer_decay:.2f} a stage")
        if not self.is_frozen:
            parts += [f"augmentation {self.augmentation:.2f}", f"{self.epochs} epochs"]
        return ", ".join(parts)


def ask(
    trial: optuna.trial.BaseTrial,
    names: Sequence[str],
    resolutions: Sequence[int] | None,
    adaptations: Sequence[str],
    heads: Sequence[str],
    epochs: tuple[int, int],
) -> dict[str, Any]:
    """Ask a trial for the choices, each only where it has an effect.

    Args:
        trial: The trial.
        names: Names of the backbones.
        resolutions: Resolutions of images; None where there are none.
        adaptations: What may be trained.
        heads: Kinds of heads.
        epochs: Smallest and largest number of epochs.
    """
    chosen: dict[str, Any] = {"backbone": trial.suggest_categorical("backbone", tuple(names))}
    if resolutions is not None:
        chosen["resolution"] = _ask_resolution(trial, resolutions)
    adaptation = trial.suggest_categorical("adaptation", tuple(adaptations))
    chosen["adaptation"] = adaptation
    if adaptation == "means":
        return chosen
    chosen["head"] = trial.suggest_categorical("head", tuple(heads))
    chosen["learning_rate"] = trial.suggest_float("learning_rate", 3e-4, 3e-2, log=True)
    chosen["weight_decay"] = trial.suggest_float("weight_decay", 1e-4, 1e-1, log=True)
    if adaptation == "probe":
        return chosen
    if adaptation == "last":
        chosen["last_stages"] = trial.suggest_int("last_stages", 1, MOST_STAGES)
    if adaptation == "lora":
        chosen["lora_rank"] = trial.suggest_int("lora_rank", 2, 32, log=True)
        chosen["lora_places"] = trial.suggest_categorical("lora_places", PLACES)
    if adaptation in ("lora", "norm_bias"):
        chosen["adapter_rate"] = trial.suggest_float("adapter_rate", 1e-4, 1e-2, log=True)
    else:
        chosen["body_rate"] = trial.suggest_float("body_rate", 1e-5, 1e-3, log=True)
        chosen["layer_decay"] = trial.suggest_float("layer_decay", 0.4, 1.0)
    chosen["augmentation"] = trial.suggest_float("augmentation", 0.0, 1.0)
    chosen["epochs"] = trial.suggest_int("epochs", *epochs, log=True)
    return chosen


def _ask_resolution(trial: optuna.trial.BaseTrial, resolutions: Sequence[int]) -> int:
    """Ask for a resolution: a number if they are evenly spaced, else a category."""
    # NOTE: a surrogate can interpolate between numbers, and not between categories.
    steps = {b - a for a, b in pairwise(resolutions)} or {1}
    if len(steps) == 1:
        low, high = resolutions[0], resolutions[-1]
        return trial.suggest_int("resolution", low, high, step=steps.pop())
    return int(trial.suggest_categorical("resolution", tuple(resolutions)))


def read(architecture: Architecture) -> Choices:
    """Return an architecture, checked.

    Raises:
        SpaceError: A choice is missing, or none of these.
    """
    values = dict(architecture)
    known = set(Choices.__dataclass_fields__)
    for name in ("backbone", "adaptation"):
        if name not in values:
            raise _foreign(f"no {name!r}")
    if set(values) - known or values["adaptation"] not in ADAPTATIONS:
        odd = sorted(set(values) - known) or [f"adaptation {values['adaptation']!r}"]
        raise _foreign(", ".join(odd))
    if values.get("head", "linear") not in HEADS:
        raise _foreign(f"head {values['head']!r}")
    return Choices(**values)


def _foreign(got: str) -> SpaceError:
    return SpaceError(
        expected="an architecture of FineTuneSpace",
        got=got,
        fix="give what the space's suggest or from_params returns",
    )


def ascending(numbers: Sequence[int], what: str) -> tuple[int, ...]:
    """Return whole numbers from 1 in ascending order, which a constructor was given.

    Raises:
        SpaceError: They are others.
    """
    found = tuple(numbers)
    is_whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in found)
    if not found or not is_whole or list(found) != sorted(set(found)):
        raise refused(f"{what} as ascending positive whole numbers", numbers, "(96, 128)")
    return found


def among(
    given: Sequence[str], allowed: Sequence[str], what: Literal["adaptations", "heads"]
) -> tuple[str, ...]:
    """Return names among the allowed ones, which a constructor was given.

    Raises:
        SpaceError: There are none, others, or one of them twice.
    """
    found = (given,) if isinstance(given, str) else tuple(given)
    if not found or not set(found) <= set(allowed) or len(set(found)) < len(found):
        raise refused(f"{what} among {', '.join(allowed)}, each once", given, f"{allowed[:2]}")
    return found


def refused(expected: str, got: object, example: str) -> SpaceError:
    """Return the error for an argument of a constructor."""
    return SpaceError(expected=expected, got=f"{got!r:.100}", fix=f"write for example {example}")
