"""Samplers for Optuna studies, and strategies: rules that propose architectures."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from surrogate_nas.samplers.mutate_best import MutateBest
    from surrogate_nas.samplers.strategy import Strategy, StrategySampler
    from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
    from surrogate_nas.screening.evaluated import Evaluated
    from surrogate_nas.space.draw import random_chooser, replay_chooser

__all__ = [
    "Evaluated",
    "MutateBest",
    "Strategy",
    "StrategySampler",
    "SurrogateSampler",
    "random_chooser",
    "replay_chooser",
]

_HOMES = {
    "Evaluated": "surrogate_nas.screening.evaluated",
    "MutateBest": "surrogate_nas.samplers.mutate_best",
    "Strategy": "surrogate_nas.samplers.strategy",
    "StrategySampler": "surrogate_nas.samplers.strategy",
    "SurrogateSampler": "surrogate_nas.samplers.surrogate_sampler",
    "random_chooser": "surrogate_nas.space.draw",
    "replay_chooser": "surrogate_nas.space.draw",
}
"""Where each public name comes from; imported on first use."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
