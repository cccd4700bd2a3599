from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial

from surrogate_nas.results.diagnosis import (
    ENOUGH_FOR_TRANSFER,
    ENOUGH_TRAININGS,
    LOW_CORRELATION,
    diagnose,
)
from surrogate_nas.results.summary import StudySummary, summarize
from tests.helpers.stored_studies import predictions, study_of


def searched(predicted: Sequence[float], measured: Sequence[float]) -> StudySummary:
    return summarize(study_of(measured, predictions(*predicted)))


def kinds(summary: StudySummary) -> list[str]:
    return [finding.kind for finding in diagnose(summary)]


def correlated(rng: np.random.Generator, n: int, rho: float) -> StudySummary:
    predicted, noise = rng.standard_normal((2, n))
    return searched(predicted.tolist(), (rho * predicted + np.sqrt(1 - rho**2) * noise).tolist())


def test_a_surrogate_that_ranks_upside_down_is_found_out() -> None:
    """With its numbers, what was done and what to do."""
    values = [float(v) for v in range(ENOUGH_TRAININGS)]
    (finding,) = diagnose(searched(values[::-1], values))

    assert finding.kind == "rank_correlation"
    assert "rank correlation -1.00 over 12 trainings" in finding.shown
    assert "explores more" in finding.done
    assert "n_candidates=1" in finding.advice
    assert finding.brief == "surrogate ranks weakly (-1.00)"
    assert str(finding) == f"{finding.shown} {finding.done} {finding.advice}"


def test_nothing_is_said_before_it_can_be_known() -> None:
    """One training fewer, and it may be chance."""
    values = [float(v) for v in range(ENOUGH_TRAININGS - 1)]

    assert kinds(searched(values[::-1], values)) == []
    assert kinds(summarize(study_of([]))) == []


def test_a_good_surrogate_is_left_in_peace() -> None:
    """And one that only has made no predictions is not judged."""
    values = [float(v) for v in range(20)]

    assert kinds(searched(values, values)) == []
    assert kinds(summarize(study_of(values))) == []


@pytest.mark.parametrize(("rho", "low", "high"), [(0.6, 0.03, 0.13), (0.0, 0.66, 0.82)])
def test_the_threshold_does_what_its_words_say(rho: float, low: float, high: float) -> None:
    """A useful surrogate is seldom called weak, a useless one mostly."""
    rng = np.random.default_rng(0)
    called = [bool(diagnose(correlated(rng, ENOUGH_TRAININGS, rho))) for _ in range(250)]

    assert low < float(np.mean(called)) < high


def test_the_correlation_is_compared_with_its_threshold() -> None:
    """What is said follows from the number alone."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        summary = correlated(rng, 15, 0.3)
        assert bool(kinds(summary)) == (summary.rank_correlation < LOW_CORRELATION)


def test_a_correlation_below_zero_is_not_called_a_little_better_than_chance() -> None:
    """The words follow the sign."""
    rng = np.random.default_rng(2)
    for _ in range(40):
        summary = correlated(rng, 15, 0.0)
        for finding in diagnose(summary):
            words = "little better" if summary.rank_correlation > 0 else "no better"
            assert f"{words} than chance" in finding.shown


def with_past(ignored: list[str], n: int) -> StudySummary:
    study = optuna.create_study(direction="maximize")
    study.add_trials([create_trial(value=float(v)) for v in range(n)])
    study.set_user_attr("transfer", 0.04)
    study.set_user_attr("past_task_weights", {"cats": 0.01, "dogs": 0.0})
    study.set_user_attr("past_tasks_ignored", ignored)
    return summarize(study)


def test_a_task_unlike_all_past_ones_is_told_so() -> None:
    """With how probable it is that they help, and what to expect."""
    (finding,) = diagnose(with_past(["cats", "dogs"], ENOUGH_FOR_TRANSFER))

    assert finding.kind == "transfer"
    assert "none of the 2 past tasks (probability 0.04)" in finding.shown
    assert "own results alone" in finding.done
    assert "evaluate_history" in finding.advice


@pytest.mark.parametrize(
    ("looks", "is_said"),
    [
        ([0.9, 0.9, 0.9, 0.05, 0.06], False),
        ([0.9, 0.9, 0.05, 0.07, 0.06], True),
        ([0.9, 0.05, 0.07, 0.06, 0.2], False),
    ],
)
def test_it_is_said_when_past_tasks_stay_away(looks: list[float], is_said: bool) -> None:
    """Three trials in a row have done without them."""
    study = optuna.create_study(direction="maximize")
    study.add_trials([create_trial(value=1.0, user_attrs={"transfer": look}) for look in looks])
    study.set_user_attr("past_task_weights", {"cats": 0.01})
    study.set_user_attr("past_tasks_ignored", ["cats"])
    assert ("transfer" in kinds(summarize(study))) == is_said


def test_past_tasks_count_while_one_is_left_or_results_are_few() -> None:
    """The first results are no verdict."""
    assert kinds(with_past(["cats"], 20)) == []
    assert kinds(with_past(["cats", "dogs"], ENOUGH_FOR_TRANSFER - 1)) == []


def test_results_that_hardly_differ_are_named() -> None:
    """There the surrogate is not to blame."""
    (finding,) = diagnose(searched(list(range(12)), [0.9] * 12))

    assert finding.kind == "equal_results"
    assert "12 trainings have 1 different result:" in finding.shown
