from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from surrogate_nas.screening.acquisition import (
    ACQUISITIONS,
    log_expected_improvement,
    predicted_mean,
    upper_confidence_bound,
)

FloatArray = npt.NDArray[np.float64]


def scores(mean: Any, std: Any = 1.0, incumbent: float = 0.0) -> FloatArray:
    """Scores of candidates, either of mean and std alike for all."""
    mean, std = np.broadcast_arrays(np.asarray(mean, dtype=float), np.asarray(std, dtype=float))
    return log_expected_improvement(np.atleast_1d(mean), np.atleast_1d(std), incumbent)


def expected_improvement(z: float) -> float:
    """The integral of t * phi(t - z) over improvements t, by quadrature."""
    value, _ = quad(
        lambda t: t * math.exp(-0.5 * (t - z) ** 2) / math.sqrt(2 * math.pi),
        0.0,
        max(z, 0.0) + 40.0,
        points=[max(z, 0.0)],
        epsabs=0.0,
        epsrel=1e-12,
        limit=500,
    )
    return float(value)


def log_tail(z: float) -> float:
    """The same for z < 0 with phi(z) / z^2 taken out, so that nothing underflows or cancels."""
    value, _ = quad(lambda s: s * math.exp(-s - 0.5 * (s / z) ** 2), 0.0, 60.0, epsrel=1e-13)
    return -0.5 * z**2 - 0.5 * math.log(2 * math.pi) + math.log(value) - 2 * math.log(-z)


@pytest.mark.parametrize("z", [-6.0, -3.0, -1.5, -1.0, -0.5, 0.0, 0.3, 1.0, 2.5, 8.0, 30.0])
def test_equals_the_integral_of_improvements(z: float) -> None:
    (score,) = scores(z)
    assert score == pytest.approx(math.log(expected_improvement(z)), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("z", [-1.01, -2.0, -5.0, -20.0, -50.0, -300.0, -999.0, -1001.0, -1e5])
def test_equals_the_integral_of_the_tail(z: float) -> None:
    (score,) = scores(z)
    # Of an answer of about -z^2 / 2, rounding and the cancelling bracket cost the last digits.
    assert score == pytest.approx(log_tail(z), rel=1e-14, abs=1e-15 * z**2 + 1e-14)


@pytest.mark.parametrize(("mean", "std", "incumbent"), [(3.0, 2.0, 4.0), (-1.0, 0.01, -1.02)])
def test_scales_with_the_units_of_the_objective(mean: float, std: float, incumbent: float) -> None:
    (score,) = scores(mean, std, incumbent)
    wanted = std * expected_improvement((mean - incumbent) / std)
    assert score == pytest.approx(math.log(wanted), rel=1e-9)


def test_is_the_plain_improvement_where_nothing_is_uncertain() -> None:
    mean = np.array([0.1, 1.0, 50.0])
    np.testing.assert_allclose(scores(mean, 0.0), np.log(mean), rtol=1e-12)
    np.testing.assert_allclose(scores(mean, 1e-15), np.log(mean), rtol=1e-12)


def test_prefers_a_certain_gain_over_a_certain_tie_over_a_certain_loss() -> None:
    score = scores([-1.0, -0.5, 0.0, 0.5, 1.0], 0.0)
    assert np.all(np.isfinite(score))
    assert np.all(np.diff(score) > 0)


@pytest.mark.parametrize("below", [50.0, 1e3, 1e6])
def test_keeps_the_order_of_hopeless_candidates(below: float) -> None:
    mean = -below + np.linspace(-0.01, 0.01, 41)
    assert np.all(np.diff(scores(mean)) > 0)
    std = np.linspace(0.99, 1.01, 41)
    assert np.all(np.diff(scores(-below, std)) > 0)


def test_is_finite_and_ordered_over_two_hundred_orders_of_magnitude() -> None:
    size = np.logspace(-100, 100, 801)
    score = scores(np.concatenate([-size[::-1], [0.0], size]))
    assert np.all(np.isfinite(score))
    assert np.all(np.diff(score) >= 0)
    assert score[0] == pytest.approx(-0.5e200)
    assert score[-1] == pytest.approx(100 * math.log(10))


@pytest.mark.parametrize(
    ("z", "slope"),
    [
        # d/dz log EI = Phi(z) / (phi(z) + z Phi(z)): 1.9 at -1, and |z| in the tail.
        (-1.0, 0.15865525393145707 / 0.0833154705876862),
        (-1e3, 1e3),
    ],
)
@pytest.mark.parametrize("step", [1e-3, 1e-6, 1e-8])
def test_has_no_step_where_two_formulas_meet(z: float, slope: float, step: float) -> None:
    below, at, above = scores([z - step, z, z + step])
    rounding = 1e-15 * z**2 + 1e-15
    assert at - below == pytest.approx(slope * step, rel=2e-3, abs=rounding)
    assert above - at == pytest.approx(slope * step, rel=2e-3, abs=rounding)


finite = st.floats(-1e6, 1e6)
positive = st.floats(1e-6, 1e6)
factor = st.floats(1.0 + 1e-6, 1e3)


@given(incumbent=finite, std=positive, one=finite, other=finite)
@settings(max_examples=200, deadline=None)
def test_never_falls_with_the_mean(incumbent: float, std: float, one: float, other: float) -> None:
    low, high = scores([min(one, other), max(one, other)], std, incumbent)
    assert low <= high + 1e-9 * abs(high)


@given(below=positive, std=positive, factor=factor)
@settings(max_examples=200, deadline=None)
def test_grows_with_the_standard_deviation_below_the_incumbent(
    below: float, std: float, factor: float
) -> None:
    narrow, wide = scores(-below, [std, std * factor])
    assert narrow < wide


def test_the_mean_is_all_that_it_looks_at() -> None:
    mean = np.array([0.5, -2.0, 3.0])
    for std in (np.zeros(3), np.array([9.0, 0.1, 4.0])):
        for incumbent in (-5.0, 5.0):
            np.testing.assert_array_equal(predicted_mean(mean, std, incumbent), mean)


def test_the_upper_confidence_bound_is_one_standard_deviation_above() -> None:
    mean, std = np.array([0.5, -2.0, 3.0]), np.array([2.0, 5.0, 0.0])
    for incumbent in (-5.0, 5.0):
        bound = upper_confidence_bound(mean, std, incumbent)
        np.testing.assert_array_equal(bound, [2.5, 3.0, 3.0])


def test_they_choose_differently_where_the_mean_and_what_is_unknown_disagree() -> None:
    # The surest, a little above the best so far; a bolder one; one that nothing is known of.
    mean, std = np.array([0.3, 0.0, -2.0]), np.array([0.01, 0.9, 2.8])
    chosen = {name: int(np.argmax(f(mean, std, 0.2))) for name, f in ACQUISITIONS.items()}
    assert chosen == {"mean": 0, "ucb": 1, "log_ei": 2}


@pytest.mark.parametrize("name", list(ACQUISITIONS))
def test_does_not_change_its_arguments(name: str) -> None:
    mean, std = np.array([1.0, -2.0]), np.array([0.0, 1.0])
    ACQUISITIONS[name](mean, std, 0.5)
    assert mean.tolist() == [1.0, -2.0]
    assert std.tolist() == [0.0, 1.0]
