from __future__ import annotations

import json
import logging
import math

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution

from surrogate_nas.past.past_task import Direction, PastTask
from surrogate_nas.screening.acquisition import ACQUISITIONS, Prediction
from surrogate_nas.screening.known_trials import TargetTrials
from surrogate_nas.screening.pool import Limits, Pool
from surrogate_nas.screening.rules import PoolMix, ScreeningRules
from surrogate_nas.screening.screener import Screener
from surrogate_nas.space import ParameterSpace
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from tests.helpers.words import (
    NOTHING,
    ONLY_RANDOM,
    OPS,
    SPACE,
    fresh,
    key,
    of_worth,
    params,
    past_tasks,
    propose,
    reached,
    results,
    screened,
    three,
    value,
)


def test_before_the_first_results_the_base_is_followed() -> None:
    chosen, _ = screened(base=propose("bbbb", "aaaa"))

    assert chosen.candidate.params == params("bbbb")
    assert not chosen.is_repeat
    assert chosen.candidate.system_attrs == {"base:number": 0}
    assert chosen.attributes() == {"n_candidates": 1, "n_duplicates": 0, "n_infeasible": 0}


def test_the_base_s_first_proposal_that_is_new_is_taken() -> None:
    chosen, _ = screened(base=propose("bbbb", "cccc"), seen=[key("bbbb")])

    assert chosen.candidate.params == params("cccc")
    assert chosen.n_duplicates == 1


def test_where_the_base_repeats_itself_a_random_one_is_taken() -> None:
    chosen, _ = screened(base=propose("bbbb"), seen=[key("bbbb")])

    assert chosen.candidate.source == "random"
    assert chosen.candidate.key != key("bbbb")


def test_startup_ends_with_the_results() -> None:
    before, _ = screened(results(4), propose("bbbb"))
    after, _ = screened(results(5), propose("bbbb"))

    assert before.acquisition is None
    assert after.acquisition is not None


def test_past_tasks_have_a_say_from_the_first_trial() -> None:
    chosen, _ = screened(surrogate=three(), size=128)

    assert list(chosen.candidate.params.values()).count("a") >= 3
    assert chosen.predicted_rank is not None
    assert chosen.predicted_value is None, "the scale of the target is not known yet"


def test_after_the_first_trial_past_tasks_are_compared_with_a_control() -> None:
    base = propose("bbbb", "cccc")
    drawn = []
    for seed in range(8):
        chosen, pool = screened(results(1), base, surrogate=three(), seed=seed)
        assert {candidate.source for candidate in pool.candidates} == {"random"}
        drawn.append("".join(chosen.candidate.params.values()))

    assert base.wanted == []
    assert len(set(drawn)) > 4
    # Past tasks like each a; they neither recommend it nor advise against it.
    assert 0 < np.mean([word.count("a") for word in drawn]) < 2


def test_a_control_is_predicted_all_the_same() -> None:
    trials = results(1)
    chosen, _ = screened(trials, surrogate=three())

    assert chosen.n_candidates == 32
    assert chosen.predicted_rank is not None
    assert chosen.acquisition is not None
    assert chosen.transfer is not None


def test_predictions_have_units_as_soon_as_results_give_a_scale() -> None:
    told = [screened(results(n), surrogate=three())[0].predicted_value for n in (2, 3)]
    equal = PastTask("target", [params("abcd"), params("bbbb"), params("cccc")], [70.0] * 3)
    alike, _ = screened(TargetTrials(equal, "maximize", []), surrogate=three())

    assert told[0] is None
    assert told[1] is not None
    assert alike.predicted_value is None


def test_predictions_stay_within_the_range_of_the_values() -> None:
    known = results(12)
    rules = ScreeningRules(size=32, mix=ONLY_RANDOM, value_range=(0.0, 75.0))
    free, _ = screened(known)
    pool = Pool(SPACE, Limits(SPACE, None), frozenset(), {}, np.random.default_rng(0))
    chosen = Screener(SPACE, rules=rules).choose_from(pool, known, propose())

    assert free.predicted_value is not None
    assert free.predicted_value > 75.0
    assert chosen.predicted_value == 75.0
    assert chosen.predicted_std is not None
    assert chosen.predicted_std <= 37.5


def test_a_training_that_is_not_done_yet_counts_as_the_first() -> None:
    pending = TargetTrials(None, "maximize", [params("abcd")])
    _, pool = screened(pending, surrogate=three())

    assert {candidate.source for candidate in pool.candidates} == {"random"}


@pytest.mark.parametrize("n_control", [0, 1, 3])
def test_so_many_trainings_after_the_first_are_controls(n_control: int) -> None:
    pools = [
        screened(results(n) if n else NOTHING, surrogate=three(), n_control=n_control)[1]
        for n in range(6)
    ]
    drawn = [{candidate.source for candidate in pool.candidates} == {"random"} for pool in pools]

    assert drawn == [False, *[True] * n_control, *[False] * (5 - n_control)]


def test_a_control_is_the_one_in_the_middle_of_the_predictions() -> None:
    chosen, pool = screened(results(1), surrogate=three())
    target = three().condition(results(1).observed)
    mean, _ = target.latent([candidate.params for candidate in pool.candidates])
    place = [candidate.key for candidate in pool.candidates].index(chosen.candidate.key)

    assert len(mean) == 32
    assert (mean < mean[place]).sum() <= 16
    assert (mean > mean[place]).sum() <= 16


def test_without_past_tasks_there_is_nothing_to_compare() -> None:
    one, _ = screened(results(1), propose("bbbb"), n_control=3)
    late, _ = screened(results(5), n_control=9)

    assert one.candidate.params == params("bbbb")
    assert late.n_candidates == 32


def test_a_control_keeps_to_limits_and_repeats_nothing() -> None:
    space = ParameterSpace({"x": CategoricalDistribution((1, 2, 3, 4, 5, 6, 7, 8))})
    past = PastTask("past", [{"x": x} for x in range(1, 9)], [float(x) for x in range(8)])
    known = MetaSurrogate.fit(space, [past])
    observed = PastTask("target", [{"x": 2}], [1.0])
    seen = frozenset([space.canonical({"x": 2})])
    for seed in range(10):
        pool = Pool(space, Limits(space, {"x": 3}), seen, {}, np.random.default_rng(seed))
        trials = TargetTrials(observed, "maximize", [])
        chosen = Screener(space, known).choose_from(pool, trials, propose())
        assert chosen.candidate.params["x"] in (1, 3)


@pytest.mark.parametrize("name", list(ACQUISITIONS))
def test_the_acquisition_that_was_asked_for_ranks_the_pool(name: str) -> None:
    trials = results(20)
    chosen, pool = screened(trials, mix=ONLY_RANDOM, acquisition=name)
    target = fresh().condition(trials.observed)
    mean, std = target.latent([candidate.params for candidate in pool.candidates])
    assert target.incumbent is not None
    front = np.array([[target.incumbent]])
    scores = ACQUISITIONS[name](Prediction.of_one(mean, std), front)

    assert chosen.candidate is pool.candidates[int(np.argmax(scores))]
    assert chosen.acquisition == pytest.approx(scores.max())
    best_first = np.argsort(-mean, kind="stable")
    assert chosen.predicted_rank is not None
    assert mean[best_first[chosen.predicted_rank - 1]] == mean[int(np.argmax(scores))]


def test_what_past_tasks_are_worth_is_stored() -> None:
    chosen, _ = screened(results(20), surrogate=MetaSurrogate.fit(SPACE, past_tasks(1, -1, 1)))
    attributes = chosen.study_attributes()

    assert chosen.attributes()["transfer"] == chosen.transfer
    assert "past_tasks" not in chosen.attributes()
    assert attributes["transfer"] == pytest.approx(chosen.transfer, abs=1e-4)
    assert attributes["transfer"] > 0.9
    weights = attributes["past_task_weights"]
    assert set(weights) == {"past 0", "past 1", "past 2"}
    assert max(weights, key=weights.__getitem__) != "past 1"
    # What the common function of all three brings counts for each, for the contrary one too.
    assert abs(weights["past 1"]) < 0.2 * min(weights["past 0"], weights["past 2"])
    assert json.loads(json.dumps(attributes)) == attributes


def test_without_past_tasks_nothing_is_said_of_them() -> None:
    chosen, _ = screened(results(20))

    assert chosen.transfer is None
    assert chosen.study_attributes() == {}
    assert screened()[0].study_attributes() == {}


def test_past_tasks_of_hardly_any_weight_are_said_to_be_ignored() -> None:
    # With four of them, a tenth of an equal weight is 0.025.
    found = of_worth(0.8, a=0.024, b=-0.6, c=0.026, d=-0.01)

    assert found["past_tasks_ignored"] == ["a", "d"]
    assert list(found["past_task_weights"]) == ["b", "c", "a", "d"]


def test_where_past_tasks_hardly_say_anything_all_are_ignored() -> None:
    assert of_worth(0.09, a=0.5, b=0.4)["past_tasks_ignored"] == ["a", "b"]
    assert of_worth(0.11, a=0.5, b=0.4)["past_tasks_ignored"] == []


def test_of_very_many_past_tasks_the_strongest_are_named() -> None:
    many = {f"past {k}": 0.001 * k for k in range(300)}
    found = of_worth(0.9, **many)

    assert list(found["past_task_weights"]) == [f"past {k}" for k in range(299, 199, -1)]
    assert of_worth(0.0, **many)["past_tasks_ignored"] == [f"past {k}" for k in range(100)]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_predictions_are_in_the_target_s_units(direction: Direction) -> None:
    chosen, _ = screened(results(40, direction), size=128)
    reached = value(chosen.candidate.params) * (1 if direction == "maximize" else -1)

    assert list(chosen.candidate.params.values()).count("a") >= 3
    # Values go from 70 to 90, and the best architectures are beyond what was observed.
    assert chosen.predicted_value == pytest.approx(reached, abs=8)
    assert chosen.predicted_std is not None
    assert 0 < chosen.predicted_std < 20


def test_attributes_are_flat_numbers() -> None:
    chosen, _ = screened(results(10))
    attributes = chosen.attributes()

    assert set(attributes) == {
        "n_candidates",
        "n_duplicates",
        "n_infeasible",
        "predicted_value",
        "predicted_std",
        "predicted_rank",
        "acquisition",
    }
    assert all(type(number) in (int, float) for number in attributes.values())
    assert all(math.isfinite(number) for number in attributes.values())


def test_a_small_pool_has_a_random_candidate_besides_the_base_s() -> None:
    chosen, pool = screened(results(10), propose("bbbb", "cccc"), size=2)

    assert [candidate.source for candidate in pool.candidates] == ["base", "base", "random"]
    assert chosen.n_candidates == 3


@pytest.mark.parametrize("size", [7, 32])
def test_a_pool_has_the_wanted_size(size: int) -> None:
    chosen, pool = screened(results(10), propose("bbbb", "cccc"), size=size)

    assert len(pool.candidates) == chosen.n_candidates == size


@pytest.mark.parametrize(
    ("mix", "sources"),
    [
        (PoolMix(n_base=2, near_observed=0, near_predicted=0), {"base", "random"}),
        (PoolMix(n_base=0, near_observed=0.5, near_predicted=0), {"neighbour", "random"}),
        (PoolMix(n_base=0, near_observed=0, near_predicted=0.5), {"neighbour", "random"}),
        (ONLY_RANDOM, {"random"}),
        (PoolMix(), {"base", "neighbour", "random"}),
    ],
)
def test_each_part_of_the_mix_can_be_switched_off(mix: PoolMix, sources: set[str]) -> None:
    _, pool = screened(results(10), propose("bbbb", "cccc"), mix=mix)

    assert {candidate.source for candidate in pool.candidates} == sources


def test_the_base_is_asked_for_no_more_than_the_pool_holds() -> None:
    base = propose(*["abcd", "bcda", "cdab", "dabc"])
    screened(results(10), base, size=3, mix=PoolMix(n_base=4))

    assert base.wanted == [3]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_neighbours_of_results_are_those_of_the_best(direction: Direction) -> None:
    good = ["aaab", "aaac", "aaad", "aaae", "aaba"]
    bad = ["bcde", "cdeb", "debc", "ebcd", "ddee", "eeee"]
    trials = reached([*bad[:3], *good, *bad[3:]], direction)
    mix = PoolMix(0, near_observed=0.5, near_predicted=0)
    _, pool = screened(trials, mix=mix, seen=[key(word) for word in (*good, *bad)])
    near = ["".join(c.params.values()) for c in pool.candidates if c.source == "neighbour"]

    assert len(near) > 8
    for parent in good:
        assert any(differences(parent, word) == 1 for word in near)
    for word in near:
        assert min(differences(parent, word) for parent in good) == 1


def differences(one: str, other: str) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def test_neighbours_of_the_best_predicted_refine_the_choice() -> None:
    trials = results(40)
    coarse, _ = screened(trials, size=24, mix=ONLY_RANDOM, seed=1)
    fine, _ = screened(trials, size=24, mix=PoolMix(0, 0, 0.5), seed=1)

    assert coarse.acquisition is not None
    assert fine.acquisition is not None
    assert fine.acquisition > coarse.acquisition


def test_architectures_in_training_are_not_the_next_choice_s_neighbours() -> None:
    trials = results(12)
    chosen, _ = screened(trials, size=64)
    pending = TargetTrials(trials.observed, "maximize", [chosen.candidate.params])
    other, _ = screened(pending, size=64, seen=[chosen.candidate.key])

    assert other.candidate.key != chosen.candidate.key
    assert other.predicted_value is not None


def test_limits_hold_for_the_chosen_and_are_counted() -> None:
    space = ParameterSpace({"x": CategoricalDistribution((1, 2, 3, 4, 5, 6, 7, 8))})
    pool = Pool(space, Limits(space, {"x": 3}), frozenset(), {}, np.random.default_rng(0))
    observed = PastTask("target", [{"x": x} for x in range(1, 9)], [float(x) for x in range(8)])
    trials = TargetTrials(observed, "maximize", [])

    rules = ScreeningRules(size=8, mix=ONLY_RANDOM)
    chosen = Screener(space, rules=rules).choose_from(pool, trials, propose())

    assert chosen.candidate.params["x"] <= 3
    assert chosen.n_candidates == 3
    assert chosen.n_infeasible > 0


@pytest.mark.parametrize("n_results", [0, 10], ids=["startup", "screened"])
def test_an_exhausted_space_repeats_with_a_warning(
    n_results: int, caplog: pytest.LogCaptureFixture
) -> None:
    words = [a + b + c + d for a in OPS for b in OPS for c in OPS for d in OPS]
    trials = results(n_results) if n_results else NOTHING
    with caplog.at_level(logging.WARNING, logger="surrogate_nas"):
        chosen, _ = screened(trials, propose("bbbb"), seen=[key(word) for word in words])

    assert chosen.candidate.params == params("bbbb")
    assert chosen.n_candidates == 0
    assert chosen.is_repeat
    assert chosen.n_duplicates > 0
    assert [record.getMessage() for record in caplog.records] == [
        "Every architecture of the space that was drawn has been evaluated; one is repeated. "
        "Stop the study here or enlarge the space."
    ]


def test_the_same_seed_chooses_the_same() -> None:
    chosen = [screened(results(10), seed=seed)[0] for seed in (3, 3)]

    assert chosen[0] == chosen[1]
