from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from surrogate_nas.errors import SpaceError
from surrogate_nas.screening.acquisition import (
    ACQUISITIONS,
    Acquisition,
    Prediction,
    as_acquisition,
    feasible,
    hypervolume,
    log_expected_improvement,
    per_second,
    scalarized,
)
from surrogate_nas.screening.acquisition import (
    scores as checked,
)
from surrogate_nas.screening.objectives import non_dominated

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


def called(name: str, mean: Any, std: Any, incumbent: float) -> FloatArray:
    prediction = Prediction.of_one(np.asarray(mean, dtype=float), np.asarray(std, dtype=float))
    return ACQUISITIONS[name](prediction, np.array([[incumbent]]))


def test_the_mean_is_all_that_it_looks_at() -> None:
    mean = np.array([0.5, -2.0, 3.0])
    for std in (np.zeros(3), np.array([9.0, 0.1, 4.0])):
        for incumbent in (-5.0, 5.0):
            np.testing.assert_array_equal(called("mean", mean, std, incumbent), mean)


def test_the_upper_confidence_bound_is_one_standard_deviation_above() -> None:
    for incumbent in (-5.0, 5.0):
        bound = called("ucb", [0.5, -2.0, 3.0], [2.0, 5.0, 0.0], incumbent)
        np.testing.assert_array_equal(bound, [2.5, 3.0, 3.0])


def test_they_choose_differently_where_the_mean_and_what_is_unknown_disagree() -> None:
    # The surest, a little above the best so far; a bolder one; one that nothing is known of.
    mean, std = [0.3, 0.0, -2.0], [0.01, 0.9, 2.8]
    chosen = {name: int(np.argmax(called(name, mean, std, 0.2))) for name in ACQUISITIONS}
    assert chosen == {"mean": 0, "ucb": 1, "log_ei": 2}


@pytest.mark.parametrize("name", list(ACQUISITIONS))
def test_does_not_change_its_arguments(name: str) -> None:
    mean, std = np.array([1.0, -2.0]), np.array([0.0, 1.0])
    called(name, mean, std, 0.5)
    assert mean.tolist() == [1.0, -2.0]
    assert std.tolist() == [0.0, 1.0]


def test_before_the_first_result_candidates_compete_with_the_best_of_them() -> None:
    prediction = Prediction.of_one(np.array([0.1, 0.7]), np.array([1.0, 0.2]))
    found = ACQUISITIONS["log_ei"](prediction, np.empty((0, 1)))
    np.testing.assert_array_equal(found, scores([0.1, 0.7], [1.0, 0.2], 0.7))


# Objects


def predicted(n: int, o: int, seed: int = 0, **changes: Any) -> Prediction:
    rng = np.random.default_rng(seed)
    parts = {
        "mean": rng.normal(size=(n, o)),
        "std": rng.uniform(0.05, 1.0, size=(n, o)),
        "log_feasible": np.log(rng.uniform(0.01, 1.0, size=n)),
        "seconds": rng.uniform(1.0, 100.0, size=n),
    }
    return Prediction(**{**parts, **changes})


BEST = np.array([[0.3]])
ALL: dict[str, Acquisition] = {
    **ACQUISITIONS,
    "feasible": feasible(),
    "per_second": per_second(feasible()),
    "scalarized": scalarized([1.0]),
    "hypervolume": hypervolume(),
    "hypervolume with a reference": hypervolume([-1.0]),
}


@pytest.mark.parametrize("name", ALL)
def test_scores_are_one_for_each_candidate_in_any_state_of_the_search(name: str) -> None:
    for front in (BEST, np.empty((0, 1))):
        for n in (1, 7):
            found = ALL[name](predicted(n, 1), front)
            assert found.shape == (n,)
            assert np.isfinite(found).all()


@pytest.mark.parametrize("name", ALL)
def test_they_survive_pickling_and_have_a_name(name: str) -> None:
    again = pickle.loads(pickle.dumps(ALL[name]))
    assert again == ALL[name]
    assert "object at" not in repr(again)
    np.testing.assert_array_equal(again(predicted(5, 1), BEST), ALL[name](predicted(5, 1), BEST))


def test_an_improvement_counts_as_often_as_constraints_are_kept() -> None:
    prediction = predicted(9, 1)
    plain = np.exp(ACQUISITIONS["log_ei"](prediction, BEST))
    share = np.exp(prediction.log_feasible)
    np.testing.assert_allclose(np.exp(feasible()(prediction, BEST)), plain * share)


def test_an_improvement_counts_by_its_seconds() -> None:
    prediction = predicted(9, 1)
    plain = np.exp(ACQUISITIONS["log_ei"](prediction, BEST))
    found = np.exp(per_second("log_ei")(prediction, BEST))
    np.testing.assert_allclose(found, plain / prediction.seconds)
    nothing = predicted(9, 1, seconds=np.zeros(9))
    assert np.isfinite(per_second()(nothing, BEST)).all()


def test_a_weighted_sum_of_normal_objectives_is_the_one_objective() -> None:
    prediction = predicted(9, 2)
    front = np.array([[0.0, 1.0], [0.5, 0.2]])
    mean = 0.7 * prediction.mean[:, 0] + 0.3 * prediction.mean[:, 1]
    std = np.hypot(0.7 * prediction.std[:, 0], 0.3 * prediction.std[:, 1])
    found = scalarized([0.7, 0.3])(prediction, front)
    np.testing.assert_allclose(found, log_expected_improvement(mean, std, 0.41))
    alone = scalarized([1.0, 0.0], "ucb")(prediction, front)
    np.testing.assert_allclose(alone, prediction.mean[:, 0] + prediction.std[:, 0])


def added_volume(points: FloatArray, front: FloatArray, reference: FloatArray) -> FloatArray:
    """Volume that each point (n, o) would add to a front, by inclusion and exclusion."""

    def below(corners: FloatArray) -> FloatArray:
        return np.asarray(np.maximum(corners - reference, 0.0).prod(axis=1))

    added = below(points)
    for size in range(1, len(front) + 1):
        for rows in itertools.combinations(front, size):
            added += (-1) ** size * below(np.minimum(points, np.min(rows, axis=0)))
    return added


@pytest.mark.parametrize("o", [1, 2, 3])
@pytest.mark.parametrize("n_front", [1, 4])
def test_the_expected_volume_is_the_mean_over_draws(o: int, n_front: int) -> None:
    rng = np.random.default_rng(o)
    front = rng.uniform(0.0, 1.0, size=(n_front, o))
    front = front[non_dominated(front)]
    reference = np.full(o, -0.5)
    prediction = predicted(5, o, seed=n_front)
    found = np.exp(hypervolume(reference.tolist())(prediction, front))
    draws = prediction.mean + prediction.std * rng.normal(size=(40_000, 5, o))
    for i in range(5):
        volumes = added_volume(draws[:, i], front, reference)
        error = 4 * volumes.std() / math.sqrt(len(volumes))
        assert found[i] == pytest.approx(volumes.mean(), abs=error + 1e-4)


def test_a_certain_candidate_adds_the_volume_itself() -> None:
    front = np.array([[0.0, 1.0], [1.0, 0.0]])
    mean = np.array([[0.5, 0.5], [2.0, 2.0], [-0.1, -0.1]])
    sure = predicted(3, 2, mean=mean, std=np.zeros((3, 2)))
    found = np.exp(hypervolume([-1.0, -1.0])(sure, front))
    # The front has 2 + 2 - 1 = 3 below it; (2, 2) dominates 9.
    np.testing.assert_allclose(found, [0.25, 6.0, 0.0], atol=1e-9)


def test_hopeless_candidates_keep_their_order() -> None:
    front = np.array([[0.0, 1.0], [1.0, 0.0]])
    mean = np.linspace(-60.0, -40.0, 21)[:, None] * np.ones(2)
    far = predicted(21, 2, mean=mean, std=np.ones((21, 2)))
    found = hypervolume()(far, front)
    assert np.isfinite(found).all()
    assert (np.diff(found) > 0).all()


def test_with_one_objective_it_is_the_expected_improvement() -> None:
    prediction = predicted(9, 1)
    np.testing.assert_array_equal(
        hypervolume()(prediction, BEST), ACQUISITIONS["log_ei"](prediction, BEST)
    )
    np.testing.assert_allclose(
        hypervolume([-9.0])(prediction, BEST), ACQUISITIONS["log_ei"](prediction, BEST)
    )


@pytest.mark.parametrize("k", [0, 1])
def test_a_short_front_has_a_reference_point_all_the_same(k: int) -> None:
    prediction = predicted(6, 2, mean=np.arange(12.0).reshape(6, 2), std=np.full((6, 2), 0.1))
    found = hypervolume()(prediction, np.array([[2.0, 3.0]])[:k])
    assert found.argmax() == 5
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: as_acquisition("ei"), "log_ei, mean, ucb, or an object like them; got 'ei'"),
        (lambda: as_acquisition(3), "got 3"),  # type: ignore[arg-type]
        (lambda: as_acquisition(int), "got <class 'int'>"),  # type: ignore[arg-type]
        (lambda: feasible("mean"), "logarithm of an improvement; got 'mean'"),
        (lambda: per_second(ACQUISITIONS["ucb"]), "logarithm of an improvement"),
        (lambda: scalarized([0.0, 0.0]), "not all 0"),
        (lambda: scalarized([1.0, -1.0]), "not negative"),
        (lambda: scalarized([float("nan")]), "finite"),
        (lambda: scalarized([1.0])(predicted(3, 2), np.empty((0, 2))), "2 weights"),
        (lambda: hypervolume([0.0])(predicted(3, 2), np.empty((0, 2))), "2 reference values"),
        (lambda: ACQUISITIONS["log_ei"](predicted(3, 2), np.empty((0, 2))), "one objective"),
        (lambda: checked(lambda p, front: p.mean, predicted(3, 1), BEST), r"shape \(3, 1\)"),
    ],
)
def test_what_cannot_be_is_explained(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        make()


def test_a_score_that_is_no_number_is_the_last_choice() -> None:
    def odd(prediction: Prediction, front: FloatArray) -> FloatArray:
        return np.where(prediction.mean[:, 0] > 0.5, np.nan, prediction.mean[:, 0])

    prediction = Prediction.of_one(np.array([0.9, 0.2, 0.4]), np.ones(3))
    assert checked(odd, prediction, BEST).tolist() == [-np.inf, 0.2, 0.4]
