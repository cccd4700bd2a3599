"""A surrogate given the target's own results."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial

from surrogate_nas.errors import PastTaskError
from surrogate_nas.past.past_task import Direction, Given, PastTask
from surrogate_nas.space import distributions
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from surrogate_nas.surrogate.model.past_models import MAX_BASIS
from tests.helpers.nets import (
    CANDIDATES,
    PAST,
    SPACE,
    TWELVE,
    fitted_to,
    pairs,
    related,
    unrelated,
)


@pytest.fixture(scope="module", params=list(PAST))
def surrogate(request: pytest.FixtureRequest) -> MetaSurrogate:
    return fitted_to(request.param)


@pytest.fixture(scope="module")
def mixed() -> MetaSurrogate:
    return fitted_to("mixed")


def test_results_come_in_every_form(mixed: MetaSurrogate) -> None:
    params, values = TWELVE
    wanted = mixed.predict(CANDIDATES, TWELVE, direction="minimize")
    known = distributions(SPACE)
    trials = [
        create_trial(value=value, params=one, distributions={name: known[name] for name in one})
        for one, value in zip(params, values, strict=True)
    ]
    study = optuna.create_study(direction="minimize")
    study.add_trials(trials)
    np.testing.assert_array_equal(mixed.predict(CANDIDATES, study), wanted)
    task = PastTask("target", params, values, "minimize")
    np.testing.assert_array_equal(mixed.predict(CANDIDATES, task), wanted)
    forms: list[Given] = [trials, tuple(trials), (tuple(params), tuple(values))]
    for given in forms:
        again = mixed.predict(CANDIDATES, given, direction="minimize")
        np.testing.assert_array_equal(again, wanted)


@pytest.mark.parametrize("given", [[], ([], []), optuna.create_study(direction="maximize")])
def test_no_results_in_any_form(mixed: MetaSurrogate, given: Given) -> None:
    np.testing.assert_array_equal(mixed.predict(CANDIDATES, given), mixed.predict(CANDIDATES))


def test_bad_results_are_refused(mixed: MetaSurrogate) -> None:
    with pytest.raises(PastTaskError, match="nan at position 0"):
        mixed.predict(CANDIDATES, (CANDIDATES[:1], [math.nan]))


def test_one_row_pulls_predictions_its_way(surrogate: MetaSurrogate) -> None:
    one = CANDIDATES[0]
    low, _ = surrogate.predict([one], ([one], [10.0]))
    high, _ = surrogate.predict([one], ([one], [90.0]))
    assert low[0] < 30
    assert high[0] > 70


# The conditioned model


def test_incumbent_is_the_best_result_in_working_units(mixed: MetaSurrogate) -> None:
    params, values = TWELVE
    up = mixed.condition(TWELVE)
    down = mixed.condition(TWELVE, direction="minimize")
    for model, best in ((up, max(values)), (down, min(values))):
        assert model.incumbent is not None
        own, _ = model.own_units(np.array([model.incumbent]), np.array([0.1]))
        assert own[0] == pytest.approx(best)
    assert mixed.condition(None).incumbent is None
    assert len(params) == 12


def test_own_units_give_center_and_half_of_the_interval(mixed: MetaSurrogate) -> None:
    model = mixed.condition(TWELVE)
    latent, latent_std = model.latent(CANDIDATES)
    mean, std = model.predict(CANDIDATES)
    np.testing.assert_array_equal(model.own_units(latent, latent_std), (mean, std))
    # Larger is better in working units, and the order is the same.
    np.testing.assert_array_equal(np.argsort(latent), np.argsort(mean))
    certain = model.own_units(latent, np.zeros(40))[1]
    assert np.all(certain > 0), "measuring again is noisy"
    assert np.all(certain < std)


def test_measured_is_the_latent_value_with_the_noise_of_training_again(
    mixed: MetaSurrogate,
) -> None:
    model = mixed.condition(TWELVE)
    latent, latent_std = model.latent(CANDIDATES)
    mean, std = model.measured(CANDIDATES)
    np.testing.assert_array_equal(mean, latent)
    noise = np.sqrt(std**2 - latent_std**2)
    assert noise.min() > 0
    np.testing.assert_allclose(noise, noise[0], rtol=1e-6)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_working_units_are_those_of_latent_predictions(
    mixed: MetaSurrogate, direction: Direction
) -> None:
    params, values = TWELVE
    model = mixed.condition(TWELVE, direction=direction)
    y = np.array(values) if direction == "maximize" else -np.array(values)
    working = model.working_units(y)
    assert model.incumbent == working.max()
    own, _ = model.own_units(working, np.ones(12))
    np.testing.assert_allclose(own, values)
    assert np.corrcoef(model.latent(params)[0], working)[0, 1] > 0.9


def test_measured_predictions_cover_measurements_in_working_units(mixed: MetaSurrogate) -> None:
    params, values = pairs(200, 50)
    model = mixed.condition(pairs(20, 51))
    mean, std = model.measured(params)
    score = (model.working_units(np.array(values)) - mean) / std
    assert 0.4 < np.std(score) < 1.5


def test_pending_architectures_make_their_neighbourhood_better_known(
    surrogate: MetaSurrogate,
) -> None:
    pending = CANDIDATES[:3]
    free = surrogate.condition(TWELVE)
    busy = surrogate.condition(TWELVE, pending=pending)
    assert busy.incumbent == free.incumbent
    before, std_before = free.latent(CANDIDATES)
    after, std_after = busy.latent(CANDIDATES)
    assert np.all(std_after[:3] < std_before[:3])
    assert np.mean(std_after[:3] / std_before[:3]) < np.mean(std_after[3:] / std_before[3:])
    # They count as if they reached what is predicted, so means hardly move.
    assert np.corrcoef(before, after)[0, 1] > 0.95


def test_pending_architectures_without_results_change_nothing(mixed: MetaSurrogate) -> None:
    busy = mixed.condition(None, pending=CANDIDATES[:3])
    np.testing.assert_array_equal(
        busy.latent(CANDIDATES), mixed.condition(None).latent(CANDIDATES)
    )


@pytest.mark.parametrize("n_past", [3, 8, MAX_BASIS + 2])
def test_a_copy_of_the_target_gets_the_largest_weight(n_past: int) -> None:
    params, values = pairs(60, 300)
    past = [unrelated(k) for k in range(n_past)]
    past.insert(2, PastTask("copy", params, values))
    model = MetaSurrogate.fit(SPACE, past).condition((params[:20], values[:20]))
    weights = model.weights
    assert list(weights) == [task.name for task in past]
    copy_weight = weights.pop("copy")
    assert copy_weight > 1.5 * max(abs(weight) for weight in weights.values())
    assert model.transfer > 0.9


def test_without_results_all_past_tasks_weigh_the_same(mixed: MetaSurrogate) -> None:
    weights = list(mixed.condition(None).weights.values())
    # Not to the last digit: of hypotheses that are alike, some are the least likely ones left out.
    np.testing.assert_allclose(weights, weights[0], rtol=0.01)
    many = MetaSurrogate.fit(SPACE, PAST["many"]).condition(None).weights
    assert np.std(list(many.values())) < 0.2 * np.mean(list(many.values()))


def test_without_past_tasks_there_is_neither_weight_nor_transfer() -> None:
    model = MetaSurrogate.fit(SPACE).condition(TWELVE)
    assert model.weights == {}
    assert model.transfer == 0.0


def test_transfer_follows_the_evidence() -> None:
    fitted = MetaSurrogate.fit(SPACE, [related(0)])
    params, values = pairs(30, 60)
    shuffled = np.random.default_rng(0).permutation(values).tolist()
    before = fitted.condition(None).transfer
    assert 0.0 < before < 1.0
    assert fitted.condition((params, values)).transfer > 0.95
    assert fitted.condition((params, shuffled)).transfer < before
