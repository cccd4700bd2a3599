"""The cache of past studies: fast, never believed without proof, never missed."""

from __future__ import annotations

import errno
import importlib.util
import logging
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa

from surrogate_nas.past import history
from surrogate_nas.past.history import read_history
from surrogate_nas.past.readers.cache import cache_folder
from surrogate_nas.storage.opening import open_storage
from tests.helpers.caches import add_study, exact, files, read, suggest
from tests.helpers.databases import edit, quick_storage

# Fast and equal


def test_the_second_reading_reads_no_trials_and_gives_the_same(
    database: Path, cache: Path, read_studies: list[str]
) -> None:
    first = read(database, cache)
    assert read_studies == ["first", "second"]

    second = read(database, cache)

    assert read_studies == ["first", "second"]
    assert exact(second) == exact(first) == exact(read(database, False))
    assert {type(v) for t in second for p in t.params for v in p.values()} == {
        str, bool, type(None), float, int,
    }  # fmt: skip


def test_only_a_new_study_is_read(database: Path, cache: Path, read_studies: list[str]) -> None:
    read(database, cache)
    add_study(database, "third", 2)
    read_studies.clear()

    past = read(database, cache)

    assert read_studies == ["third"]
    assert exact(past) == exact(read(database, False))


def test_new_trials_are_seen_and_the_old_file_goes(
    database: Path, cache: Path, read_studies: list[str]
) -> None:
    read(database, cache)
    add_study(database, "second", 3, n_trials=2)
    read_studies.clear()

    past = read(database, cache)

    assert read_studies == ["second"]
    assert [len(task) for task in past] == [12, 14]
    assert len(files(cache)) == 2


def test_a_study_made_again_under_its_name_is_read_again(database: Path, cache: Path) -> None:
    read(database, cache)
    optuna.delete_study(storage=quick_storage(database), study_name="second")
    add_study(database, "second", 9)

    past = read(database, cache)

    assert exact(past) == exact(read(database, False))
    assert len(files(cache)) == 2


def test_another_database_at_the_same_place_is_read_again(
    database: Path, cache: Path, tmp_path: Path
) -> None:
    read(database, cache)
    other = Path(shutil.copy(database, tmp_path / "other.db"))
    edit(
        other, "update trial_params set param_value = 144 - param_value where param_name = 'wide'"
    )
    os.replace(other, database)

    past = read(database, cache)

    assert exact(past) == exact(read(database, False))


def test_files_of_a_deleted_study_go(database: Path, cache: Path) -> None:
    read(database, cache)
    optuna.delete_study(storage=quick_storage(database), study_name="second")

    read(database, cache)

    assert [path.name.split("-")[0] for path in files(cache)] == ["1"]


def _unread_for(days: float, folder: Path) -> None:
    then = time.time() - 86_400 * days
    os.utime(folder, (then, then))


def test_files_of_a_database_that_is_not_read_any_more_go(
    database: Path, cache: Path, tmp_path: Path
) -> None:
    read(database, cache)
    (gone,) = {path.parent for path in files(cache)}
    _unread_for(91, gone)
    other = tmp_path / "other.db"
    add_study(other, "third", 2)

    past = read(other, cache)

    assert not gone.exists()
    assert files(cache)
    assert exact(read(other, cache)) == exact(past)
    assert exact(read(database, cache)) == exact(read(database, False))


def test_files_of_a_database_that_was_read_lately_stay(
    database: Path, cache: Path, tmp_path: Path, read_studies: list[str]
) -> None:
    read(database, cache)
    (folder,) = {path.parent for path in files(cache)}
    _unread_for(91, folder)
    read(database, cache)  # from the cache, and that counts
    add_study(tmp_path / "other.db", "third", 2)
    read(tmp_path / "other.db", cache)
    read_studies.clear()

    read(database, cache)

    assert read_studies == []


@pytest.mark.parametrize("name", ["notes.txt", "1-short.parquet", "f" * 32])
def test_what_is_not_of_the_cache_stays(
    database: Path, cache: Path, tmp_path: Path, name: str
) -> None:
    read(database, cache)
    (folder,) = {path.parent for path in files(cache)}
    own = folder / name
    own.write_text("mine")
    beside = folder.parent / "beside"
    beside.mkdir()
    (beside / files(cache)[0].name).write_text("mine")
    for old in (folder, beside):
        _unread_for(91, old)
    add_study(tmp_path / "other.db", "third", 2)

    read(tmp_path / "other.db", cache)

    assert own.read_text() == "mine"
    assert len(list(beside.iterdir())) == 1
    assert list(folder.iterdir()) == [own]


def test_an_old_folder_that_cannot_be_cleaned_harms_nothing(
    database: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read(database, cache)
    (folder,) = {path.parent for path in files(cache)}
    _unread_for(91, folder)
    add_study(tmp_path / "other.db", "third", 2)

    def refused(path: Path) -> None:
        raise PermissionError(errno.EACCES, "refused", str(path))

    monkeypatch.setattr(Path, "rmdir", refused)

    read(tmp_path / "other.db", cache)

    assert folder.exists()
    assert files(cache)


def test_deleting_the_cache_loses_nothing(database: Path, cache: Path) -> None:
    first = read(database, cache)
    shutil.rmtree(cache)

    assert exact(read(database, cache)) == exact(first)
    assert len(files(cache)) == 2


def test_another_space_reads_the_same_cache(
    database: Path, cache: Path, read_studies: list[str]
) -> None:
    def narrower(trial: optuna.trial.BaseTrial) -> None:
        trial.suggest_int("wide", 8, 64, step=8)
        trial.suggest_float("rate", 1e-5, 1e-1, log=True)

    read(database, cache)
    read_studies.clear()

    past = read(database, cache, narrower)

    assert read_studies == []
    assert exact(past) == exact(read(database, False, narrower))
    assert past[0].notes


def test_a_trial_without_a_value_stays_a_note(database: Path, cache: Path) -> None:
    edit(database, "delete from trial_values where trial_id in (3, 4)")

    for _ in range(2):
        past = read(database, cache)
        assert past[0].notes == ("Left out 2 completed trials without a value.",)


def test_a_damaged_study_is_named_each_time(database: Path, cache: Path) -> None:
    edit(database, "update trial_params set distribution_json = '{' where trial_id = 3")

    for _ in range(2):
        with pytest.warns(UserWarning, match=r"first \(damaged, JSONDecodeError"):
            assert [task.name for task in read(database, cache)] == ["second"]


def test_several_at_once_agree(database: Path, cache: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: exact(read(database, cache)), range(8)))

    assert all(one == found[0] for one in found)
    assert [path.suffix for path in files(cache)] == [".parquet"] * 2


# Never missed


def test_a_folder_that_cannot_be_made_is_done_without(
    database: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "file"
    place.write_text("kept")

    with caplog.at_level(logging.INFO, logger="surrogate_nas"):
        past = read(database, place)

    assert [len(task) for task in past] == [12, 12]
    assert place.read_text() == "kept"
    assert caplog.text.count("Past studies are read without a cache") == 1


def test_a_full_disk_leaves_nothing_half_written(
    database: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)

    assert [len(task) for task in read(database, cache)] == [12, 12]
    assert files(cache) == []


def test_without_pyarrow_the_log_says_what_to_install(
    database: Path,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with caplog.at_level(logging.INFO, logger="surrogate_nas"):
        assert len(read(database, cache)) == 2
    assert "needs pyarrow" in caplog.text
    assert "pip install" not in caplog.text
    monkeypatch.setattr(history, "_SECONDS_TO_ADVISE", 0.0)

    read(database, cache)

    assert "pip install 'surrogate-nas[history]'" in caplog.text
    assert not cache.exists()


def test_false_writes_nothing(database: Path) -> None:
    read(database, False)

    assert files(Path(os.environ["SURROGATE_NAS_CACHE"])) == []


def test_none_is_the_user_s_own_folder(database: Path) -> None:
    read(database, None)

    assert len(files(Path(os.environ["SURROGATE_NAS_CACHE"]))) == 2


def test_a_journal_needs_no_cache(tmp_path: Path, cache: Path) -> None:
    journal = str(tmp_path / "nas.journal")
    study = optuna.create_study(storage=open_storage(journal), study_name="one")
    study.optimize(lambda trial: float(suggest(trial)["wide"]) + trial.number / 7, 3)

    (past,) = read_history(journal, space=suggest, cache=cache)

    assert len(past) == 3
    assert files(cache) == []


def test_the_user_s_own_folder_is_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    url = sa.make_url("postgresql://host/nas")
    monkeypatch.setenv("HOME", "/home/me")
    found = []
    for variable, value in (
        ("SURROGATE_NAS_CACHE", "~/mine"),
        ("SURROGATE_NAS_CACHE", ""),
        ("XDG_CACHE_HOME", "/shared"),
    ):
        monkeypatch.setenv(variable, value)
        if variable != "XDG_CACHE_HOME":
            monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        folder = cache_folder(None, url)
        assert folder is not None
        found.append(str(folder.parents[1]))

    assert found == ["/home/me/mine", "/home/me/.cache/surrogate_nas", "/shared/surrogate_nas"]


def test_a_password_does_not_name_a_folder_but_a_database_does(cache: Path) -> None:
    def name(url: str) -> str:
        folder = cache_folder(cache, sa.make_url(url))
        assert folder is not None
        return folder.name

    plain = name("postgresql://me@host/nas")
    assert name("postgresql://me:secret@host/nas") == plain
    assert name("postgresql+psycopg://me:other@host/nas?password=x") == plain
    others = ["mysql://me@host/nas", "postgresql://me@host/other", "postgresql://you@host/nas"]
    assert plain not in map(name, others)


def test_a_database_file_is_the_same_by_any_path(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    assert cache_folder(cache, sa.make_url("sqlite:///nas.db")) == cache_folder(
        cache, sa.make_url(f"sqlite:///{tmp_path}/nas.db")
    )


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory"]
)
def test_a_database_in_memory_has_no_folder(cache: Path, url: str) -> None:
    assert cache_folder(cache, sa.make_url(url)) is None
