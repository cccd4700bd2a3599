"""A space and an objective that never meet are told, with the names of both."""

from __future__ import annotations

import warnings

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from surrogate_nas.results.diagnosis import diagnose
from surrogate_nas.results.summary import summarize
from surrogate_nas.samplers import MutateBest, StrategySampler
from surrogate_nas.space import Distributions
from tests.helpers.samplers import experimental, sampler, studied

SPACE: Distributions = {"lrr": FloatDistribution(0, 1), "width": IntDistribution(1, 9)}


def other_name(trial: optuna.Trial) -> float:
    return trial.suggest_float("lr", 0, 1) + trial.suggest_int("width", 1, 9)


def other_range(trial: optuna.Trial) -> float:
    return trial.suggest_float("lrr", 2, 3) + trial.suggest_int("width", 1, 9)


def further(trial: optuna.Trial) -> float:
    found = trial.suggest_float("lrr", 0, 1) + trial.suggest_int("width", 1, 9)
    return found + trial.suggest_float("more", 0, 1)


def early(trial: optuna.Trial) -> float:
    return float(trial.suggest_int("width", 1, 9))


def same(trial: optuna.Trial) -> float:
    return float(further(trial) - trial.params["more"])


@pytest.mark.parametrize("is_strategy", [False, True])
def test_another_name_is_warned_of_once_after_the_first_trial(is_strategy: bool) -> None:
    chosen = StrategySampler(SPACE, MutateBest(), seed=0) if is_strategy else sampler(SPACE)
    study = optuna.create_study(sampler=chosen)
    with pytest.warns(UserWarning, match=r"trial 0 .*asks for 'lrr'.*asks for 'lr'"):
        study.optimize(other_name, n_trials=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study.optimize(other_name, n_trials=2)

    (finding,) = diagnose(summarize(study))
    assert finding.kind == "names"
    assert "In 3 of 3 trials" in str(finding)
    assert "'lrr'" in str(finding)
    assert "'lr'" in str(finding)


def test_another_range_is_warned_of() -> None:
    study = optuna.create_study(sampler=sampler(SPACE))
    with pytest.warns(UserWarning, match="other ranges of 'lrr'"):
        study.optimize(other_range, n_trials=1)

    assert diagnose(summarize(study))[0].brief == "space and objective differ"


@pytest.mark.parametrize("objective", [further, early, same])
@pytest.mark.parametrize("storage", [None, "sqlite:///:memory:"])
def test_what_meets_is_not_warned_of(objective: object, storage: str | None) -> None:
    study = studied(sampler(SPACE), objective, 7, storage=storage)  # type: ignore[arg-type]

    assert diagnose(summarize(study)) == ()


@experimental
def test_values_that_another_sampler_fixes_are_no_other_range() -> None:
    fixed = optuna.samplers.PartialFixedSampler({"width": 3}, sampler(SPACE))
    study = studied(fixed, same, 4)

    assert diagnose(summarize(study)) == ()


def test_a_trial_that_fails_before_it_has_asked_for_all_is_not_warned_of() -> None:
    def failing(trial: optuna.Trial) -> float:
        trial.suggest_float("more", 0, 1)
        raise ValueError

    study = studied(sampler(SPACE), failing, 2, catch=[ValueError])

    assert diagnose(summarize(study)) == ()


def test_an_enqueued_value_is_no_other_range() -> None:
    space: Distributions = {"op": CategoricalDistribution(("a", "b"))}
    study = optuna.create_study(sampler=sampler(space))
    study.enqueue_trial({"op": "b"})
    study.optimize(lambda trial: len(trial.suggest_categorical("op", ("a", "b"))), n_trials=2)

    assert diagnose(summarize(study)) == ()
