from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
from optuna.storages import InMemoryStorage, JournalStorage

from surrogate_nas.errors import StorageError
from surrogate_nas.storage.opening import (
    address_of,
    open_storage,
    reachable,
)


def test_many_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    """All make the same tables; each is then there once."""
    url = f"sqlite:///{tmp_path}/nas.db"
    gate = threading.Barrier(6)

    def open_it(_: int) -> int:
        gate.wait()
        return len(open_storage(url).get_all_studies())

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(open_it, range(6))) == [0] * 6


def test_none_is_memory() -> None:
    assert isinstance(open_storage(None), InMemoryStorage)


def test_a_storage_object_is_used_as_it_is() -> None:
    storage = InMemoryStorage()

    assert open_storage(storage) is storage


@pytest.mark.parametrize("name", ["nas.log", "nas.journal"])
def test_a_journal_file_keeps_studies(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    optuna.create_study(storage=open_storage(path), study_name="kept")

    again = open_storage(path)

    assert isinstance(again, JournalStorage)
    assert [study.study_name for study in again.get_all_studies()] == ["kept"]


def test_a_database_keeps_studies(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    optuna.create_study(storage=open_storage(url), study_name="kept")

    assert [study.study_name for study in open_storage(url).get_all_studies()] == ["kept"]


@pytest.mark.parametrize(
    ("storage", "got"),
    [
        ("nas.db", "got 'nas.db'"),
        ("postgresql//me:secret@host/db", r"got 'postgresql//me:\*\*\*@host/db'"),
        ("me:secret@host/db", r"got 'me:\*\*\*@host/db'"),
        ("missing/nas.journal", "a folder that exists"),
        ("sqlite:////missing/folder/nas.db", "OperationalError: unable to open database file"),
        ("nonsense://host/db", "NoSuchModuleError"),
        ("://", "ArgumentError"),
        ("http://host:port/", "not a storage"),
        ("redis://localhost", "not a storage"),
    ],
)
def test_what_cannot_be_opened_is_named(storage: str, got: str) -> None:
    with pytest.raises(StorageError, match=got) as caught:
        open_storage(storage)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("server", ["postgresql", "postgresql+psycopg2", "mysql+pymysql"])
def test_a_closed_port_or_a_missing_driver_is_a_storage_error(server: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_storage(f"{server}://me:secret@127.0.0.1:1/nas")

    assert "secret" not in str(caught.value)
    assert "me:***@127.0.0.1:1/nas" in caught.value.expected
    assert "driver" in caught.value.fix


@pytest.mark.parametrize("sign", ["@", "/", ":", "?", "#"])
def test_an_unescaped_password_is_explained_and_not_shown(sign: str) -> None:
    with pytest.raises(StorageError, match="a password with") as caught:
        open_storage(f"postgresql://me:top{sign}secret@127.0.0.1/nas")

    assert "secret" not in str(caught.value)
    assert "top" not in str(caught.value)
    assert caught.value.fix.endswith(f"for {sign}")


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "training.log"
    path.write_text("epoch 1\nepoch 2\n")

    with pytest.raises(StorageError, match="not a storage"):
        open_storage(str(path))

    assert path.read_text() == "epoch 1\nepoch 2\n"


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "nas.db"
    path.write_text("text " * 1000)

    with pytest.raises(StorageError, match="file is not a database"):
        open_storage(f"sqlite:///{path}")


def test_a_journal_that_may_not_be_written_is_a_storage_error(tmp_path: Path) -> None:
    path = tmp_path / "nas.journal"
    path.mkdir()

    with pytest.raises(StorageError, match="IsADirectoryError"):
        open_storage(str(path))


def test_a_storage_error_within_is_not_wrapped_again() -> None:
    inner = StorageError(expected="a", got="b", fix="c")

    with pytest.raises(StorageError) as caught, reachable(None):
        raise inner

    assert caught.value is inner


def test_errors_that_are_not_the_storage_s_pass() -> None:
    with pytest.raises(json.JSONDecodeError), reachable("sqlite:///nas.db"):
        json.loads("no json")


def test_a_storage_object_has_an_address(tmp_path: Path) -> None:
    """What a note says about resuming."""
    address = f"sqlite:///{tmp_path}/nas.db"

    assert address_of(open_storage(address)) == address
    assert address_of(open_storage(f"{tmp_path}/a.journal")) == f"{tmp_path}/a.journal"
    assert address_of(open_storage(None)) is None
