from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from surrogate_nas.attributes import WORKER
from surrogate_nas.running.workers.address import address_to_share
from surrogate_nas.running.workers.coordination import Coordination, coordinate
from surrogate_nas.storage.opening import open_storage
from surrogate_nas.storage.optuna_private import id_of
from tests.helpers.untried_locks import UNTRIED

pytest.importorskip("fcntl", reason="files are locked where there is fcntl")


def of(name: str) -> FrozenTrial:
    """A running trial of a worker."""
    return create_trial(state=TrialState.RUNNING, system_attrs={WORKER: name})


def names(trials: list[FrozenTrial]) -> list[str]:
    return [str(trial.system_attrs[WORKER]) for trial in trials]


def dead_among(together: Coordination, *workers: str) -> list[str]:
    return names(together.dead([of(name) for name in workers]))


@pytest.mark.parametrize("kind", UNTRIED)
def test_only_a_free_or_missing_lock_says_dead(kind: str, tmp_path: Path) -> None:
    """A lock that cannot be tried says nothing, and nothing is taken away."""
    storage = open_storage(f"{tmp_path}/nas.journal")
    study_id = id_of(optuna.create_study(storage=storage))
    address = address_to_share(storage)
    free = tmp_path / "nas.journal-workers" / "free.lock"
    with (
        coordinate(address, storage, study_id, None, 60.0) as together,
        coordinate(address, storage, study_id, "alive", 60.0),
    ):
        free.touch()
        with UNTRIED[kind]():
            assert dead_among(together, "alive", "free") == []
        assert free.exists()
        assert dead_among(together, "alive", "free", "missing") == ["free", "missing"]
        assert not free.exists()


def test_a_free_lock_says_dead_though_it_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may not write to the folder may still see that a worker is gone."""
    storage = open_storage(f"{tmp_path}/nas.journal")
    study_id = id_of(optuna.create_study(storage=storage))

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, f"Permission denied: {missing_ok}", str(path))

    with coordinate(address_to_share(storage), storage, study_id, None, 60.0) as together:
        (tmp_path / "nas.journal-workers" / "free.lock").touch()
        with monkeypatch.context() as context:
            context.setattr(Path, "unlink", refuse)
            assert dead_among(together, "free") == ["free"]


def test_a_name_that_is_no_file_s_says_nothing(tmp_path: Path) -> None:
    storage = open_storage(f"{tmp_path}/nas.journal")
    study_id = id_of(optuna.create_study(storage=storage))
    with coordinate(address_to_share(storage), storage, study_id, None, 60.0) as together:
        assert dead_among(together, "a\0b", "x" * 300) == []


def test_a_name_does_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    """It is somebody else's text."""
    storage = open_storage(f"{tmp_path}/nas.journal")
    study_id = id_of(optuna.create_study(storage=storage))
    other = tmp_path / "other.lock"
    other.touch()
    with coordinate(address_to_share(storage), storage, study_id, None, 60.0) as together:
        assert dead_among(together, "../other") == ["../other"]
    assert other.exists()
