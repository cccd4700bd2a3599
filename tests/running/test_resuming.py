from __future__ import annotations

import logging
import signal
import subprocess
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial, TrialState

from surrogate_nas import attributes
from surrogate_nas.errors import TrainingError
from surrogate_nas.running.objective import Objective
from surrogate_nas.running.resuming import begin, checkpoint_path, interrupt
from surrogate_nas.storage import recovery
from surrogate_nas.storage.repeats import origin
from surrogate_nas.training.trainer import Trainer
from tests.helpers.killed_studies import EPOCHS, TRIALS, new_study, objective
from tests.helpers.kills import start
from tests.helpers.toys import ARCHITECTURE, ToySpace, ToyTask

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_processes")]

fcntl = pytest.importorskip("fcntl", reason="files are locked where there is fcntl")
FAIL, COMPLETE, WAITING = TrialState.FAIL, TrialState.COMPLETE, TrialState.WAITING


def kill_after_lines(process: subprocess.Popen[str], count: int, number: int) -> None:
    """Send a signal after so many validations."""
    assert process.stdout is not None
    seen = 0
    for line in process.stdout:
        seen += line.strip() == "validated"
        if seen == count:
            process.send_signal(number)
            break
    process.communicate(timeout=300)


def results(study: optuna.Study) -> list[Any]:
    """Parameters, values and learning curves of the completed trials."""
    done = [t for t in study.trials if t.state is COMPLETE]
    return [(t.params, t.value, t.intermediate_values) for t in done]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What a study comes to whose process nobody kills."""
    folder = tmp_path_factory.mktemp("whole")
    process = start(str(folder), module="tests.helpers.killed_studies")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert list((folder / "checkpoints").iterdir()) == []
    return results(new_study(folder))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_study_is_continued_by_the_same_lines(
    number: int, uninterrupted: list[Any], tmp_path: Path
) -> None:
    """The trial that ran goes on from its checkpoint: values and curves bit for bit."""
    process = start(str(tmp_path), str(EPOCHS + 4), module="tests.helpers.killed_studies")
    kill_after_lines(process, EPOCHS + 4, number)
    assert process.returncode not in (0, None)
    left = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert sum(name.startswith("trial-1-") for name in left) == 1
    before = optuna.load_study(study_name="s", storage=f"sqlite:///{tmp_path / 'nas.db'}")
    state = TrialState.RUNNING if number == signal.SIGKILL else FAIL
    assert [t.state for t in before.trials[:2]] == [COMPLETE, state]

    process = start(str(tmp_path), module="tests.helpers.killed_studies")
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert output.count("validated") < 2 * EPOCHS  # it did not begin anew
    study = new_study(tmp_path)
    assert [t.state for t in study.trials] == [COMPLETE, FAIL, *[COMPLETE] * (TRIALS - 1)]
    assert study.trials[1].user_attrs["stop_reason"] == "interrupted"
    assert study.trials[2].user_attrs["continues_trial"] == 1
    assert results(study)[:2] == uninterrupted[:2]
    assert list((tmp_path / "checkpoints").iterdir()) == []


def recover(study: optuna.Study) -> list[int]:
    return recovery.recover(study._storage, study._study_id)


def note_lock(trial: optuna.Trial, lock: Path) -> None:
    """Say of a trial that it runs, with a lock that nobody holds."""
    lock.touch()
    trial.study._storage.set_trial_system_attr(trial._trial_id, attributes.LOCK, str(lock))


def stale(study: optuna.Study, lock: Path) -> optuna.Trial:
    """A trial whose process has died."""
    study.enqueue_trial(dict(ARCHITECTURE))
    trial = study.ask()
    ToySpace().suggest(trial)
    note_lock(trial, lock)
    return trial


def test_a_trial_that_runs_is_left_alone(tmp_path: Path) -> None:
    """Its lock is held, here by this very process."""
    study = optuna.create_study()
    trial = study.ask()
    begin(trial, tmp_path / "new")
    path = Path(study.trials[0].system_attrs[attributes.LOCK])
    assert path.parent == tmp_path / "new"
    assert recover(study) == []
    path.unlink()
    assert recover(study) == []  # no file: it may run on another machine
    assert study.trials[0].state is TrialState.RUNNING


@pytest.mark.parametrize("is_told", [True, False])
def test_a_lock_is_released_when_its_trial_has_finished(is_told: bool, tmp_path: Path) -> None:
    """One that Optuna has let go of before is dead."""
    study = optuna.create_study()
    trial = study.ask()
    begin(trial, tmp_path)
    if is_told:
        study.tell(trial, 1.0)
    assert len(list(tmp_path.iterdir())) == 1
    del trial
    assert len(list(tmp_path.iterdir())) == (0 if is_told else 1)
    assert recover(study) == ([] if is_told else [0])


def test_repetitions_keep_their_origin_and_their_checkpoint(tmp_path: Path) -> None:
    """However often a trial is interrupted."""
    study = optuna.create_study(study_name="a")
    first = stale(study, tmp_path / "running-a.lock")
    assert origin(first) == 0
    path = checkpoint_path(tmp_path, first)
    interrupt(first)
    study.tell(first, state=FAIL)
    second = study.ask()
    ToySpace().suggest(second)
    assert origin(second) == 0
    assert checkpoint_path(tmp_path, second) == path
    interrupt(second)
    assert study.trials[2].user_attrs["continues_trial"] == 0
    other = study.ask({"width": optuna.distributions.IntDistribution(2, 8)})
    assert checkpoint_path(tmp_path, other) != path


def test_the_checkpoint_of_an_architecture_that_is_given_up_is_deleted(tmp_path: Path) -> None:
    """After three deaths; before, the next attempt goes on from it."""
    study = optuna.create_study(study_name="a")
    trial = stale(study, tmp_path / "running-0.lock")
    path = checkpoint_path(tmp_path, trial)
    path.write_bytes(b"of the first attempt")
    others = {tmp_path / "trial-7-of-another-study.safetensors", tmp_path / "mine.txt"}
    for other in others:
        other.touch()
    for attempt in range(1, recovery._MOST_ATTEMPTS + 1):
        assert path.exists()
        assert recover(study) == [trial.number]
        if attempt == recovery._MOST_ATTEMPTS:
            break
        trial = study.ask()
        ToySpace().suggest(trial)
        assert checkpoint_path(tmp_path, trial) == path
        note_lock(trial, tmp_path / f"running-{attempt}.lock")
    next_one = study.ask()
    begin(next_one, tmp_path)
    assert not path.exists()
    assert others <= set(tmp_path.iterdir())
    study.tell(next_one, 1.0)


def test_the_next_trial_finds_stale_ones_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """For studies that Optuna made: the second trial is the one that had been lost."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(0))
    stale(study, tmp_path / "running-a.lock")
    objective_ = Objective(
        ToyTask(), ToySpace(), Trainer(epochs=1, batch_size=50), checkpoints=tmp_path
    )
    with caplog.at_level(logging.WARNING, logger="surrogate_nas"):
        study.optimize(objective_, n_trials=2)
    assert [t.state for t in study.trials] == [FAIL, COMPLETE, COMPLETE]
    lost = next(t for t in study.trials[1:] if t.user_attrs.get("continues_trial") == 0)
    assert lost.params == ARCHITECTURE
    assert "The process of trial 0 has died." in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_dead_trial_is_noticed_without_checkpoints(tmp_path: Path) -> None:
    """By the next trial of a study in a file: its lock lies beside the storage."""
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/nas.db", direction="maximize")
    stale(study, tmp_path / "running-a.lock")
    study.optimize(Objective(ToyTask(), ToySpace(), Trainer(epochs=1, batch_size=50)), n_trials=2)
    assert [t.state for t in study.trials] == [FAIL, COMPLETE, COMPLETE]
    assert [t.user_attrs.get("continues_trial") for t in study.trials].count(0) == 1


def test_a_folder_that_cannot_be_made_is_explained(tmp_path: Path) -> None:
    """Before anything is trained."""
    (tmp_path / "file").touch()
    study = optuna.create_study(direction="maximize")
    nowhere = Objective(ToyTask(), ToySpace(), checkpoints=tmp_path / "file" / "folder")
    with pytest.raises(TrainingError, match=r"a folder for checkpoints.*give the Objective|Give"):
        study.optimize(nowhere, n_trials=1)


def test_a_fixed_trial_has_no_checkpoint(tmp_path: Path) -> None:
    """There is no study to continue."""
    value = objective(tmp_path)(FixedTrial(dict(ARCHITECTURE)))
    assert 0 <= value <= 1
    assert list(tmp_path.iterdir()) == []
