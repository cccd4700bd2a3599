"""Run a define-by-run search space without a study: draw, replay or mutate its parameters.

A space is a function of a trial. If it gets a :class:`Draw` instead of a real trial, the draw
records which parameters the space asks for, and a *chooser* decides their values.
"""

from __future__ import annotations

import datetime
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from surrogate_nas.errors import SpaceError

Chooser = Callable[[str, BaseDistribution], Any]
"""Answers a parameter's name and distribution with a value. A random draw, a stored trial that is
repeated, a mutation and a learned policy all have this form."""

_STEP = 0.2
"""Standard deviation of a move along a number's range, as a share of the range."""


class Draw(optuna.trial.BaseTrial):
    """A trial outside any study, which records each parameter that a space asks for.

    Args:
        choose: Function from a parameter's name and distribution to its value.
    """

    def __init__(self, choose: Chooser) -> None:
        self._choose = choose
        self._params: dict[str, Any] = {}
        self._distributions: dict[str, BaseDistribution] = {}

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        """Return the value of a parameter; as in Optuna, the first answer holds."""
        if name not in self._params:
            self._params[name] = self._choose(name, distribution)
            self._distributions[name] = distribution
        return self._params[name]

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        """Suggest a real number in [low, high]."""
        return float(self._suggest(name, _float(low, high, log, step)))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Suggest a whole number in [low, high]."""
        return int(self._suggest(name, _int(low, high, log, step)))

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Suggest one of the choices."""
        return self._suggest(name, _categorical(*choices))

    def suggest_uniform(self, name: str, low: float, high: float) -> float:
        """Optuna's old spelling of :meth:`suggest_float`."""
        return self.suggest_float(name, low, high)

    def suggest_loguniform(self, name: str, low: float, high: float) -> float:
        """Optuna's old spelling of :meth:`suggest_float` with ``log=True``."""
        return self.suggest_float(name, low, high, log=True)

    def suggest_discrete_uniform(self, name: str, low: float, high: float, q: float) -> float:
        """Optuna's old spelling of :meth:`suggest_float` with a step."""
        return self.suggest_float(name, low, high, step=q)

    def report(self, value: float, step: int) -> None:
        """Ignore: nothing is evaluated here."""

    def should_prune(self) -> bool:
        """Never prune: nothing is evaluated here."""
        return False

    def set_user_attr(self, key: str, value: Any) -> None:
        """Ignore: nothing is stored here."""

    def set_constraint(self, key: str, value: float) -> None:
        """Ignore: nothing is stored here."""

    @property
    def constraints(self) -> dict[str, float]:
        """Empty."""
        return {}

    @property
    def params(self) -> dict[str, Any]:
        """Values by parameter name, in the order in which the space asked for them."""
        return dict(self._params)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Distributions by parameter name, in the same order."""
        return dict(self._distributions)

    @property
    def user_attrs(self) -> dict[str, Any]:
        """Empty."""
        return {}

    @property
    def datetime_start(self) -> datetime.datetime | None:
        """None: a draw has no time."""
        return None

    @property
    def number(self) -> int:
        """0: a draw has no place in a study."""
        return 0


# NOTE: a space asks for the same few ranges with every draw, and constructing them each time would
# be most of the cost of a draw. The caches are typed, because True and 1 are different choices.
@functools.lru_cache(maxsize=4096, typed=True)
def _float(low: float, high: float, log: bool, step: float | None) -> FloatDistribution:
    return FloatDistribution(low, high, log=log, step=step)


@functools.lru_cache(maxsize=4096, typed=True)
def _int(low: int, high: int, log: bool, step: int) -> IntDistribution:
    return IntDistribution(low, high, log=log, step=step)


@functools.lru_cache(maxsize=4096, typed=True)
def _categorical(*choices: Any) -> CategoricalDistribution:
    return CategoricalDistribution(choices)


def numbers_of(distribution: BaseDistribution) -> FloatDistribution | IntDistribution:
    """Return a distribution of numbers as what it is.

    Raises:
        SpaceError: It is of another class.
    """
    if isinstance(distribution, FloatDistribution | IntDistribution):
        return distribution
    raise SpaceError(
        expected="a distribution of Optuna: of categories, floats or integers",
        got=f"a {type(distribution).__name__}",
        fix="ask for the parameter by suggest_categorical, suggest_float or suggest_int",
    )


def uniform(distribution: BaseDistribution, rng: np.random.Generator) -> Any:
    """Draw a value uniformly, in log space if the distribution says so."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[int(rng.integers(len(distribution.choices)))]
    numbers = numbers_of(distribution)
    low, high, step = numbers.low, numbers.high, numbers.step
    if isinstance(numbers, IntDistribution) and numbers.log:
        # NOTE: half a step beyond each end, or rounding would make the ends less likely.
        drawn = math.exp(rng.uniform(math.log(low - 0.5), math.log(high + 0.5)))
        return min(max(round(drawn), low), high)
    if step is not None:
        # NOTE: a step is drawn, as rounding a real draw would make the ends half as likely.
        drawn = low + step * int(rng.integers(round((high - low) / step) + 1))
        # The last step may lie above the end by a rounding error.
        return min(drawn, high)
    return from_unit(distribution, float(rng.random()))


def to_unit(distribution: BaseDistribution, value: Any) -> float:
    """Return the place of a number in its range, in [0, 1]; for a category its index."""
    if isinstance(distribution, CategoricalDistribution):
        return float(distribution.to_internal_repr(value))
    numbers = numbers_of(distribution)
    low, high = float(numbers.low), float(numbers.high)
    # A range of one number has no width to divide by.
    if high <= low:
        return 0.0
    if numbers.log:
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
    return (float(value) - low) / (high - low)


def from_unit(distribution: BaseDistribution, unit: float) -> float | int:
    """Return the allowed number next to a place in [0, 1], the inverse of :func:`to_unit`."""
    numbers = numbers_of(distribution)
    low, high = float(numbers.low), float(numbers.high)
    if numbers.log:
        value = math.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
    else:
        value = low + unit * (high - low)
    if numbers.step is not None:
        step = float(numbers.step)
        value = low + round((value - low) / step) * step
    # Rounding, in exp and in the step, may lead just outside the range.
    value = min(max(value, low), high)
    return round(value) if isinstance(numbers, IntDistribution) else value


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether a distribution allows a value, which may have any type."""
    if isinstance(distribution, CategoricalDistribution):
        if value in distribution.choices:
            return True
        # NOTE: NaN is unequal to itself, and a storage gives back another NaN object.
        return value != value and any(choice != choice for choice in distribution.choices)
    numbers = numbers_of(distribution)
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return False
    if not numbers.low <= value <= numbers.high:
        return False
    if numbers.step is None:
        return True
    # NOTE: a multiple of the step is rarely exact in floating point.
    steps = (float(value) - numbers.low) / numbers.step
    return abs(steps - round(steps)) < 1e-8


def random_chooser(rng: np.random.Generator) -> Chooser:
    """Return a chooser that draws every parameter uniformly."""
    return lambda _name, distribution: uniform(distribution, rng)


def mutation_chooser(params: Mapping[str, Any], rng: np.random.Generator) -> Chooser:
    """Repeat an architecture with one parameter moved.

    Parameters that only exist because of the move are drawn at random.

    Args:
        params: The architecture's parameters. One of them is moved, each with equal probability.
        rng: Source of randomness.
    """
    names = list(params)
    target = names[int(rng.integers(len(names)))] if names else ""
    repeat = replay_chooser(params, random_chooser(rng))

    def choose(name: str, distribution: BaseDistribution) -> Any:
        value = repeat(name, distribution)
        return moved(distribution, value, rng) if name == target else value

    return choose


def moved(distribution: BaseDistribution, value: Any, rng: np.random.Generator) -> Any:
    """Return another value: another category, or a step along a number's range."""
    if distribution.single():
        return value
    if isinstance(distribution, CategoricalDistribution):
        # Categories have no order, so all others are equally near.
        others = [choice for choice in distribution.choices if choice != value]
        return others[int(rng.integers(len(others)))] if others else value
    spread = _STEP
    other = value
    while other == value:
        unit = to_unit(distribution, value) + spread * float(rng.standard_normal())
        other = from_unit(distribution, min(max(unit, 0.0), 1.0))
        # NOTE: a coarse range rounds small moves back to the value, so the steps grow.
        spread *= 2
    return other


def random_params(
    suggest: Callable[[Draw], Any], n: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Return the parameters of n random architectures.

    Args:
        suggest: Method ``suggest`` of the search space.
        n: Number of architectures.
        rng: Source of randomness.
    """
    params = []
    for _ in range(n):
        draw = Draw(random_chooser(rng))
        suggest(draw)
        params.append(draw.params)
    return params


def replay_chooser(params: Mapping[str, Any], otherwise: Chooser) -> Chooser:
    """Return a chooser that keeps allowed values of `params` and asks `otherwise` for others."""

    def choose(name: str, distribution: BaseDistribution) -> Any:
        if name in params and contains(distribution, params[name]):
            return params[name]
        return otherwise(name, distribution)

    return choose
