"""Studies run with worker processes: real ones, as mocks would hide what processes do."""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from surrogate_nas.errors import StudyError, TrainingError
from surrogate_nas.running.objective import Objective
from surrogate_nas.running.optimize import optimize as run_trials
from surrogate_nas.running.processes import crew
from surrogate_nas.running.runnable import as_objective
from surrogate_nas.running.study import create_study
from surrogate_nas.training.trainer import Trainer
from tests.helpers.mortal import faulty
from tests.helpers.toys import ARCHITECTURE, ToySpace, ToyTask

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_processes")]

TASK = ToyTask()
SPACE = ToySpace(dropout=0.5)


def new_study(**arguments: Any) -> optuna.Study:
    sampler = optuna.samplers.RandomSampler(seed=0)
    return optuna.create_study(direction="maximize", sampler=sampler, **arguments)


def with_queue(*xs: int) -> optuna.Study:
    study = new_study()
    for x in xs:
        study.enqueue_trial({"x": x})
    return study


def test_trainings_at_once_give_what_they_give_one_after_the_other() -> None:
    """Results are those of one process bit for bit, dropout included; the budget is met."""
    widths = (2, 4, 6, 8, 2)
    curves = []
    for n_concurrent in (1, 2):
        study = new_study(pruner=optuna.pruners.PercentilePruner(60.0, n_startup_trials=2))
        for width in widths:
            study.enqueue_trial({**ARCHITECTURE, "width": width})
        objective = Objective(TASK, SPACE, Trainer(epochs=2, learning_rate=0.01))
        run_trials(study, objective, len(widths), n_concurrent=n_concurrent)
        assert all(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in study.trials)
        assert all(t.user_attrs["epochs"] >= 1 for t in study.trials)
        curves.append([t.intermediate_values[0] for t in study.trials])
    assert len(curves[0]) == len(widths)
    assert curves[0] == curves[1]


def test_what_goes_wrong_in_one_training_is_that_of_one_trial(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Errors, and processes that end, fail their trial; the budget counts them."""
    study = with_queue(0, 1, 2, 3, 4, 5, 6, 0, 0)

    run_trials(study, faulty, 9, n_concurrent=2)

    ends = {t.params["x"]: t for t in study.trials}
    assert len(study.trials) == 9
    assert [t.state for t in study.trials if t.params["x"] == 0] == [TrialState.COMPLETE] * 3
    assert [ends[x].state for x in (1, 2, 4, 5, 6)] == [TrialState.FAIL] * 5
    assert ends[3].state is TrialState.PRUNED
    assert ends[1].user_attrs["stop_reason"] == "error: ValueError: no such layer"
    assert ends[6].user_attrs["stop_reason"].startswith("error: TypeError: ")
    assert "exit code 3" in ends[2].user_attrs["stop_reason"]
    assert "exit code -9" in ends[5].user_attrs["stop_reason"]
    assert "in faulty" in caplog.text  # the worker's own traceback


@pytest.mark.parametrize(("x", "error"), [(1, ValueError), (2, TrainingError)])
def test_what_goes_wrong_in_every_training_is_raised(x: int, error: type[Exception]) -> None:
    """Three trials that all fail by errors are a bug; no trial is left running."""
    study = with_queue(*[x] * 6)

    with pytest.raises(error):
        run_trials(study, faulty, 6, n_concurrent=2)

    states = [t.state for t in study.trials]
    assert 3 <= states.count(TrialState.FAIL) <= 4
    assert TrialState.RUNNING not in states


def test_no_two_equivalent_architectures_train_at_once(tmp_path: Path) -> None:
    """Three workers on a small space, each suggestion knowing what the others train."""
    study = create_study(TASK, ToySpace(), n_candidates=16, seed=0)
    widths: list[int] = []
    seen: list[tuple[int, int]] = []

    def look(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        running = [t for t in study.trials if t.state is TrialState.RUNNING]
        seen.append((trial.number, len(running)))
        widths.append(trial.params["width"])

    run_trials(study, slowly_wide, 14, n_concurrent=3, callbacks=[look])

    keys = [ToySpace().canonical(ToySpace().from_params(t.params)) for t in study.trials]
    assert len(set(keys)) == len(keys) == 14
    assert len(widths) == 14
    assert max(n for _, n in seen) == 2
    assert all(t.state is TrialState.COMPLETE for t in study.trials)


def wide(trial: optuna.trial.BaseTrial) -> float:
    architecture = ToySpace().suggest(trial)
    trial.report(0.5, step=0)
    assert not trial.should_prune()
    trial.set_user_attr("shown", True)
    time.sleep(0.05)
    return float(architecture["width"])


def slowly_wide(trial: optuna.trial.BaseTrial) -> float:
    """Long enough for workers that start late to train beside the first."""
    time.sleep(0.4)
    return wide(trial)


def test_a_callback_may_stop_the_study() -> None:
    """``study.stop`` lets what is in training end, and starts nothing more."""
    study = new_study()
    stop = optuna.study.MaxTrialsCallback(2, states=(TrialState.COMPLETE,))

    run_trials(study, wide, 50, n_concurrent=2, callbacks=[stop], show_progress_bar=True)

    assert 2 <= len(study.trials) <= 3
    assert all(t.state is TrialState.COMPLETE for t in study.trials)


def test_running_trials_send_heartbeats(tmp_path: Path) -> None:
    """A storage that wants signs of life gets them; others do not take the trials for dead."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        url = f"sqlite:///{tmp_path}/nas.db"
        storage = optuna.storages.RDBStorage(url, heartbeat_interval=1)
    study = new_study(storage=storage)

    run_trials(study, slow, 2, n_concurrent=2)

    connection = storage.engine.raw_connection()
    beats = connection.cursor().execute("select count(*) from trial_heartbeats").fetchone()
    connection.close()
    assert beats == (2,)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 2


def slow(trial: optuna.trial.BaseTrial) -> float:
    trial.suggest_int("x", 0, 9)
    time.sleep(2.5)
    return 1.0


def hang(trial: optuna.trial.BaseTrial) -> float:
    if trial.suggest_int("x", 0, 9) == 1:
        time.sleep(600)
    return 1.0


def test_a_training_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Long after its own time limit its process is ended, and its trial fails."""
    monkeypatch.setattr("surrogate_nas.running.concurrent._patience", lambda _objective: 8.0)
    study = with_queue(1, 0, 0)

    run_trials(study, hang, 3, n_concurrent=2)

    assert [t.state for t in study.trials].count(TrialState.COMPLETE) == 2
    assert "no end 8 s after" in study.trials[0].user_attrs["stop_reason"]


def test_a_sampler_in_trouble_ends_the_study() -> None:
    """What the study itself raises is not one training's; nothing is left running."""
    study = create_study(TASK, ToySpace(), limits={"parameters": 1}, n_candidates=8, seed=0)

    with pytest.raises(ValueError, match="Raise that limit"):
        run_trials(study, wide, 4, n_concurrent=2)

    assert {t.state for t in study.trials} <= {TrialState.FAIL, TrialState.WAITING}


@pytest.mark.parametrize("n", [0, -1, 1.5, True, "many", None])
def test_a_number_that_is_none_is_refused(n: Any) -> None:
    """Three parts: expected, got, fix."""
    with pytest.raises(StudyError, match="n_concurrent from 1, or 'auto'; got"):
        run_trials(new_study(), wide, 2, n_concurrent=n)


def test_an_objective_that_cannot_be_sent_is_refused(tmp_path: Path) -> None:
    """Before any trial is asked for."""
    study = new_study()
    with (
        (tmp_path / "open").open("w") as file,
        pytest.raises(StudyError, match="train in one process"),
    ):
        run_trials(study, lambda trial: float(file.write("x")), 2, n_concurrent=2)
    assert not study.trials


def test_a_study_of_the_other_direction_is_refused() -> None:
    """In this process, before any worker is started."""
    study = optuna.create_study(direction="minimize")
    with pytest.raises(StudyError, match="the direction 'maximize'"):
        run_trials(study, Objective(TASK, ToySpace()), 2, n_concurrent=2)


def test_more_than_fit_are_reduced(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a warning that says how many and why; one is always tried."""
    monkeypatch.setattr(crew, "free_memory", lambda: 1.2e9)
    with pytest.warns(UserWarning, match="room for 5 candidates at once; 2 fit"):
        assert crew.n_on_host(as_objective(wide), 5, at_most=100) == 2
    monkeypatch.setattr(crew, "free_memory", lambda: 0.0)
    with pytest.warns(UserWarning, match="1 fit"):
        assert crew.n_on_host(Objective(TASK, ToySpace()), 2, at_most=100) == 1


@pytest.mark.parametrize(("wanted", "at_most", "n"), [("auto", 100, 3), ("auto", 2, 2), (7, 5, 5)])
def test_auto_is_one_a_core(
    wanted: crew.NConcurrent, at_most: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more than there are trials."""
    monkeypatch.setattr(crew, "cores", lambda: 3)
    assert crew.n_on_host(as_objective(wide), wanted, at_most) == n
