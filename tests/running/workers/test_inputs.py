"""What is refused at the start, before any worker is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import torch

import surrogate_nas as sn
from surrogate_nas.errors import StudyError, TrainingError
from surrogate_nas.running.runnable import as_objective
from surrogate_nas.running.workers import devices
from surrogate_nas.running.workers.address import address_to_share
from surrogate_nas.running.workers.devices import chosen_devices, n_here
from surrogate_nas.running.workers.local import _sees
from tests.helpers.toys import ToySpace, ToyTask
from tests.helpers.worker_studies import new_study, width

pytestmark = pytest.mark.usefixtures("quick_processes")


@pytest.mark.parametrize("number", [0, -2, 1.5, True, "3"])
@pytest.mark.parametrize("name", ["n_trials", "n_workers"])
def test_counts_that_are_none(name: str, number: Any, tmp_path: Path) -> None:
    """Three parts: expected, got, fix."""
    study = new_study(f"{tmp_path}/nas.journal")
    counts = {"n_trials": 2, "n_workers": 2, name: number}
    with pytest.raises(StudyError, match=rf"Expected {name} from 1; got {number!r}. Give a whole"):
        sn.run_workers(study, width, **counts)
    assert not study.trials


@pytest.mark.parametrize("url", [None, "sqlite://", "sqlite:///:memory:"])
def test_a_storage_in_memory(url: str | None) -> None:
    """Nobody else could open it."""
    study = optuna.create_study(storage=url)
    with pytest.raises(StudyError, match=r"a journal file, or a SQLite file; got .*nas\.journal"):
        sn.run_workers(study, width, 2)
    if url is not None:
        study._storage._backend.engine.dispose()  # type: ignore[attr-defined]


def test_an_objective_that_cannot_be_sent(tmp_path: Path) -> None:
    study = new_study(f"{tmp_path}/nas.journal")
    with (
        (tmp_path / "open").open("w") as file,
        pytest.raises(StudyError, match="Keep open files"),
    ):
        sn.run_workers(study, lambda trial: float(file.write("x")), 2, n_workers=2)
    assert not study.trials
    assert not list(tmp_path.glob("*-workers"))


def explode() -> None:
    raise ValueError("not here")


class Broken:
    """Can be sent, and not received."""

    def __reduce__(self) -> tuple[Any, ...]:
        return explode, ()

    def __call__(self, trial: optuna.Trial) -> float:
        return 0.0


def test_an_objective_that_arrives_broken(tmp_path: Path) -> None:
    """The first worker says so, and no other takes its place."""
    study = new_study(f"{tmp_path}/nas.journal")
    with pytest.raises(StudyError, match="can be given; got ValueError: not here"):
        sn.run_workers(study, Broken(), 2, n_workers=1)
    assert not study.trials


def test_a_study_of_the_other_direction(tmp_path: Path) -> None:
    study = optuna.create_study(direction="minimize", storage=f"sqlite:///{tmp_path}/nas.db")
    with pytest.raises(StudyError, match="the direction 'maximize'"):
        sn.run_workers(study, sn.Objective(ToyTask(), ToySpace()), 2)
    study._storage._backend.engine.dispose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("given", [[], "cuda:0", [0, 1], [None]])
def test_devices_that_are_no_names(given: Any) -> None:
    with pytest.raises(StudyError, match="devices as PyTorch names them, in a list; got"):
        chosen_devices(as_objective(width), given)


@pytest.mark.parametrize("given", [["cuda:9"], ["cpu", "nonsense"]])
def test_devices_that_are_not_here(given: list[str]) -> None:
    with pytest.raises(
        TrainingError, match=r"Expected .*devices? that .*; got '(cuda:9|nonsense)'"
    ):
        chosen_devices(as_objective(width), given)
    with pytest.raises(TrainingError, match="cuda:9"):
        chosen_devices(sn.Objective(ToyTask(), ToySpace(), sn.Trainer(device="cuda:9")), None)


def test_workers_take_devices_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """All CUDA devices by default, unless an Objective trains elsewhere; each sees its own."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    own = sn.Objective(ToyTask(), ToySpace(), sn.Trainer(device="cpu"))
    assert chosen_devices(as_objective(width), None) == ["cuda:0", "cuda:1"]
    assert chosen_devices(own, None) == [None]
    assert chosen_devices(own, ["cuda:1", "cpu"]) == ["cuda:1", "cpu"]
    assert n_here(as_objective(width), None, ["cuda:0", "cuda:1"], at_most=100) == 2
    assert n_here(as_objective(width), None, ["cuda:0", "cuda:1"], at_most=1) == 1
    with pytest.warns(UserWarning, match="3 workers share 2 CUDA devices"):
        assert n_here(as_objective(width), 3, ["cuda:0", "cuda:1"], at_most=100) == 3
    assert _sees("cpu") == _sees("cuda") == {}
    assert _sees("cuda:1") == {"CUDA_VISIBLE_DEVICES": "1"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert _sees("cuda:1") == {"CUDA_VISIBLE_DEVICES": "7"}


def test_more_workers_than_this_machine_has_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than cores are started, with a word; more than fit into memory are not."""
    monkeypatch.setattr(devices, "cores", lambda: 2)
    with pytest.warns(UserWarning, match="3 workers share 2 CPU cores"):
        assert n_here(as_objective(width), 3, [None], at_most=100) == 3
    monkeypatch.setattr(devices, "free_memory", lambda: 0.9e9)
    objective = sn.Objective(ToyTask(), ToySpace())
    with pytest.warns(UserWarning, match="2 workers were wanted; 1 fit at 5.. MiB"):
        assert n_here(objective, None, [None], at_most=100) == 1


def test_addresses_are_those_of_any_folder_and_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths in full, and patience for a SQLite file; a password is shown to nobody."""
    monkeypatch.chdir(tmp_path)
    storage = optuna.storages.RDBStorage("sqlite:///nas.db")
    address = address_to_share(storage)
    assert address.file == tmp_path / "nas.db"
    assert address.place == f"sqlite:///{tmp_path}/nas.db"
    assert address.engine_kwargs == {"connect_args": {"timeout": 60.0}}
    again = address.open()
    assert again.get_all_studies() == []
    for one in (storage, again._backend):  # type: ignore[attr-defined]
        one.engine.dispose()

    server = optuna.storages.RDBStorage.__new__(optuna.storages.RDBStorage)
    server.url, server.engine_kwargs = "postgresql://me:secret@host/nas", {}
    far = address_to_share(server)
    assert (far.place, far.file, far.is_sqlite) == (server.url, None, False)
    assert "secret" not in repr(far)
