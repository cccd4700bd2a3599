"""Parameters of a search space: found, named by a hash, or given without any network."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, distribution_to_json
from torch import nn

from surrogate_nas.errors import SpaceError, visible
from surrogate_nas.space.draw import attempt, numbers_of, random_chooser
from surrogate_nas.space.function_check import check_function
from surrogate_nas.space.search_space import Architecture, Distributions, SearchSpace, TaskShape

_NAMED = 5
_PROBES = 256
"""Random draws that discover a space's parameters, conditional ones included."""


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
        return f"<ParameterSpace of {visible(', '.join(names))}{more}>"

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        """Ask for every parameter."""
        if isinstance(self._space, Mapping):
            return {n: suggest_from(trial, n, d) for n, d in self._space.items()}
        # What the function returns is its own affair. What it asked for is the architecture.
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

    def is_degenerate(self, architecture: Architecture) -> bool:
        """Return False: nothing is known of what the parameters are for."""
        return False

    def describe(self, architecture: Architecture) -> dict[str, float]:
        """Return the numeric parameters themselves: nothing else is known."""
        return {n: float(v) for n, v in architecture.items() if isinstance(v, int | float)}


SpaceLike: TypeAlias = SearchSpace | Distributions | Callable[[optuna.trial.BaseTrial], Any]


def as_space(space: SpaceLike) -> SearchSpace:
    """Accept a SearchSpace, a dict of distributions or a define-by-run function.

    A function is called once here. It gets a warning if it looks like an objective.

    Raises:
        SpaceError: It is none of these, or a function that reports values.
    """
    if isinstance(space, SearchSpace):
        return space
    is_dict = isinstance(space, Mapping) and all(
        isinstance(d, BaseDistribution) for d in space.values()
    )
    # NOTE: a class can be called as well. `CellSpace` in place of `CellSpace()` must not pass for
    # a function of a trial.
    if is_dict:
        return ParameterSpace(space)
    if callable(space) and not isinstance(space, type):
        check_function(space)
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
    # NOTE: a seed of its own, so that every process finds the same parameters in the same order.
    rng = np.random.default_rng(0)
    found: Distributions = {}
    for _ in range(_PROBES):
        # NOTE: a combination that the space refuses shows its parameters, too.
        draw, _architecture = attempt(space.suggest, random_chooser(rng))
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
    # Sorted, so that the order in which a space asks plays no part.
    listed = {name: _listed(distribution) for name, distribution in sorted(found.items())}
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()[:16]


def _listed(distribution: BaseDistribution) -> Any:
    """Return a distribution as JSON has it. Choices without a form in JSON are spelled."""
    try:
        return json.loads(distribution_to_json(distribution))
    except TypeError:
        return repr(distribution)
