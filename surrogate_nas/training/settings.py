"""The checks of a Trainer's settings: types as well as ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from surrogate_nas.errors import TrainingError
from surrogate_nas.training.device import no_such_device
from surrogate_nas.training.updates import LEARNING_RATES, SCHEDULES

_MOST = 2**53
"""Largest count, far beyond every training. Counts are divided as floating-point numbers."""
_LARGEST = float(torch.finfo(torch.float32).max)
"""Largest number: a GPU keeps numbers as float32."""
_MOST_SEED = 2**64 - 1
"""Largest seed that PyTorch's generators take."""


@final
@dataclass(frozen=True)
class _Rule:
    """What a setting may be.

    Args:
        words: The allowed values, for the error.
        is_valid: Whether a value of the right type is allowed.
        types: Types of the value. None alone is told by `is_optional`.
        is_optional: Whether None is allowed.
    """

    words: str
    is_valid: Callable[[Any], bool]
    types: tuple[type, ...]
    is_optional: bool = False

    def allows(self, value: object) -> bool:
        """Return whether a value is allowed."""
        if value is None:
            return self.is_optional
        # NOTE: True is an int in Python, and epochs=True is a slip and no setting.
        if isinstance(value, bool) and bool not in self.types:
            return False
        return isinstance(value, self.types) and self.is_valid(value)


def _whole(least: int, most: int = _MOST, *, or_none: bool = False) -> _Rule:
    allowed = f"from {least}, a whole number{' or None' if or_none else ''}"
    return _Rule(allowed, lambda n: least <= n <= most, (int,), or_none)


def _number(words: str, is_valid: Callable[[float], bool], *, or_none: bool = False) -> _Rule:
    allowed = f"{words}, a finite number{' or None' if or_none else ''}"
    return _Rule(allowed, lambda x: abs(x) <= _LARGEST and is_valid(x), (int, float), or_none)


def _choice(names: Mapping[str, Any] | tuple[str, ...]) -> _Rule:
    return _Rule(" or ".join(map(repr, names)), lambda name: name in names, (str,))


_RULES = {
    "epochs": _whole(1),
    "batch_size": _whole(1),
    "optimizer": _choice(LEARNING_RATES),
    "learning_rate": _number("above 0", lambda rate: rate > 0, or_none=True),
    "weight_decay": _number("from 0", lambda decay: decay >= 0, or_none=True),
    "schedule": _choice(SCHEDULES),
    "warmup_epochs": _number("from 0", lambda epochs: epochs >= 0),
    "label_smoothing": _number("in [0, 1)", lambda share: 0 <= share < 1),
    "augmentation": _number("in [0, 1]", lambda strength: 0 <= strength <= 1, or_none=True),
    "mixup": _number("from 0", lambda alpha: alpha >= 0),
    "clip_norm": _number("above 0", lambda norm: norm > 0, or_none=True),
    "ema_decay": _number("in [0, 1)", lambda decay: 0 <= decay < 1),
    "patience": _whole(1, or_none=True),
    "keep_best": _Rule("True or False", lambda _: True, (bool,)),
    "start_resolution": _number("in (0, 1]", lambda share: 0 < share <= 1),
    "device": _Rule("as text, or None", lambda _: True, (str,), is_optional=True),
    "time_limit_seconds": _number("above 0", lambda limit: limit > 0, or_none=True),
    "cuda_graph": _Rule("True or False", lambda _: True, (bool,)),
    "seed": _whole(0, _MOST_SEED),
}


def checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a Trainer as plain Python values.

    Numbers of NumPy become Python's, and a device of PyTorch its name.

    Args:
        settings: All settings, by name.

    Raises:
        TrainingError: A setting has a wrong type or is out of its range.
    """
    plain = {name: _plain(value) for name, value in settings.items()}
    for name, rule in _RULES.items():
        value = plain[name]
        if not rule.allows(value):
            raise TrainingError(
                expected=f"{name} {rule.words}",
                got=_said(value),
                fix=f"give the Trainer another {name}",
            )
    if plain["device"] is not None:
        _check_device(plain["device"])
    return plain


def _plain(value: Any) -> Any:
    """Return a scalar of NumPy as Python's, a device as its name, and others as they are."""
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, torch.device) else value


def _check_device(name: str) -> None:
    """Refuse what is no name of a device. Whether it is here is found out in training."""
    try:
        torch.device(name)
    except RuntimeError as error:
        raise no_such_device(name, error) from error


def _said(value: object) -> str:
    """Return a value in words, with its type unless it is a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"{value!r:.100} of type {type(value).__name__}"
    # NOTE: Python refuses to write whole numbers of thousands of digits.
    return f"{value!r}" if abs(value) <= _LARGEST or isinstance(value, float) else "a larger one"
