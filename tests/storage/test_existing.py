"""A storage to read from is there, or there is an error and nothing is made."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

import surrogate_nas as sn
from surrogate_nas.errors import StorageError
from surrogate_nas.storage.opening import open_storage
from tests.helpers.toys import ToySpace


@pytest.mark.parametrize(
    "address",
    [
        "sqlite:///tpyo.db",
        "sqlite+pysqlite:///tpyo.db?timeout=3",
        "sqlite:///file:tpyo.db?uri=true",
        "tpyo.journal",
        Path("tpyo.log"),
        "sqlite://",
        "sqlite:///:memory:",
        None,
    ],
)
def test_nothing_is_made_where_there_is_nothing_to_read(
    address: str | Path | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    with pytest.raises(StorageError, match="to read"):
        sn.read_history(address, space=ToySpace())

    assert list(tmp_path.iterdir()) == []


def test_a_database_of_others_is_left_as_it_is(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "others.db"
    connection = sqlite3.connect(path)
    connection.execute("create table customers (name text)")
    connection.commit()
    connection.close()
    before = path.read_bytes()

    with pytest.raises(StorageError, match="a database without studies"):
        open_storage(f"sqlite:///{path}", to_read=True)

    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["sqlite:///{}/nas.db", "sqlite:///file:{}/nas.db?uri=true"])
def test_what_is_there_is_read(name: str, tmp_path: Path) -> None:
    address = name.format(tmp_path)
    optuna.create_study(storage=open_storage(address), study_name="kept")

    found = open_storage(address, to_read=True).get_all_studies()

    assert [study.study_name for study in found] == ["kept"]
