from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from surrogate_nas.errors import StudyError
from surrogate_nas.results.summary import spaced, summarize
from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from tests.helpers import synthetic
from tests.helpers.stored_studies import predictions, study_of


def test_an_empty_study_has_nothing_to_say() -> None:
    summary = summarize(study_of([]))

    assert summary.best is None
    assert math.isnan(summary.rank_correlation)
    assert (summary.name, summary.task, summary.metric) == ("numbers", "", "value")
    assert (summary.n_failed, summary.n_pruned, summary.n_screened) == (0, 0, 0)
    assert summary.completed == summary.predicted == summary.measured == summary.stds == ()


@pytest.mark.parametrize(("maximize", "number"), [(True, 1), (False, 2)])
def test_the_best_follows_the_direction(maximize: bool, number: int) -> None:
    summary = summarize(study_of([2.0, 3.0, 1.0], maximize=maximize))

    assert summary.maximize == maximize
    assert summary.best is not None
    assert summary.best.number == number


def test_the_first_of_equals_is_the_best() -> None:
    best = summarize(study_of([1.0, 3.0, 3.0])).best

    assert best is not None
    assert best.number == 1


def test_ends_are_counted_each() -> None:
    study = study_of([1.0])
    for state in (TrialState.FAIL, TrialState.FAIL, TrialState.PRUNED):
        study.tell(study.ask(), state=state)
    study.ask()
    study.enqueue_trial({})

    summary = summarize(study)

    assert len(summary.completed) == 1
    assert (summary.n_failed, summary.n_pruned) == (2, 1)


def test_names_come_from_the_study_s_attributes() -> None:
    study = study_of([])
    study.set_user_attr("task", "digits")
    study.set_user_attr("metric", "accuracy")

    summary = summarize(study)

    assert (summary.task, summary.metric) == ("digits", "accuracy")


def test_counts_are_summed_over_all_trials() -> None:
    study = study_of([1.0, 2.0], [{"n_candidates": 10, "n_infeasible": 2}, {"n_duplicates": 3}])
    failed = create_trial(state=TrialState.FAIL, user_attrs={"n_candidates": 5})
    study.add_trial(failed)

    summary = summarize(study)

    assert (summary.n_screened, summary.n_duplicates, summary.n_infeasible) == (15, 3, 2)


def test_predictions_stand_beside_their_results() -> None:
    attrs = [{}, *predictions(5.0, 7.0), {"predicted_value": 1.0}]
    summary = summarize(study_of([1.0, 2.0, 3.0, 4.0], attrs))

    assert summary.predicted == (5.0, 7.0)
    assert summary.measured == (2.0, 3.0)
    assert summary.stds == (1.0, 1.0)


@pytest.mark.parametrize(
    ("predicted", "measured", "expected"),
    [
        ((1.0, 2.0, 3.0, 4.0), (1.0, 2.0, 3.0, 9.0), 1.0),
        ((4.0, 3.0, 2.0, 1.0), (1.0, 2.0, 3.0, 9.0), -1.0),
        ((1.0, 2.0, 4.0, 3.0), (1.0, 2.0, 3.0, 4.0), 0.8),
    ],
)
def test_rank_correlation_is_spearman_s(
    predicted: tuple[float, ...], measured: tuple[float, ...], expected: float
) -> None:
    summary = summarize(study_of(measured, predictions(*predicted)))

    assert summary.rank_correlation == pytest.approx(expected)


@pytest.mark.parametrize(
    ("predicted", "measured"),
    [((1.0, 2.0), (1.0, 2.0)), ((1.0, 1.0, 1.0), (1.0, 2.0, 3.0)), ((1.0, 2.0, 3.0), (5.0,) * 3)],
    ids=["too few", "equal predictions", "equal results"],
)
def test_without_ranks_there_is_no_correlation(
    predicted: tuple[float, ...], measured: tuple[float, ...]
) -> None:
    assert math.isnan(summarize(study_of(measured, predictions(*predicted))).rank_correlation)


@pytest.mark.parametrize(
    "attr",
    ["predicted_value", "predicted_std", "n_candidates", "n_duplicates", "n_infeasible"],
)
@pytest.mark.parametrize("found", ["many", None, True, [1], {"a": 1}, float("nan")])
def test_attributes_of_others_are_not_taken_for_ours(attr: str, found: Any) -> None:
    own = {"predicted_value": 1.0, "predicted_std": 1.0, attr: found}
    summary = summarize(study_of([1.0], [own]))

    assert (summary.n_screened, summary.n_duplicates, summary.n_infeasible) == (0, 0, 0)
    assert summary.predicted == (() if attr.startswith("predicted") else (1.0,))


@pytest.mark.parametrize(
    ("attrs", "n", "words"),
    [
        ({}, 0, "measured 0 times"),
        ({"test_value": 0.5}, 1, "measured once"),
        ({"test_value": 0.5, "test_uses": 3}, 3, "measured 3 times"),
        ({"test_value": 0.5, "test_uses": True}, 1, "measured once"),
        ({"test_value": 0.5, "test_uses": "many"}, 1, "measured once"),
    ],
)
def test_how_often_the_test_split_was_used(attrs: dict[str, Any], n: int, words: str) -> None:
    """An earlier version has written down the value alone."""
    study = study_of([1.0], [{}])
    for name, value in attrs.items():
        study.set_user_attr(name, value)
    summary = summarize(study)

    assert (summary.n_test_uses, summary.test_words) == (n, words)
    assert summary.test_value == attrs.get("test_value")


def test_several_objectives_are_refused() -> None:
    with pytest.raises(StudyError, match="2 objectives"):
        summarize(optuna.create_study(directions=["maximize", "minimize"]))


def test_our_own_study_is_summed_up() -> None:
    study = optuna.create_study(
        direction="maximize",
        sampler=SurrogateSampler(synthetic.SPACE, n_candidates=16, seed=0),
    )
    study.optimize(synthetic.objective, 12)

    summary = summarize(study)

    assert summary.best is not None
    assert summary.best.value == study.best_value
    assert summary.n_screened >= 7 * 16
    assert len(summary.predicted) == 7
    assert -1 <= summary.rank_correlation <= 1


def test_coverage_is_the_share_of_results_within_their_intervals() -> None:
    """Half of a normal distribution lies within 0.674 standard deviations."""
    attrs = predictions(0.0, 0.0, 0.0, 0.0)
    summary = summarize(study_of([0.5, -0.6, 0.7, 3.0], attrs))

    assert summary.coverage(0.5) == 0.5
    assert summary.coverage(0.8) == 0.75
    assert summary.coverage(0.95) == 0.75
    assert math.isnan(summarize(study_of([1.0])).coverage(0.5))


def test_rank_correlations_follow_the_trials() -> None:
    """From the third predicted training on; what has none is left out."""
    summary = summarize(study_of([1.0, 2.0, 3.0, 0.0], predictions(1.0, 2.0, 3.0, 4.0)))

    assert [n for n, _ in summary.rank_correlations] == [3, 4]
    assert [rho for _, rho in summary.rank_correlations] == pytest.approx(
        [1.0, summary.rank_correlation]
    )
    assert summarize(study_of([1.0, 1.0, 1.0], predictions(1, 2, 3))).rank_correlations == ()


def test_thousands_of_trials_have_a_hundred_rank_correlations() -> None:
    """The last one included."""
    values = [float(v) for v in range(2000)]
    found = summarize(study_of(values, predictions(*values))).rank_correlations

    assert len(found) == 100
    assert found[-1][0] == 2000
    assert found[-1][1] == pytest.approx(1.0)


@pytest.mark.parametrize(("maximize", "bests"), [(True, [1, 3, 3]), (False, [1, 1, 0])])
def test_bests_are_the_best_so_far(maximize: bool, bests: list[float]) -> None:
    """In the study's direction."""
    assert summarize(study_of([1, 3, 0], maximize=maximize)).bests.tolist() == bests


def test_spaced_places_are_few_and_hold_the_last() -> None:
    """Figures of thousands of trials stay small."""
    assert spaced(3, 5) == [0, 1, 2]
    assert spaced(0, 5) == spaced(-2, 5) == []
    assert len(spaced(1000, 7)) == 7
    assert spaced(1000, 7)[-1] == 999
