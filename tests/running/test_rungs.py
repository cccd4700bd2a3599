from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from surrogate_nas import attributes
from surrogate_nas.running.objective import Objective
from surrogate_nas.running.rungs import RungPruner, chosen_rungs
from surrogate_nas.running.study import create_study
from surrogate_nas.training.trainer import Trainer
from tests.helpers.toys import ToySpace, ToyTask


@pytest.mark.parametrize(
    ("epochs", "n_rows", "rungs"),
    [
        (200, 25_000, (12, 72)),
        (50, 6_400, (3, 18)),
        (50, 640, (10,)),
        (20, 6_400, (1, 6)),
        (19, 6_400, ()),
        (40, 64, ()),
    ],
)
def test_rungs_follow_the_epochs_and_the_data(
    epochs: int, n_rows: int, rungs: tuple[int, ...]
) -> None:
    found = chosen_rungs(epochs, n_rows, 64)
    assert found.epochs == rungs
    assert found.words.startswith("after " if rungs else "none: ")


def test_the_words_say_what_is_done_or_why_not() -> None:
    assert chosen_rungs(200, 25_000, 64).words == (
        "after 12 and 72 of 200 epochs; one in 6 goes on"
    )
    assert chosen_rungs(15, 25_000, 64).words == "none: 15 epochs are fewer than 20"
    assert chosen_rungs(40, 100, 64).words == (
        "none: 100 steps take 50 of 40 epochs, as the data are few"
    )


@given(st.integers(1, 2000), st.integers(1, 10**6), st.integers(1, 512))
def test_rungs_rise_and_spare_at_least_half(epochs: int, n_rows: int, batch_size: int) -> None:
    rungs = chosen_rungs(epochs, n_rows, batch_size).epochs
    assert list(rungs) == sorted(set(rungs))
    assert all(1 <= rung <= epochs / 2 for rung in rungs)


def studied(values: list[float], direction: Any = "maximize", rungs: Any = (3,)) -> list[str]:
    """Report a value at epoch 3 of each trial; return how the trials ended."""
    study = optuna.create_study(direction=direction, pruner=RungPruner())
    study.set_user_attr(attributes.RUNGS, list(rungs) if isinstance(rungs, tuple) else rungs)

    def objective(trial: optuna.Trial) -> float:
        for step in range(5):
            trial.report(values[trial.number] if step == 2 else 0.0, step)
            if trial.should_prune():
                assert step == 2
                raise optuna.TrialPruned
        return values[trial.number]

    study.optimize(objective, len(values))
    return [trial.state.name[0] for trial in study.trials]


def test_the_best_sixth_goes_on() -> None:
    values = [0.5, 0.4, 0.6, 0.3, 0.2, 0.1, 0.55, 0.7, 0.65, 0.64, 0.69, 0.695]
    assert "".join(studied(values)) == "CPCPPPPCPPPC"
    mirrored = [-value for value in values]
    assert studied(mirrored, "minimize") == studied(values)
    assert studied([0.5, 0.5, 0.5]) == ["C", "C", "C"]


@pytest.mark.parametrize("rungs", [(), None, "3", [None, "x"]])
def test_without_rungs_every_training_goes_to_its_end(rungs: Any) -> None:
    assert set(studied([0.5, 0.4, 0.3], rungs=rungs)) == {"C"}


def test_running_trainings_count() -> None:
    study = optuna.create_study(direction="maximize", pruner=RungPruner())
    study.set_user_attr(attributes.RUNGS, [1])
    for value, ends in ((0.9, False), (0.5, True), (0.8, True), (0.95, False)):
        trial = study.ask()
        trial.report(value, 0)
        assert trial.should_prune() is ends
    assert {trial.state for trial in study.trials} == {TrialState.RUNNING}


def run(epochs: int, n_trials: int, **arguments: Any) -> optuna.Study:
    task, space = ToyTask(), ToySpace()
    study = create_study(task, space, seed=0, n_candidates=2, **arguments)
    trainer = Trainer(epochs=epochs, batch_size=8, device="cpu")
    study.optimize(Objective(task, space, trainer, dashboard=False), n_trials)
    return study


def test_a_study_of_long_trainings_has_rungs() -> None:
    study = run(24, 6)
    assert study.user_attrs[attributes.RUNGS] == [6]
    assert study.user_attrs[attributes.PRUNING].startswith("after 6 of 24 epochs")
    ends = {trial.state: trial.user_attrs["epochs"] for trial in study.trials}
    assert ends == {TrialState.COMPLETE: 24, TrialState.PRUNED: 6}


def test_a_study_of_short_trainings_says_why_it_has_none() -> None:
    study = run(3, 1)
    assert study.user_attrs[attributes.RUNGS] == []
    assert study.user_attrs[attributes.PRUNING] == "none: 3 epochs are fewer than 20"


def test_a_pruner_of_one_s_own_is_left_alone() -> None:
    study = run(20, 1, pruner=optuna.pruners.NopPruner())
    assert attributes.RUNGS not in study.user_attrs


def test_a_study_that_was_begun_without_rungs_goes_on_without() -> None:
    storage = optuna.storages.InMemoryStorage()
    arguments: dict[str, Any] = {"storage": storage, "study_name": "old"}
    run(20, 1, pruner=optuna.pruners.NopPruner(), **arguments)
    study = run(20, 1, **arguments)
    assert study.user_attrs[attributes.RUNGS] == []
    assert study.user_attrs[attributes.PRUNING] == "none: the study was begun without any"
