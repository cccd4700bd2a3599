"""Conformance suite for surrogates: finite predictions with a standard deviation, in any units."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import pytest
from scipy.stats import spearmanr

from surrogate_nas.arrays import FloatArray
from surrogate_nas.past.past_task import Direction
from surrogate_nas.space import SearchSpace, SpaceLike, as_space
from surrogate_nas.space.draw import random_params
from surrogate_nas.surrogate.encoding import Encoding

Params: TypeAlias = list[dict[str, Any]]
Results: TypeAlias = tuple[Sequence[Mapping[str, Any]], Sequence[float]]

_CANDIDATES = 40
_DIRECTIONS: tuple[Direction, ...] = ("maximize", "minimize")
_RESULTS = (
    "none",
    "one",
    "twelve",
    "constant",
    "zero",
    "repeated",
    "repeated exactly",
    "diverged",
    "tiny",
    "large",
)


class Surrogate(Protocol):
    """A model that predicts values, as :class:`surrogate_nas.MetaSurrogate` does."""

    def predict(
        self,
        params: Sequence[Mapping[str, Any]],
        given: Results | None = None,
        *,
        direction: Direction = "maximize",
    ) -> tuple[FloatArray, FloatArray]:
        """Predict architectures from results of the target task.

        Args:
            params: Parameters of m architectures.
            given: Parameters and values of the target's results, in its own units; None before
                the first one.
            direction: Whether larger or smaller values are better.

        Returns:
            Mean and standard deviation of each architecture's value, (m,) each, in the same units.
        """


class SurrogateTestCase:
    """Tests the contract of a surrogate. Override :meth:`surrogate` and :meth:`space`."""

    learns = 0.4
    """Least rank correlation (Spearman's) of predictions and truth on new architectures, after 60
    results of an easy function, which is linear in the numbered choices."""

    @pytest.fixture
    def surrogate(self) -> Surrogate:
        """Return the surrogate under test. Must be overridden."""
        raise NotImplementedError("override the fixture 'surrogate'")

    @pytest.fixture
    def space(self) -> SpaceLike:
        """Return the search space of the surrogate. Must be overridden."""
        raise NotImplementedError("override the fixture 'space'")

    @pytest.fixture
    def candidates(self, space: SpaceLike) -> Params:
        """Return parameters of architectures to predict."""
        return _draw(as_space(space), _CANDIDATES, seed=1)

    @pytest.mark.parametrize("direction", _DIRECTIONS)
    @pytest.mark.parametrize("results", _RESULTS)
    def test_predictions_are_finite_with_a_positive_standard_deviation(
        self,
        surrogate: Surrogate,
        space: SpaceLike,
        candidates: Params,
        results: str,
        direction: Direction,
    ) -> None:
        """Predictions are usable after any results, also after a training that diverged."""
        given = _results(as_space(space), results)
        mean, std = surrogate.predict(candidates, given, direction=direction)
        assert mean.shape == std.shape == (_CANDIDATES,)
        assert np.isfinite(mean).all()
        assert np.isfinite(std).all()
        assert np.all(std > 0)

    @pytest.mark.parametrize("results", ["none", "twelve"])
    def test_predicting_nothing_is_no_error(
        self, surrogate: Surrogate, space: SpaceLike, results: str
    ) -> None:
        """An empty list of architectures gives empty predictions."""
        mean, std = surrogate.predict([], _results(as_space(space), results))
        assert mean.shape == std.shape == (0,)

    def test_an_architecture_is_predicted_as_among_others(
        self, surrogate: Surrogate, space: SpaceLike, candidates: Params
    ) -> None:
        """A prediction does not depend on the other architectures of the call."""
        given = _results(as_space(space), "twelve")
        mean, std = surrogate.predict(candidates, given)
        # The tolerance allows for the order of sums, which depends on the number of rows.
        for k in (0, 17):
            alone, alone_std = surrogate.predict([candidates[k]], given)
            np.testing.assert_allclose(alone, mean[[k]], rtol=1e-9)
            np.testing.assert_allclose(alone_std, std[[k]], rtol=1e-9)

    def test_an_answer_does_not_depend_on_earlier_questions(
        self, surrogate: Surrogate, space: SpaceLike, candidates: Params
    ) -> None:
        """A call about one target leaves nothing behind for the next call."""
        one, other = (_results(as_space(space), name) for name in ("twelve", "large"))
        before = surrogate.predict(candidates, one)
        surrogate.predict(candidates, other, direction="minimize")
        np.testing.assert_array_equal(surrogate.predict(candidates, one), before)

    def test_inputs_are_not_changed(
        self, surrogate: Surrogate, space: SpaceLike, candidates: Params
    ) -> None:
        """``predict`` changes neither parameters nor results."""
        given = _results(as_space(space), "twelve")
        before = copy.deepcopy((candidates, given))
        surrogate.predict(candidates, given, direction="minimize")
        assert (candidates, given) == before

    @pytest.mark.parametrize("factor", [1e-3, 1.0, 1e6])
    def test_predictions_are_in_the_units_of_the_results(
        self, surrogate: Surrogate, space: SpaceLike, candidates: Params, factor: float
    ) -> None:
        """Predictions follow a change of units or of zero in the results."""
        params, values = _known(as_space(space))
        mean, std = surrogate.predict(candidates, (params, values))
        moved = [factor * (value - 50.0) for value in values]
        other, other_std = surrogate.predict(candidates, (params, moved))
        np.testing.assert_allclose(other, factor * (mean - 50.0), rtol=1e-6, atol=1e-6 * factor)
        np.testing.assert_allclose(other_std, factor * std, rtol=1e-6)

    @pytest.mark.parametrize("results", _RESULTS)
    def test_minimize_mirrors_maximize(
        self, surrogate: Surrogate, space: SpaceLike, candidates: Params, results: str
    ) -> None:
        """Predictions of a loss mirror predictions of its negative, a score."""
        given = _results(as_space(space), results)
        turned = None if given is None else (given[0], [-value for value in given[1]])
        up, up_std = surrogate.predict(candidates, given, direction="maximize")
        down, down_std = surrogate.predict(candidates, turned, direction="minimize")
        np.testing.assert_allclose(down, -up, rtol=1e-9)
        np.testing.assert_allclose(down_std, up_std, rtol=1e-9)

    @pytest.mark.parametrize("direction", _DIRECTIONS)
    def test_it_learns_from_results(
        self, surrogate: Surrogate, space: SpaceLike, candidates: Params, direction: Direction
    ) -> None:
        """After results of an easy function the surrogate ranks new architectures."""
        searched = as_space(space)
        seen = _draw(searched, 60, seed=3)
        mean, _ = surrogate.predict(
            candidates, (seen, _values(searched, seen)), direction=direction
        )
        truth = _values(searched, candidates)
        # A rank correlation of a few values says nothing.
        if len(set(truth)) < 5:
            pytest.skip("the space is too small to rank")
        assert spearmanr(mean, truth).statistic > self.learns


def _draw(space: SearchSpace, n: int, seed: int) -> Params:
    """Return the parameters of n random architectures."""
    return random_params(space.suggest, n, np.random.default_rng(seed))


def _values(space: SearchSpace, params: Params) -> list[float]:
    """Return an easy function: the sum of the encoded choices, each divided by its spread."""
    encoding, mean, spread = _scale(space)
    rows = np.nan_to_num(encoding.encode(params)) - mean
    return [float(value) for value in 70.0 + (rows / spread).sum(axis=1)]


@functools.lru_cache(maxsize=8)
def _scale(space: SearchSpace) -> tuple[Encoding, FloatArray, FloatArray]:
    """Return the encoding of a space, and the mean and spread of its columns."""
    encoding = Encoding(space)
    many = np.nan_to_num(encoding.encode(_draw(space, 200, seed=9)))
    return encoding, many.mean(axis=0), np.maximum(many.std(axis=0), 1e-9)


def _known(space: SearchSpace) -> tuple[Params, list[float]]:
    """Return twelve results of the easy function."""
    params = _draw(space, 12, seed=2)
    return params, _values(space, params)


def _results(space: SearchSpace, name: str) -> Results | None:
    """Return results of one kind, by its name in _RESULTS."""
    if name == "none":
        return None
    params, values = _known(space)
    # Each kind tempts a model to divide by 0, to overflow or to invert a singular matrix.
    found: dict[str, Results] = {
        "one": (params[:1], values[:1]),
        "twelve": (params, values),
        "constant": (params, [70.0] * 12),
        "zero": (params, [0.0] * 12),
        "repeated": (params[:3] * 4, values),
        "repeated exactly": (params[:1] * 3, [70.0] * 3),
        "diverged": (params, [*values[:-2], -1e12, -1e6]),
        "tiny": (params, [1e-12 * value for value in values]),
        "large": (params, [1e12 * value for value in values]),
    }
    return found[name]
