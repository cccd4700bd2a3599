"""What tests/running/test_same_study.py shows with real processes, piece by piece."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.samplers import RandomSampler, TPESampler
from optuna.trial import TrialState

from surrogate_nas import attributes
from surrogate_nas.samplers.continued import ContinuedSampler
from surrogate_nas.storage.optuna_private import id_of, storage_of
from surrogate_nas.storage.recovery import requeue


def objective(trial: optuna.Trial) -> float:
    return trial.suggest_float("x", -1, 1) ** 2 + trial.suggest_int("n", 0, 9)


def new_study(storage: Any = None, sampler: Any = RandomSampler) -> optuna.Study:
    """A study as another process would open it."""
    return optuna.create_study(
        storage=storage,
        study_name="s",
        sampler=ContinuedSampler(sampler(seed=1)),
        load_if_exists=True,
    )


def params_of(study: optuna.Study) -> list[dict[str, Any]]:
    return [t.params for t in study.trials if t.state is TrialState.COMPLETE]


def interrupted(study: optuna.Study, *, after: int) -> None:
    """Begin a trial, and interrupt it after some of its parameters."""
    trial = study.ask()
    for suggest in (
        lambda: trial.suggest_float("x", -1, 1),
        lambda: trial.suggest_int("n", 0, 9),
    )[:after]:
        suggest()
    trial.set_user_attr(attributes.STOP_REASON, attributes.INTERRUPTED)
    requeue(storage_of(study), id_of(study), study.trials[trial.number])
    study.tell(trial, state=TrialState.FAIL)


@pytest.mark.parametrize("sampler", [RandomSampler, TPESampler])
def test_the_trials_are_the_sampler_s_own(sampler: Any) -> None:
    """If nobody stops the study."""
    study, own = new_study(sampler=sampler), optuna.create_study(sampler=sampler(seed=1))
    for one in (study, own):
        one.optimize(objective, n_trials=13)
    assert params_of(study) == params_of(own)


@pytest.mark.parametrize("sampler", [RandomSampler, TPESampler])
@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize("is_new_process", [False, True])
@pytest.mark.parametrize("n_before", [0, 11])
def test_a_stopped_study_draws_on(
    sampler: Any, after: int, is_new_process: bool, n_before: int
) -> None:
    """Wherever in its suggestion the trial was, and with the same study or another one."""
    whole = new_study(sampler=sampler)
    whole.optimize(objective, n_trials=n_before + 3)
    storage = optuna.storages.InMemoryStorage()
    study = new_study(storage, sampler)
    if n_before:
        study.optimize(objective, n_trials=n_before)
    interrupted(study, after=after)
    if is_new_process:
        study = new_study(storage, sampler)
    study.optimize(objective, n_trials=3)
    assert params_of(study) == params_of(whole)


def test_beside_other_trials_nothing_is_restored() -> None:
    """Two processes that draw the same numbers would evaluate the same."""
    storage = optuna.storages.InMemoryStorage()
    first = new_study(storage)
    first.optimize(objective, n_trials=2)
    running = first.ask()
    x = running.suggest_float("x", -1, 1)
    other = new_study(storage)
    assert other.ask().suggest_float("x", -1, 1) != x


def test_a_reseeded_sampler_keeps_to_itself() -> None:
    """Workers and threads reseed theirs."""
    storage = optuna.storages.InMemoryStorage()
    new_study(storage).optimize(objective, n_trials=2)
    whole = new_study()
    whole.optimize(objective, n_trials=4)
    study = new_study(storage)
    study.sampler.reseed_rng()
    study.optimize(objective, n_trials=2)
    assert params_of(study)[2:] != params_of(whole)[2:]


def test_a_damaged_record_is_left_out() -> None:
    storage = optuna.storages.InMemoryStorage()
    study = new_study(storage)
    study.optimize(objective, n_trials=2)
    for found in ("nonsense", {}, {"states": 3}, {"states": [["a"]], "number": "x"}):
        storage.set_study_system_attr(id_of(study), attributes.BASE_STATE, found)
        again = new_study(storage)
        interrupted(again, after=1)
        again.optimize(objective, n_trials=1)
    assert len(params_of(study)) == 6
