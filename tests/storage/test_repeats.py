from __future__ import annotations

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FixedTrial, TrialState, create_trial

from surrogate_nas.attributes import CONTINUES_TRIAL, FIXED_PARAMS, PLANNED_PARAMS
from surrogate_nas.storage.repeats import (
    effective_number,
    has_repeat,
    is_repeat,
    origin,
    planned,
    should_prune,
    whole_study,
    without_interrupted,
)

FAIL, COMPLETE, RUNNING = TrialState.FAIL, TrialState.COMPLETE, TrialState.RUNNING
X: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0)}


def add(study: optuna.Study, state: TrialState, continues: object = None) -> None:
    attrs = {} if continues is None else {CONTINUES_TRIAL: continues}
    value = 0.5 if state is COMPLETE else None
    params = {"x": len(study.trials) / 100}
    study.add_trial(
        create_trial(state=state, value=value, params=params, distributions=X, user_attrs=attrs)
    )


def interrupted_twice() -> optuna.Study:
    """Trials 0, 1, 2 and 3, of which 1 was interrupted twice and 2 once."""
    study = optuna.create_study()
    for state, continues in (
        (COMPLETE, None),
        (FAIL, None),  # number 1
        (FAIL, 1),
        (COMPLETE, 1),
        (FAIL, None),  # number 4: the third trial
        (COMPLETE, 4),
        (COMPLETE, None),  # number 6: the fourth
    ):
        add(study, state, continues)
    return study


def test_numbers_are_those_of_a_study_without_interruptions() -> None:
    trials = interrupted_twice().trials
    assert [effective_number(t, trials) for t in trials] == [0, 1, 1, 1, 2, 2, 3]
    assert [origin(t) for t in trials] == [0, 1, 1, 1, 4, 4, 6]
    assert [is_repeat(t) for t in trials] == [False, False, True, True, False, True, False]
    assert [has_repeat(t, trials) for t in trials] == [
        *(False, True, True, False),
        *(True, False, False),
    ]


def test_interrupted_trials_are_left_out() -> None:
    trials = interrupted_twice().trials
    assert [t.number for t in without_interrupted(trials)] == [0, 3, 5, 6]
    assert without_interrupted(trials[:1]) == trials[:1]


def test_a_repeat_takes_the_place_of_the_trial_that_it_repeats() -> None:
    """Trial 1 has run beside trial 0, which was interrupted."""
    study = optuna.create_study()
    for state, continues in ((FAIL, None), (COMPLETE, None), (COMPLETE, 0)):
        add(study, state, continues)
    assert [t.number for t in without_interrupted(study.trials)] == [2, 1]


def test_a_trial_that_was_given_up_stays() -> None:
    """Nobody repeats it, and it counts as any trial that failed."""
    study = optuna.create_study()
    for state, continues in ((FAIL, None), (FAIL, 0), (COMPLETE, None)):
        add(study, state, continues)
    assert [t.number for t in without_interrupted(study.trials)] == [1, 2]


@pytest.mark.parametrize("found", [-1, 1, 7, True, 0.0, "0", None])
def test_what_is_no_earlier_number_is_not_believed(found: object) -> None:
    study = optuna.create_study()
    add(study, COMPLETE)
    add(study, COMPLETE, found)
    assert [origin(t) for t in study.trials] == [0, 1]


def test_samplers_and_pruners_see_a_whole_study() -> None:
    """With the numbers of its trials; what they write goes to the real one."""
    study = interrupted_twice()
    last = study.trials[-1]
    seen, trial = whole_study(study, last)
    assert trial.number == 3
    assert [t.number for t in seen.trials] == [0, 1, 2, 3]
    assert [t.params["x"] for t in seen.trials] == [0.0, 0.03, 0.05, 0.06]
    assert [t.number for t in seen.get_trials(states=(FAIL,))] == []
    assert len(study.trials) == 7
    asked = seen.ask()
    assert study.trials[-1].state is RUNNING
    seen.tell(asked, 0.25)
    assert study.best_value == 0.25


def test_a_trial_may_be_seen_as_nothing_was_drawn_for_it() -> None:
    study = interrupted_twice()
    seen, trial = whole_study(study, study.trials[-1], is_new=True)
    assert (trial.params, seen.trials[-1].params) == ({}, {})
    assert study.trials[-1].params == {"x": 0.06}


def test_a_study_without_interruptions_is_the_study_itself() -> None:
    study = optuna.create_study()
    add(study, COMPLETE)
    trial = study.trials[0]
    assert whole_study(study, trial) == (study, trial)


def test_reports_of_an_interrupted_trial_do_not_count() -> None:
    """Successive halving would compare the repeat with the trial that it repeats."""
    pruner = optuna.pruners.SuccessiveHalvingPruner(1, reduction_factor=2)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    decisions = []
    for number in range(2):
        attrs = {CONTINUES_TRIAL: 0} if number else {}
        study.add_trial(create_trial(state=TrialState.WAITING, user_attrs=attrs))
        trial = study.ask()
        trial.report(0.5, 1)
        decisions.append(should_prune(trial))
        study.tell(trial, state=FAIL)
    assert decisions == [False, False]


def test_trials_without_a_study_decide_themselves() -> None:
    assert should_prune(FixedTrial({})) is False


@pytest.mark.parametrize("value", [None, 5, "x", [["width", 3]]])
def test_an_attribute_of_another_form_has_no_values(value: object) -> None:
    """A storage may hold anything under the name of an attribute."""
    attrs = {PLANNED_PARAMS: value, FIXED_PARAMS: value}
    trial = create_trial(state=TrialState.RUNNING, system_attrs=attrs)
    assert planned(trial) == {}
