"""What a study's constraints teach: values that count, parents, and the chance of keeping them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from surrogate_nas import attributes
from surrogate_nas.past.past_task import feasible, from_trials
from surrogate_nas.results.dashboard.note import note
from surrogate_nas.results.expected import expected_best
from surrogate_nas.results.figure_data import best_found
from surrogate_nas.results.report.content import content
from surrogate_nas.results.summary import summarize
from surrogate_nas.screening.feasibility import Feasibility, constraint_values
from surrogate_nas.screening.known_trials import TrialReader
from surrogate_nas.space import ParameterSpace
from surrogate_nas.surrogate.curves import unfinished_trials
from surrogate_nas.surrogate.encoding import Encoding

SPACE = ParameterSpace({"x": IntDistribution(0, 9), "y": FloatDistribution(0, 1)})


def trial(
    x: int,
    value: float | None,
    constraints: Mapping[str, float] | None = None,
    system_attrs: Mapping[str, Any] | None = None,
    state: TrialState = TrialState.COMPLETE,
    **kwargs: Any,
) -> FrozenTrial:
    return create_trial(
        value=value,
        params={"x": x, "y": 0.5},
        distributions={"x": IntDistribution(0, 9), "y": FloatDistribution(0, 1)},
        constraints=None if constraints is None else dict(constraints),
        system_attrs=None if system_attrs is None else dict(system_attrs),
        state=state,
        **kwargs,
    )


TRIALS = [
    trial(1, 5.0, {"c": -1.0}),
    trial(2, 9.0, {"c": 2.0}),
    trial(3, 3.0),
    trial(4, 8.0, system_attrs={"constraints": (-1.0, 0.5)}),
    trial(5, 1.0, {"c": float("inf")}),
    trial(6, None, {"c": 4.0}, state=TrialState.PRUNED, intermediate_values={0: 99.0}),
]


def test_a_violation_is_found_whoever_stored_it() -> None:
    found = [attributes.violation(one) for one in TRIALS]

    assert found == [0.0, 2.0, 0.0, 0.5, float("inf"), 4.0]


@pytest.mark.parametrize(
    ("direction", "values"),
    [("maximize", [5, 3, 3, 3, 1, 3]), ("minimize", [5, 3, 9, 8, 5, 5])],
)
def test_a_violating_trial_counts_at_most_as_the_worst_feasible_one(
    direction: Any, values: list[float]
) -> None:
    task = from_trials("target", TRIALS, direction)

    assert task is not None
    assert list(task.values) == values
    assert [one["x"] for one in task.params] == [1, 3, 2, 4, 5, 6]
    assert len(feasible(TRIALS)) == 2
    assert unfinished_trials(TRIALS, direction) == ()


@pytest.mark.parametrize(("direction", "sign"), [("maximize", -1), ("minimize", 1)])
def test_before_any_trial_keeps_them_less_violation_is_better(direction: Any, sign: int) -> None:
    task = from_trials("target", [TRIALS[1], TRIALS[3], TRIALS[4]], direction)

    assert task is not None
    assert list(task.values) == [sign * 2.0, sign * 0.5, sign * 2.0]


def test_violating_trials_are_no_parents() -> None:
    known = TrialReader(SPACE)(TRIALS)
    target = known.target_trials(StudyDirection.MAXIMIZE, None)

    assert target.parents is not None
    assert [one["x"] for one in target.parents.params] == [1, 3]
    assert [task.name for task in target.constraints] == ["1", "c"]


def test_without_violations_nothing_is_modelled() -> None:
    assert constraint_values([TRIALS[0], TRIALS[2]]) == ()


def test_candidates_near_violations_are_less_likely_to_be_feasible() -> None:
    trials = [trial(x, 1.0, {"c": x - 4.5}) for x in range(10)]
    model = Feasibility(Encoding(SPACE), constraint_values(trials))
    found = np.exp(model.of_params([{"x": x, "y": 0.3} for x in range(10)]))

    assert (found[:3] > 0.8).all()
    assert (found[7:] < 0.2).all()


def study_of(*trials: FrozenTrial) -> optuna.Study:
    study = optuna.create_study(direction="maximize")
    study.add_trials(trials)
    return study


def test_a_summary_and_a_note_and_a_report_take_the_best_that_keeps_them() -> None:
    study = study_of(*TRIALS[:5])
    summary = summarize(study)

    assert summary.best == study.best_trial
    assert summary.best is not None
    assert summary.best.params["x"] == 1
    assert summary.n_violating == 3
    assert list(summary.bests) == [5.0] * 5
    assert best_found(summary, None, 100).best_at == 1
    assert "3 of 5 completed trials violate one" in note(study, summary)
    found = content(study, None)
    assert ("3", "of them violate a constraint") in found["numbers"]
    assert [row["violates"] for row in found["rows"]] == [False, True, False, True, True]


def test_without_any_that_keeps_them_there_is_no_best() -> None:
    study = study_of(*[TRIALS[1]] * 6)
    summary = summarize(study)

    assert summary.best is None
    assert np.isnan(summary.bests).all()
    assert best_found(summary, None, 100).best_at is None
    assert "None of 6 completed trials keeps all constraints" in note(study, summary)
    assert content(study, None)["best"] is None
    assert expected_best(study.trials, SPACE, maximize=True) is None
