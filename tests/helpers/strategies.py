"""Hypothesis strategies: random search spaces and architectures of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import optuna
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from surrogate_nas.space import suggest_from
from surrogate_nas.space.draw import Draw

CHOICES = ("a", "b", "conv 3x3", None, 3, 0.5, -2)


@final
@dataclass(frozen=True)
class Choice:
    """A parameter of a :class:`RandomSpace`.

    Args:
        name: Its name.
        distribution: Its range.
        parent: Name of the category that decides whether it exists; None: it always does.
        needs: The parent's value for which it exists.
    """

    name: str
    distribution: BaseDistribution
    parent: str | None = None
    needs: Any = None


@final
@dataclass(frozen=True)
class RandomSpace:
    """A define-by-run function that asks for each of its choices where it exists."""

    choices: Sequence[Choice]

    def __call__(self, trial: optuna.trial.BaseTrial) -> None:
        """Ask a trial for all that exists."""
        asked: dict[str, Any] = {}
        for choice in self.choices:
            if choice.parent is None or asked[choice.parent] == choice.needs:
                asked[choice.name] = suggest_from(trial, choice.name, choice.distribution)


def categories() -> st.SearchStrategy[BaseDistribution]:
    """One to four choices of mixed types."""
    some = st.lists(st.sampled_from(CHOICES), min_size=1, max_size=4, unique=True)
    return some.map(CategoricalDistribution)


@st.composite
def integers(draw: st.DrawFn) -> BaseDistribution:
    """Ranges of whole numbers: linear, with a step, or logarithmic."""
    if draw(st.booleans()):
        low = draw(st.integers(1, 100))
        return IntDistribution(low, low + draw(st.integers(0, 100_000)), log=True)
    low, step = draw(st.integers(-1000, 1000)), draw(st.integers(1, 64))
    return IntDistribution(low, low + step * draw(st.integers(0, 40)), step=step)


@st.composite
def floats(draw: st.DrawFn) -> BaseDistribution:
    """Ranges of real numbers: linear, with a step, or logarithmic."""
    kind = draw(st.sampled_from(["linear", "step", "log"]))
    if kind == "log":
        low = draw(st.floats(1e-6, 1.0))
        return FloatDistribution(low, low * draw(st.floats(1.5, 1e6)), log=True)
    if kind == "linear":
        low = draw(st.floats(-1e3, 1e3))
        return FloatDistribution(low, low + draw(st.floats(1e-2, 1e3)))
    tenths, step = draw(st.integers(-50, 50)), draw(st.sampled_from([1, 2, 5, 25]))
    high = tenths + step * draw(st.integers(0, 30))
    return FloatDistribution(tenths / 10, high / 10, step=step / 10)


@st.composite
def random_spaces(draw: st.DrawFn) -> RandomSpace:
    """Spaces of one to six choices, later ones conditional on earlier categories or not."""
    choices: list[Choice] = []
    parents: list[tuple[str, CategoricalDistribution]] = []
    for index in range(draw(st.integers(1, 6))):
        distribution = draw(st.one_of(categories(), integers(), floats()))
        name = f"choice {index}"
        is_conditional: bool = draw(st.booleans())
        if parents and is_conditional:
            parent, options = draw(st.sampled_from(parents))
            needs = draw(st.sampled_from(options.choices))
            choices.append(Choice(name, distribution, parent, needs))
            continue
        choices.append(Choice(name, distribution))
        if isinstance(distribution, CategoricalDistribution):
            parents.append((name, distribution))
    return RandomSpace(choices)


def values(distribution: BaseDistribution) -> st.SearchStrategy[Any]:
    """Values that Optuna's samplers may suggest."""
    if isinstance(distribution, CategoricalDistribution):
        return st.sampled_from(distribution.choices)
    if isinstance(distribution, IntDistribution):
        low, high, step = distribution.low, distribution.high, distribution.step
        return st.integers(0, (high - low) // step).map(lambda k: low + k * step)
    assert isinstance(distribution, FloatDistribution)
    if distribution.step is None:
        return st.floats(distribution.low, distribution.high)
    return _stepped(distribution.low, distribution.high, distribution.step)


def _stepped(low: float, high: float, step: float) -> st.SearchStrategy[float]:
    return st.integers(0, round((high - low) / step)).map(lambda k: min(low + k * step, high))


@st.composite
def params_of(draw: st.DrawFn, space: RandomSpace) -> dict[str, Any]:
    """Parameters of one architecture."""
    trial = Draw(lambda _name, distribution: draw(values(distribution)))
    space(trial)
    return trial.params


@st.composite
def spaces_with_params(draw: st.DrawFn, n: int = 2) -> tuple[RandomSpace, list[dict[str, Any]]]:
    """A space and n architectures of it."""
    space = draw(random_spaces())
    return space, [draw(params_of(space)) for _ in range(n)]
