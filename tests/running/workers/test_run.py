"""Studies with many workers: real processes on real storages."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

import surrogate_nas as sn
from surrogate_nas.errors import StudyError, TrainingError
from surrogate_nas.running.runnable import as_objective
from surrogate_nas.running.workers.run import _View
from surrogate_nas.storage.recovery import fail_dead
from tests.helpers.mortal import faulty
from tests.helpers.surrogates import fitted
from tests.helpers.toys import ToySpace, ToyTask
from tests.helpers.worker_studies import KINDS, address, new_study, width, workers_of

COMPLETE, FAIL, PRUNED = TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*workers share .* CPU cores"),
    pytest.mark.filterwarnings("ignore:SQLite writes for one"),
    pytest.mark.usefixtures("quick_processes"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_workers_meet_the_budget(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """So many trials, all of them finished, by more than one process; callbacks see each once."""
    study = new_study(address(kind, tmp_path, request))
    seen: list[int] = []

    sn.run_workers(study, width, 12, n_workers=3, callbacks=[lambda _, t: seen.append(t.number)])

    assert [t.state for t in study.trials] == [COMPLETE] * 12
    assert sorted(seen) == list(range(12))
    assert len(workers_of(study)) > 1
    assert not list(tmp_path.glob("*-workers"))
    sn.run_workers(study, width, 12, n_workers=3)  # has them already
    assert len(study.trials) == 12


def with_queue(place: str, *xs: int) -> optuna.Study:
    study = new_study(place)
    for x in xs:
        study.enqueue_trial({"x": x})
    return study


@pytest.mark.parametrize("kind", ["journal", "postgres"])
def test_what_goes_wrong_is_one_trials_and_counts_once(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Workers that die are replaced; what kills three of them is given up, and counts once."""
    study = with_queue(address(kind, tmp_path, request), 0, 1, 3, 4, 0, 5, 0, 0)

    sn.run_workers(study, faulty, 8, n_workers=2)

    ends = Counter((t.params["x"], t.state.name) for t in study.trials)
    assert ends == {
        (0, "COMPLETE"): 4,
        (1, "FAIL"): 1,
        (3, "PRUNED"): 1,
        (4, "FAIL"): 1,
        (5, "FAIL"): 3,
    }
    reasons = [t.user_attrs.get("stop_reason") for t in study.trials if t.params["x"] == 5]
    assert reasons == ["interrupted", "interrupted", "its process died 3 times"]
    (error,) = (t for t in study.trials if t.params["x"] == 1)
    assert error.user_attrs["stop_reason"] == "error: ValueError: no such layer"


@pytest.mark.parametrize(
    ("x", "error", "words"),
    [(1, ValueError, "no such layer"), (2, TrainingError, "while no trial finished.*exit code 3")],
)
def test_what_goes_wrong_in_every_training_is_raised(
    x: int,
    error: type[Exception],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody trains on, and no trial is left running."""
    monkeypatch.setattr("surrogate_nas.running.workers.run._DEATHS", 2)
    study = with_queue(f"{tmp_path}/nas.journal", *[x] * 12)

    with pytest.raises(error, match=words):
        sn.run_workers(study, faulty, 12, n_workers=2)

    assert TrialState.RUNNING not in {t.state for t in study.trials}
    assert not list(tmp_path.glob("*-workers"))


@pytest.mark.parametrize("kind", ["journal", "postgres"])
def test_two_runs_at_once_do_not_exceed_the_budget(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """As from two machines: each knows of the other by the storage alone."""
    place = address(kind, tmp_path, request)
    studies = [new_study(place) for _ in range(2)]
    runs = [
        threading.Thread(target=sn.run_workers, args=(one, width, 21), kwargs={"n_workers": 2})
        for one in studies
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()

    trials = studies[0].trials
    assert [t.state for t in trials] == [COMPLETE] * 21
    assert len(workers_of(studies[0])) > 1


def slow(trial: optuna.Trial) -> float:
    trial.suggest_int("x", 0, 9)
    time.sleep(0.3)
    return 1.0


def test_a_callback_may_stop_the_study(tmp_path: Path) -> None:
    """``study.stop`` lets what is in training end, and starts nothing more."""
    study = new_study(f"{tmp_path}/nas.journal")
    stop = optuna.study.MaxTrialsCallback(2, states=(COMPLETE,))

    sn.run_workers(study, slow, 50, n_workers=2, callbacks=[stop])

    assert 2 <= len(study.trials) <= 12
    assert {t.state for t in study.trials} == {COMPLETE}


def stops(trial: optuna.Trial) -> float:
    trial.study.stop()
    return float(trial.suggest_int("x", 0, 9))


def test_an_objective_may_stop_the_study(tmp_path: Path) -> None:
    """For all workers, not for its own alone."""
    study = new_study(f"{tmp_path}/nas.journal")
    sn.run_workers(study, stops, 50, n_workers=2)
    assert 1 <= len(study.trials) <= 2


def draws(trial: optuna.Trial) -> float:
    import random

    import numpy as np
    import torch

    trial.set_user_attr("drawn", [float(torch.rand(())), np.random.rand(), random.random()])  # noqa: NPY002
    return width(trial)


def test_workers_draw_different_numbers(tmp_path: Path) -> None:
    """PyTorch's generator would begin alike in each process."""
    study = new_study(f"{tmp_path}/nas.journal")
    sn.run_workers(study, draws, 2, n_workers=2, seed=0)
    first, second = (t.user_attrs["drawn"] for t in study.trials)
    assert not set(first) & set(second)


def scored(trial: optuna.Trial) -> float:
    """As quick as the study of many workers: conflicts are as likely as they can be."""
    architecture = ToySpace().suggest(trial)
    return float(architecture["width"])


def test_workers_never_train_equivalent_architectures(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """On a server, each with a sampler of its own, which knows what the others train."""
    sampler = sn.SurrogateSampler(ToySpace(), n_candidates=16, seed=0)
    study = new_study(address("postgres", tmp_path, request), sampler=sampler)

    sn.run_workers(study, scored, 24, n_workers=3)

    keys = [ToySpace().canonical(ToySpace().from_params(t.params)) for t in study.trials]
    assert len(set(keys)) == len(keys) == 24
    assert all(t.system_attrs["surrogate_nas:params"] == t.params for t in study.trials)


def tells_past(trial: optuna.Trial) -> float:
    ToySpace().suggest(trial)
    sampler = trial.study.sampler
    assert isinstance(sampler, sn.SurrogateSampler)
    assert sampler.surrogate is not None
    trial.set_user_attr("past", [str(task["name"]) for task in sampler.surrogate.tasks])
    return 1.0


def test_workers_find_the_surrogate_of_their_study(tmp_path: Path) -> None:
    """Attached to it; where it has changed, the error comes before any worker."""
    sampler = sn.SurrogateSampler(ToySpace(), n_candidates=8, seed=0)
    study = new_study(f"{tmp_path}/nas.journal", sampler=sampler)
    sn.attach_surrogate(study, fitted(2), tmp_path / "artifacts")

    sn.run_workers(study, tells_past, 2, n_workers=1)

    assert [t.user_attrs["past"] for t in study.trials] == [["past 0", "past 1"]] * 2
    assert all("transfer" in t.user_attrs for t in study.trials)
    for path in (tmp_path / "artifacts").iterdir():
        path.write_text("{}")
    with pytest.raises(StudyError, match="SHA-256"):
        sn.run_workers(study, tells_past, 3, n_workers=1)


def test_one_view_shows_all_workers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each trial, whoever has run it."""
    study = new_study(f"{tmp_path}/nas.journal")
    trainer = sn.Trainer(epochs=2, batch_size=50)
    objective = sn.Objective(ToyTask(), ToySpace(), trainer, dashboard=False)
    sn.run_workers(study, objective, 3, n_workers=1, show_progress_bar=True)
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if ": complete" in line]) == 3
    assert any("3/3" in line for line in lines)
    assert study.user_attrs["trainer"]["epochs"] == 2
    # The first training of a worker is described for whoever looks on.
    described = [trial.number for trial in study.trials if "expected_seconds" in trial.user_attrs]
    assert described == [0]


def test_a_first_line_says_what_workers_train(capsys: pytest.CaptureFixture[str]) -> None:
    """Once, as soon as a worker has written down how long its first training will take."""
    study = optuna.create_study(direction="maximize")
    objective = sn.Objective(ToyTask(), ToySpace(), sn.Trainer(epochs=7), dashboard=False)
    view = _View(study, as_objective(objective), 3, [], show_progress_bar=True)
    heard = []
    for _ in range(2):
        trial = study.ask()
        view.look()
        trial.set_user_attr("parameters", 1234)
        trial.set_user_attr("expected_seconds", 90.0)
        capsys.readouterr()
        view.look()
        heard.append(capsys.readouterr().err)
    view.close()
    assert heard == ["trial 0: training 1,234 parameters, 7 epochs, about 2 min\n", ""]


def taken(trial: optuna.Trial) -> float:
    """As if nobody had heard of this worker for long: another gives its first trials away."""
    trial.suggest_int("x", 0, 9)
    if trial.number < 2:
        frozen = trial.study.get_trials(deepcopy=False)[trial.number]
        assert fail_dead(trial.study._storage, trial.study._study_id, frozen)
    if trial.number == 1:
        trial.set_user_attr("late", True)  # refused: the trial has ended
    return 1.0


def test_a_worker_that_was_taken_for_dead_goes_on(tmp_path: Path) -> None:
    """What it has trained in vain counts once, by whoever trains it again."""
    study = new_study(f"{tmp_path}/nas.journal")
    sn.run_workers(study, taken, 3, n_workers=1)
    assert [t.state for t in study.trials] == [FAIL, FAIL, COMPLETE, COMPLETE, COMPLETE]
    assert len({t.params["x"] for t in study.trials[:3]}) == 1
    assert len(workers_of(study)) == 1
