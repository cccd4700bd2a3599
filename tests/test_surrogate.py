from __future__ import annotations

import copy
import math
import warnings
from typing import Any, final

import numpy as np
import numpy.typing as npt
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import create_trial
from scipy.stats import spearmanr
from torch import nn

from surrogate_nas.basis import MAX_BASIS
from surrogate_nas.draw import Draw, random_chooser
from surrogate_nas.errors import PastTaskError, SpaceError, SurrogateMismatchError
from surrogate_nas.hypotheses import MEAN, NOTHING, Hypotheses
from surrogate_nas.past import Direction, Given, PastTask
from surrogate_nas.space import Architecture, SearchSpace, TaskShape, as_space, distributions
from surrogate_nas.surrogate import MetaSurrogate
from surrogate_nas.target import TargetModel

FloatArray = npt.NDArray[np.float64]
Params = list[dict[str, Any]]
Pairs = tuple[Params, list[float]]

GAIN = {"conv": 1.0, "pool": -1.0, "skip": 0.0}


def nets(trial: optuna.trial.BaseTrial) -> None:
    """One or two layers with a width, and a learning rate."""
    trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    trial.suggest_int("width", 8, 64, step=8)
    trial.suggest_categorical("op_1", list(GAIN))
    if trial.suggest_categorical("deep", [False, True]):
        trial.suggest_categorical("op_2", list(GAIN))


SPACE = as_space(nets)


def draw(n: int, seed: int) -> Params:
    rng = np.random.default_rng(seed)
    params = []
    for _ in range(n):
        one = Draw(random_chooser(rng))
        nets(one)
        params.append(one.params)
    return params


def accuracy(one: dict[str, Any], taste: float = 1.0) -> float:
    """Per cent that an architecture reaches; a negative taste likes the opposite operations."""
    operations = GAIN[one["op_1"]] + (GAIN[one["op_2"]] if one["deep"] else -0.3)
    size: float = one["width"] / 64 - (math.log10(one["rate"]) + 2.5) ** 2 / 3
    return 70.0 + 6.0 * taste * operations + 5.0 * size


def pairs(n: int, seed: int, taste: float = 1.0, noise: float = 0.3) -> Pairs:
    params = draw(n, seed)
    rng = np.random.default_rng(seed)
    return params, [accuracy(one, taste) + noise * float(rng.normal()) for one in params]


def related(k: int, n: int = 60) -> PastTask:
    """A task that nearly agrees with the target, in units of its own, every other a loss."""
    params, values = pairs(n, 100 + k, taste=1.0 + 0.1 * (k % 3))
    if k % 2:
        return PastTask(f"related {k}", params, [9.0 - value / 10 for value in values], "minimize")
    return PastTask(f"related {k}", params, [value / 100 for value in values])


def unrelated(k: int, n: int = 60) -> PastTask:
    """A task with a law of its own: random gains, another size and another learning rate."""
    rng = np.random.default_rng(1000 + k)
    params = draw(n, 200 + k)
    first, second = (dict(zip(GAIN, rng.normal(size=3), strict=True)) for _ in range(2))
    size, rate = rng.normal(size=2)
    values = [
        first[one["op_1"]] * (1 + size * one["width"] / 64)
        + (second[one["op_2"]] if one["deep"] else 0.0)
        - (math.log10(one["rate"]) + 2.5 - rate) ** 2 / 3
        for one in params
    ]
    return PastTask(f"unrelated {k}", params, values)


def meaningless(k: int, n: int = 60) -> PastTask:
    """A task whose values have nothing to do with its architectures."""
    params, values = pairs(n, 200 + k)
    shuffled = np.random.default_rng(k).permutation(values).tolist()
    return PastTask(f"meaningless {k}", params, shuffled)


PAST = {
    "no past": [],
    "two tasks": [related(0), related(1)],
    "mixed": [related(0), unrelated(0), related(1), unrelated(1)],
    "many": [related(k, n=30) for k in range(MAX_BASIS + 4)],
}


@pytest.fixture(scope="module", params=list(PAST))
def surrogate(request: pytest.FixtureRequest) -> MetaSurrogate:
    return MetaSurrogate.fit(SPACE, PAST[request.param])


@pytest.fixture(scope="module")
def mixed() -> MetaSurrogate:
    return MetaSurrogate.fit(SPACE, PAST["mixed"])


CANDIDATES = draw(40, 1)
TRUTH = np.array([accuracy(one) for one in CANDIDATES])

TWELVE = pairs(12, 2)


@pytest.mark.parametrize("n_past", [0, 2])
def test_the_same_seed_gives_the_same_answer_bit_for_bit(n_past: int) -> None:
    past = PAST["two tasks"][:n_past]
    one, same = (MetaSurrogate.fit(SPACE, past, seed=7) for _ in range(2))
    for given in (None, TWELVE):
        np.testing.assert_array_equal(
            one.predict(CANDIDATES, given), same.predict(CANDIDATES, given)
        )
    other = MetaSurrogate.fit(SPACE, past, seed=8)
    is_same = np.array_equal(one.predict(CANDIDATES)[0], other.predict(CANDIDATES)[0])
    assert is_same == (n_past == 0)


def test_inputs_are_not_changed() -> None:
    past, given, candidates = copy.deepcopy((PAST["two tasks"], TWELVE, CANDIDATES))
    fitted = MetaSurrogate.fit(SPACE, past)
    fitted.predict(candidates, given, direction="minimize")
    fitted.condition(given, pending=candidates[:3]).predict(candidates)
    assert (given, candidates) == (TWELVE, CANDIDATES)
    for now, before in zip(past, PAST["two tasks"], strict=True):
        assert (now.params, now.values) == (before.params, before.values)


def test_later_changes_of_the_inputs_do_not_change_a_fit() -> None:
    past = copy.deepcopy(PAST["two tasks"])
    fitted = MetaSurrogate.fit(SPACE, past)
    before = fitted.predict(CANDIDATES)
    for task in past:
        for one in task.params:
            assert isinstance(one, dict)
            one.clear()
    np.testing.assert_array_equal(fitted.predict(CANDIDATES), before)


def test_a_past_loss_is_a_past_score_turned_round() -> None:
    score = related(0)
    loss = PastTask(score.name, score.params, [-value for value in score.values], "minimize")
    one, same = (MetaSurrogate.fit(SPACE, [task]) for task in (score, loss))
    np.testing.assert_array_equal(one.predict(CANDIDATES), same.predict(CANDIDATES))


def error(fitted: MetaSurrogate, n: int) -> float:
    """Mean absolute error over ten targets' first n results, in per cent of accuracy."""
    errors = [
        np.abs(fitted.predict(CANDIDATES, pairs(n, seed))[0] - TRUTH).mean()
        for seed in range(10, 20)
    ]
    return float(np.mean(errors))


CONSTANT = float(np.abs(TRUTH - np.median(TRUTH)).mean())
"""Error of the best constant."""


@pytest.fixture(scope="module")
def alone() -> MetaSurrogate:
    """Without past tasks."""
    return MetaSurrogate.fit(SPACE)


def test_learns_an_easy_function_from_the_target_alone(alone: MetaSurrogate) -> None:
    assert error(alone, 5) < CONSTANT
    assert error(alone, 12) < 0.7 * CONSTANT
    assert error(alone, 60) < 0.15 * CONSTANT


@pytest.mark.parametrize("past", ["two tasks", "mixed", "many"])
def test_past_tasks_teach_what_a_few_results_cannot(past: str, alone: MetaSurrogate) -> None:
    fitted = MetaSurrogate.fit(SPACE, PAST[past])
    assert spearmanr(fitted.predict(CANDIDATES)[0], TRUTH).statistic > 0.9
    for n, factor in ((5, 0.6), (12, 0.6)):
        assert error(fitted, n) < factor * error(alone, n)
    assert error(fitted, 60) < 0.15 * CONSTANT


def test_one_past_task_is_believed_before_there_are_results() -> None:
    mean, _ = MetaSurrogate.fit(SPACE, [related(0)]).predict(CANDIDATES)
    assert spearmanr(mean, TRUTH).statistic > 0.9


@pytest.mark.parametrize("n_past", [1, 6, MAX_BASIS + 4])
def test_unrelated_past_tasks_do_little_harm(n_past: int, alone: MetaSurrogate) -> None:
    fitted = MetaSurrogate.fit(SPACE, [unrelated(k) for k in range(n_past)])
    # With one past task there is no other that could tell what it is worth; results must.
    for n, factor in ((5, 1.2), (12, 1.15), (25, 1.15)):
        assert error(fitted, n) < factor * error(alone, n)
    assert error(fitted, 60) < 0.15 * CONSTANT


def test_meaningless_past_tasks_do_passing_harm(alone: MetaSurrogate) -> None:
    # A world in which all tasks are noise: that it expects the same of the target costs a little.
    fitted = MetaSurrogate.fit(SPACE, [meaningless(k) for k in range(6)])
    for n, factor in ((5, 1.25), (12, 1.4), (25, 1.15), (60, 1.1)):
        assert error(fitted, n) < factor * error(alone, n)


def test_contrary_past_tasks_are_read_the_other_way_round(alone: MetaSurrogate) -> None:
    past = [
        PastTask(task.name, task.params, [-value for value in task.values], task.direction)
        for task in (related(0), related(1))
    ]
    fitted = MetaSurrogate.fit(SPACE, past)
    assert spearmanr(fitted.predict(CANDIDATES)[0], TRUTH).statistic < -0.9
    for n in (5, 12):
        assert error(fitted, n) < 0.7 * error(alone, n)


def test_standard_deviations_cover_measured_values(mixed: MetaSurrogate) -> None:
    params, values = pairs(200, 50)
    mean, std = mixed.predict(params, pairs(20, 51))
    score = (np.array(values) - mean) / std
    assert 0.4 < np.std(score) < 1.5
    assert np.mean(np.abs(score) < 2) > 0.88


def test_without_results_predictions_are_standard_scores(mixed: MetaSurrogate) -> None:
    params = draw(500, 9)
    mean, std = mixed.predict(params)
    assert abs(mean.mean()) < 0.3
    assert 0.3 < mean.std() < 1.5
    assert 0.3 < np.mean(std) < 3.0
    down, _ = mixed.predict(params, direction="minimize")
    np.testing.assert_array_equal(down, -mean)


def test_with_nothing_at_all_every_architecture_is_alike() -> None:
    mean, std = MetaSurrogate.fit(SPACE).predict(CANDIDATES)
    np.testing.assert_array_equal(mean, 0.0)
    assert len(set(std.tolist())) == 1


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
    gains = np.array(values) if direction == "maximize" else -np.array(values)
    working = model.working_units(gains)
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


def test_many_results_work(mixed: MetaSurrogate) -> None:
    mean, _ = mixed.predict(CANDIDATES, pairs(260, 70))
    assert np.abs(mean - TRUTH).mean() < 0.15 * CONSTANT


# Past tasks


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5], r"at least two different values; got 1 equal value\(s\) in 'flat'"),
        ([0.5, 0.5, 0.5], r"3 equal value\(s\) in 'flat'\. Leave that past task out"),
    ],
)
def test_past_tasks_that_rank_nothing_are_refused(values: list[float], message: str) -> None:
    flat = PastTask("flat", draw(len(values), 0), values)
    with pytest.raises(PastTaskError, match=message):
        MetaSurrogate.fit(SPACE, [related(0), flat])


def test_past_tasks_of_another_space_are_refused() -> None:
    other = PastTask("trees", [{"leaves": 3}, {"leaves": 5}], [0.1, 0.2])
    with pytest.raises(PastTaskError, match=r"such as 'deep'.*; got 0% .*'trees'.* 'leaves'"):
        MetaSurrogate.fit(SPACE, [other])


def test_past_tasks_may_lack_some_parameters_and_have_others() -> None:
    task = related(0)
    params: Params = [
        {**{k: v for k, v in one.items() if k != "width"}, "dropout": 0.1} for one in task.params
    ]
    fitted = MetaSurrogate.fit(SPACE, [PastTask("older", params, task.values)])
    assert spearmanr(fitted.predict(CANDIDATES)[0], TRUTH).statistic > 0.6


def test_contradicting_values_warn_where_fit_was_called() -> None:
    params, values = pairs(10, 0)
    task = PastTask("odd", [*params, params[0]], [*values, values[0] + 100.0])
    with pytest.warns(UserWarning, match=r"values 100 apart.*'odd'.*rows belong together") as seen:
        MetaSurrogate.fit(SPACE, [related(0), task])
    assert [one.filename for one in seen] == [__file__]


def test_repeated_trainings_that_differ_a_little_do_not_warn() -> None:
    params, values = pairs(20, 0)
    task = PastTask("twice", params * 2, values + [value + 0.5 for value in values])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MetaSurrogate.fit(SPACE, [task])


def test_a_space_without_parameters_is_refused() -> None:
    with pytest.raises(SpaceError, match="at least one parameter"):
        MetaSurrogate.fit(lambda trial: None)


def test_past_tasks_are_remembered_by_name_and_size() -> None:
    params, values = pairs(30, 0)
    task = PastTask("letters", params, values, "minimize", meta_features={"classes": 26.0})
    (summary,) = MetaSurrogate.fit(SPACE, [task]).tasks
    scale = summary.pop("scale")
    assert summary == {
        "name": "letters",
        "pairs": 30,
        "direction": "minimize",
        "meta_features": {"classes": 26.0},
        "quality": None,
        "notes": [],
    }
    assert scale == pytest.approx(np.std(values), rel=0.5)
    assert MetaSurrogate.fit(SPACE, [related(0)]).tasks[0]["meta_features"] is None


def test_typical_scale_is_that_of_past_tasks() -> None:
    assert MetaSurrogate.fit(SPACE).typical_scale == 1.0
    params = draw(3, 0)
    past = [
        PastTask("two values", params[:2], [0.5, 0.52]),
        PastTask("three values", params, [-1e-3, 0.0, 1e-3]),
        PastTask("three more", params, [0.0, 10.0, 20.0]),
    ]
    assert [task["scale"] for task in MetaSurrogate.fit(SPACE, past).tasks] == pytest.approx(
        [0.02, 1.4826e-3, 14.826]
    )
    assert MetaSurrogate.fit(SPACE, past).typical_scale == pytest.approx(0.02)


@pytest.mark.parametrize("n", [1, 2])
def test_the_first_results_are_as_uncertain_as_past_tasks_were_spread(n: int) -> None:
    task = related(0)  # spread by some hundredths
    params, values = pairs(n, 5, noise=0.0)
    given = params, [value / 100 for value in values]
    _, std = MetaSurrogate.fit(SPACE, [task]).predict(CANDIDATES, given)
    assert np.all(std < 0.3)


def test_the_basis_belongs_to_the_past_tasks(surrogate: MetaSurrogate) -> None:
    n = len(surrogate.tasks)
    r = {0: 0, 1: 1}.get(n, min(n + 1, MAX_BASIS))
    assert surrogate.loadings is surrogate.basis.loadings
    assert surrogate.loadings.shape == (n, r)
    assert len(surrogate.basis.boosters) == r
    grid = Hypotheses.grid(with_basis=n > 0)
    np.testing.assert_array_equal(surrogate.basis.hypotheses.rows(), grid.rows())
    assert surrogate.basis.log_prior.shape == (len(grid),)


def test_hypotheses_of_one_s_own_are_used() -> None:
    params, values = pairs(20, 60)
    shuffled = np.random.default_rng(0).permutation(values).tolist()
    certain = Hypotheses.grid(transfers=[(MEAN, 0.15)])
    fitted = MetaSurrogate.fit(SPACE, PAST["two tasks"], hypotheses=certain)
    assert fitted.basis.hypotheses is certain
    # Whatever the target says: there is no hypothesis that past tasks say nothing.
    assert fitted.condition((params, shuffled)).transfer == pytest.approx(1.0)
    never = Hypotheses.grid(transfers=[(NOTHING, 0.0)])
    ignoring = MetaSurrogate.fit(SPACE, PAST["two tasks"], hypotheses=never)
    model = ignoring.condition((params, values))
    assert model.transfer == 0
    assert list(model.weights.values()) == [0.0, 0.0]


# Other spaces


@final
class Wide(SearchSpace):
    """A width, and what the surrogate is told of it."""

    def __init__(self, feature: str | None = None) -> None:
        self.feature = feature

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {"width": trial.suggest_int("width", 1, 9)}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        return nn.Identity()

    def features(self, architecture: Architecture) -> dict[str, float]:
        return {} if self.feature is None else {self.feature: float(architecture["width"]) ** 2}


WIDTHS = PastTask("widths", [{"width": k} for k in range(1, 10)], [float(k) for k in range(1, 10)])


def test_bind_to_the_same_space_is_the_same_surrogate(mixed: MetaSurrogate) -> None:
    assert mixed.bind(SPACE) is mixed


def test_bind_to_an_equal_space_predicts_the_same(mixed: MetaSurrogate) -> None:
    twin = as_space(nets)
    bound = mixed.bind(twin)
    assert bound.encoding.space is twin
    assert bound.tasks == mixed.tasks
    np.testing.assert_array_equal(
        bound.predict(CANDIDATES, TWELVE), mixed.predict(CANDIDATES, TWELVE)
    )


def test_bind_keeps_the_fitted_order_of_parameters(mixed: MetaSurrogate) -> None:
    listed = dict(reversed(distributions(SPACE).items()))
    bound = mixed.bind(as_space(listed))
    assert bound.encoding.columns == mixed.encoding.columns
    np.testing.assert_array_equal(
        bound.predict(CANDIDATES, TWELVE), mixed.predict(CANDIDATES, TWELVE)
    )


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"width": IntDistribution(8, 128, step=8)}, "differs in width"),
        ({"rate": FloatDistribution(1e-4, 1e-1)}, "differs in rate"),
        ({"op_1": CategoricalDistribution(["conv", "skip"])}, "differs in op_1"),
        (
            {"drop": FloatDistribution(0, 1), "deep": IntDistribution(0, 1)},
            "differs in deep, drop",
        ),
    ],
)
def test_bind_to_another_space_says_what_differs(
    mixed: MetaSurrogate, change: dict[str, BaseDistribution], named: str
) -> None:
    other = as_space({**distributions(SPACE), **change})
    with pytest.raises(SurrogateMismatchError, match=named) as caught:
        mixed.bind(other)
    assert "search the space that it was fitted to" in caught.value.fix


def test_bind_to_a_space_with_other_features_says_which() -> None:
    fitted = MetaSurrogate.fit(Wide("square"), [WIDTHS])
    assert isinstance(fitted.bind(Wide("square")), MetaSurrogate)
    with pytest.raises(SurrogateMismatchError, match="feature:area, feature:square"):
        fitted.bind(Wide("area"))
    with pytest.raises(SurrogateMismatchError, match="differs in feature:square"):
        fitted.bind(Wide())


@pytest.mark.parametrize("space", [Wide(), Wide("square")])
def test_a_space_of_one_parameter_is_enough(space: SearchSpace) -> None:
    fitted = MetaSurrogate.fit(space, [WIDTHS])
    mean, _ = fitted.predict(WIDTHS.params)
    assert spearmanr(mean, WIDTHS.values).statistic > 0.8
    model = fitted.condition((WIDTHS.params[:4], WIDTHS.values[:4]))
    assert isinstance(model, TargetModel)
    mean, _ = model.predict(WIDTHS.params)
    assert mean[-1] > mean[0]
