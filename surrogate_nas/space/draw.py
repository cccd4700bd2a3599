"""Run a define-by-run search space without a study: draw, replay or mutate its parameters.

A space is a function of a trial. If it gets a :class:`Draw` instead of a real trial, the draw
records which parameters the space asks for, and a *chooser* decides their values.
"""

from __future__ import annotations

import datetime
import functools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from surrogate_nas.errors import SpaceError
from surrogate_nas.space.values import PLAIN, as_asked, place_of, storable, value_key

Chooser = Callable[[str, BaseDistribution], Any]
"""Answers a parameter's name and distribution with a value. A random draw, a stored trial that is
repeated, a mutation and a learned policy all have this form."""

_Architecture = TypeVar("_Architecture")

MOST_REFUSED = 2000
"""Number of random draws in a row that a space may refuse before it is taken to refuse all."""
_MOST_DRAWN = 2**63
"""Number of values that one draw of a random generator tells apart."""
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
        self.is_refused = False
        """Whether the space has refused the combination."""

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
        return self._suggest(name, _categorical(tuple(choices)))

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

    @property
    def study(self) -> optuna.Study:
        """An empty study, which is what a space finds in the first trial of one."""
        return _empty_study()


@functools.cache
def _empty_study() -> optuna.Study:
    """Return a study in memory, made without a word in the log."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study()
    finally:
        optuna.logging.set_verbosity(verbosity)


def attempt(
    suggest: Callable[[Draw], _Architecture], choose: Chooser
) -> tuple[Draw, _Architecture | None]:
    """Draw one architecture, which a space may refuse by raising TrialPruned.

    Args:
        suggest: Method ``suggest`` of the search space.
        choose: Decides the values.

    Returns:
        The draw, and the architecture. It is None where the space has refused the combination.
    """
    draw = Draw(choose)
    try:
        return draw, suggest(draw)
    except optuna.TrialPruned:
        draw.is_refused = True
        return draw, None


def accepted(
    suggest: Callable[[Draw], _Architecture], choose: Chooser
) -> tuple[Draw, _Architecture]:
    """Draw until the space accepts a combination.

    Args:
        suggest: Method ``suggest`` of the search space.
        choose: Decides the values, at random.

    Raises:
        SpaceError: The space refuses one combination after the other.
    """
    for _ in range(MOST_REFUSED):
        draw, architecture = attempt(suggest, choose)
        if not draw.is_refused:
            return draw, cast(_Architecture, architecture)
    raise SpaceError(
        expected="a space that accepts some combinations of its parameters",
        got=f"TrialPruned in {MOST_REFUSED} random draws in a row",
        fix="raise TrialPruned for fewer combinations, or suggest parameters that always fit",
    )


# NOTE: a space asks for the same few ranges with every draw, and constructing them each time would
# be most of the cost of a draw. The caches are typed, because True and 1 are different choices.
@functools.lru_cache(maxsize=4096, typed=True)
def _float(low: float, high: float, log: bool, step: float | None) -> FloatDistribution:
    return FloatDistribution(low, high, log=log, step=step)


@functools.lru_cache(maxsize=4096, typed=True)
def _int(low: int, high: int, log: bool, step: int) -> IntDistribution:
    return IntDistribution(low, high, log=log, step=step)


def _categorical(choices: tuple[Any, ...]) -> CategoricalDistribution:
    # NOTE: choices may be lists, which are no keys. And (True,) and (1,) would be one key.
    if all(type(choice) in PLAIN for choice in choices):
        return _plain_categorical(*choices)
    key = tuple(map(value_key, choices))
    if key not in _unusual:
        if len(_unusual) >= _MOST_UNUSUAL:
            _unusual.clear()
        _unusual[key] = CategoricalDistribution(choices)
    return _unusual[key]


@functools.lru_cache(maxsize=4096, typed=True)
def _plain_categorical(*choices: Any) -> CategoricalDistribution:
    return CategoricalDistribution(choices)


_unusual: dict[Hashable, CategoricalDistribution] = {}
"""Distributions whose choices are not all plain, by the keys of these."""
_MOST_UNUSUAL = 4096


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
        return storable(numbers, round(drawn))
    if isinstance(numbers, IntDistribution):
        n = 1 + (numbers.high - numbers.low) // numbers.step
        return storable(numbers, numbers.low + numbers.step * _below(n, rng))
    if step is not None:
        # NOTE: a step is drawn, as rounding a real draw would make the ends half as likely.
        drawn = low + step * int(rng.integers(round((high - low) / step) + 1))
        # The last step may lie above the end by a rounding error.
        return min(drawn, high)
    return from_unit(distribution, float(rng.random()))


def _below(n: int, rng: np.random.Generator) -> int:
    """Return a random whole number from 0 to n - 1, however large n is."""
    if n <= _MOST_DRAWN:
        return int(rng.integers(n))
    n_bytes = (n.bit_length() + 7) // 8 + 8  # NOTE: 8 bytes more, or small numbers are likelier
    return int.from_bytes(rng.bytes(n_bytes), "big") % n


def to_unit(distribution: BaseDistribution, value: Any) -> float:
    """Return the place of a number in its range, in [0, 1]; for a category its index."""
    if isinstance(distribution, CategoricalDistribution):
        place = place_of(distribution, value)
        return float(distribution.to_internal_repr(value) if place is None else place)
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
    return storable(numbers, round(value)) if isinstance(numbers, IntDistribution) else value


def contains(distribution: BaseDistribution, value: Any) -> bool:
    """Return whether a distribution allows a value, which may have any type."""
    if isinstance(distribution, CategoricalDistribution):
        return place_of(distribution, value) is not None
    numbers = numbers_of(distribution)
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return False
    # NOTE: a storage keeps whole numbers as real ones, which may round the end of a large range.
    if not float(numbers.low) <= float(value) <= float(numbers.high):
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
        place = place_of(distribution, value)
        others = [choice for k, choice in enumerate(distribution.choices) if k != place]
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

    Raises:
        SpaceError: The space refuses one combination after the other.
    """
    return [accepted(suggest, random_chooser(rng))[0].params for _ in range(n)]


def replay_chooser(params: Mapping[str, Any], otherwise: Chooser) -> Chooser:
    """Return a chooser that keeps allowed values of `params` and asks `otherwise` for others."""

    def choose(name: str, distribution: BaseDistribution) -> Any:
        if name in params and contains(distribution, params[name]):
            return as_asked(distribution, params[name])
        return otherwise(name, distribution)

    return choose
