"""What may propose architectures to a screening sampler, in all the forms that users write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias, final

from optuna.samplers import BaseSampler, TPESampler

from surrogate_nas.errors import SpaceError
from surrogate_nas.samplers.strategy import Strategy
from surrogate_nas.screening.base_proposals import BaseSamplerLike

BaseLike: TypeAlias = BaseSamplerLike | Strategy
"""What proposes: an Optuna sampler, a function that makes one from a seed, or a strategy."""


@final
class _OfClass:
    """Makes samplers of a class from a seed. Unlike a function, it can be sent to a process."""

    def __init__(self, kind: type[BaseSampler]) -> None:
        self._kind = kind

    def __call__(self, seed: int) -> BaseSampler:
        make: Callable[..., BaseSampler] = self._kind
        try:
            return make(seed=seed)
        except TypeError as error:
            raise _refused(f"the class {self._kind.__name__}, with {error}") from error


def as_base(given: Any) -> BaseLike:
    """Return what proposes: the given sampler, strategy or function, or what a class makes.

    Args:
        given: An Optuna sampler, a function that makes one from a seed, a strategy, or a class of
            samplers or strategies. A class of samplers is called with ``seed=...``. None is TPE.

    Raises:
        SpaceError: It is none of these.
    """
    if given is None:
        return _OfClass(TPESampler)
    if isinstance(given, type):
        if issubclass(given, BaseSampler):
            return _OfClass(given)
        if issubclass(given, Strategy):
            return _strategy(given)
        raise _refused(f"the class {given.__name__}")
    if isinstance(given, BaseSampler | Strategy):
        return given
    if callable(given):
        function: Callable[[int], BaseSampler] = given
        return function
    raise _refused(repr(given))


def made_by(function: Callable[[int], Any], seed: int) -> BaseSampler:
    """Return the sampler that a function makes from a seed.

    Raises:
        SpaceError: It makes something else.
    """
    made = function(seed)
    if not isinstance(made, BaseSampler):
        raise _refused(f"a function that returns {made!r}")
    return made


def _strategy(kind: type[Strategy]) -> Strategy:
    """Return a strategy of a class that needs no arguments."""
    try:
        return kind()
    except TypeError as error:
        raise _refused(f"the class {kind.__name__}, with {error}") from error


def _refused(got: str) -> SpaceError:
    """Return the error of something that is no base sampler."""
    return SpaceError(
        expected="as base_sampler a sampler of Optuna, a class of samplers that takes a seed, a "
        "function that makes a sampler from a seed, or a Strategy",
        got=got,
        fix="write for example base_sampler=optuna.samplers.TPESampler(seed=0)",
    )
