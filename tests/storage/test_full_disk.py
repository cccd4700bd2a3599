"""What happens on a disk that is full: nothing half-written stays, and the study goes on."""

from __future__ import annotations

import errno
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

import surrogate_nas as sn
from surrogate_nas.errors import StorageError
from surrogate_nas.results.dashboard.pictures import add_picture
from surrogate_nas.running.study import create_study
from tests.helpers.full_disks import fill, small_disk
from tests.helpers.toys import ToySpace, ToyTask

TASK = ToyTask()
SPACE = ToySpace()
TRAINER = sn.Trainer(epochs=2, batch_size=50)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()} - {"filler"}


def objective(**more: object) -> sn.Objective:
    return sn.Objective(TASK, SPACE, TRAINER, **more)  # type: ignore[arg-type]


def test_a_study_goes_on_without_checkpoints(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The training needs none unless it is killed; what could not be written is not there."""
    study = create_study(
        TASK, SPACE, storage=f"sqlite:///{tmp_path}/nas.db", study_name="s", n_candidates=1
    )
    with small_disk(tmp_path / "disk", 64) as disk:
        fill(disk)
        study.optimize(objective(checkpoints=disk, dashboard=False), n_trials=2)

        assert files(disk) == set()
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert "cannot be written: [Errno 28]" in caplog.text


def test_a_study_goes_on_without_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """And no trial has a picture of which only half is there."""
    pytest.importorskip("optuna_dashboard")
    with small_disk(tmp_path / "disk", 64) as disk:
        fill(disk)
        study = create_study(
            TASK, SPACE, storage=f"sqlite:///{tmp_path}/nas.db", study_name="s", n_candidates=1
        )
        pages = sn.DashboardCallback(artifacts=disk, share=1.0)
        study.optimize(objective(dashboard=pages), n_trials=2)

        whole = [path for path in disk.iterdir() if path.name != "filler"]
        assert all(path.read_bytes().rstrip().endswith(b"</svg>") for path in whole)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert "No space left on device" in caplog.text


def test_half_a_picture_is_taken_away(tmp_path: Path) -> None:
    """Of a running and of a finished trial; the error is the caller's."""
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/nas.db")
    running = study.ask()
    done = optuna.trial.create_trial(value=1.0)
    study.add_trial(done)
    with small_disk(tmp_path / "disk", 64) as disk:
        fill(disk, but=4096)
        for trial in (running, study.trials[1]):
            with pytest.raises(OSError, match="No space left") as caught:
                add_picture(study, trial, "<svg>" + "." * 20_000 + "</svg>", disk)

            assert caught.value.errno == errno.ENOSPC
            assert files(disk) == set()
    attrs = study._storage.get_study_system_attrs(study._study_id)
    assert not any("artifacts:" in key for key in attrs)


@pytest.mark.parametrize("name", ["nas.db", "nas.journal"])
def test_a_storage_on_a_full_disk_is_an_error_and_can_be_gone_on_with(
    tmp_path: Path, name: str
) -> None:
    """What was told is kept; the study goes on when there is room again."""
    with small_disk(tmp_path / "disk", 1024) as disk:
        url = f"sqlite:///{disk}/{name}" if name.endswith("db") else f"{disk}/{name}"
        study = create_study(TASK, SPACE, storage=url, study_name="s", n_candidates=1, seed=0)
        values: list[float] = []

        def train(trial: optuna.Trial) -> float:
            value = float(SPACE.suggest(trial)["width"])
            if trial.number == 2 and not (disk / "filler").exists():
                fill(disk, but=100)
            trial.set_user_attr("note", "." * 5000)
            values.append(value)
            return value

        # Optuna's own loop meets what its storage raises with an assertion.
        with pytest.raises((optuna.exceptions.StorageInternalError, OSError, AssertionError)):
            study.optimize(train, n_trials=5)
        with pytest.raises(StorageError, match=r"space|full") as caught:
            create_study(TASK, SPACE, storage=url, study_name="another" * 2000)
        assert "make room on the disk" in caught.value.fix
        (disk / "filler").unlink()

        again = create_study(TASK, SPACE, storage=url, study_name="s", n_candidates=1, seed=0)
        again.optimize(train, n_trials=3)

        complete = [trial for trial in again.trials if trial.state is TrialState.COMPLETE]
        assert [trial.value for trial in complete] == values
        assert [trial.number for trial in complete[:2]] == [0, 1]
        assert len(complete) == 5
