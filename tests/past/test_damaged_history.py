"""Histories of damaged databases, and those that only Optuna can read."""

from __future__ import annotations

import gc
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from optuna.storages import BaseStorage, InMemoryStorage

from surrogate_nas.errors import StorageError
from surrogate_nas.past import history
from surrogate_nas.past.history import read_history
from tests.helpers.databases import edit, quick_storage
from tests.helpers.histories import SPACE, finished

# Damaged databases


@pytest.fixture
def storage() -> BaseStorage:
    return InMemoryStorage()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "nas.db"
    for name in ("good", "bad"):
        finished(quick_storage(path), name, 3)
    return path


@pytest.fixture
def database(made: Path, tmp_path: Path) -> Path:
    """Two studies of the space in a database, to be changed."""
    return Path(shutil.copy(made, tmp_path / "nas.db"))


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        (
            "update trial_params set distribution_json = '{' where trial_id = 5",
            "damaged, JSONDecodeError",
        ),
        ("update trial_params set param_value = null where trial_id = 5", "damaged, TypeError"),
        ("update trial_values set value = null where trial_id = 5", "damaged, ValueError"),
        ("delete from trial_values where trial_id in (5, 6)", "fewer than two different results"),
        ("delete from study_directions where study_id = 2", "half-written, it has no direction"),
        ("update study_directions set direction = 'NOT_SET' where study_id = 2", "half-written"),
        ("delete from trials where study_id = 2", "fewer than two different results"),
        (
            "insert into study_user_attributes (study_id, key, value_json) "
            "values (2, 'meta_features', '{')",
            "damaged, its attribute 'meta_features' cannot be read",
        ),
    ],
)
def test_a_damaged_study_is_left_out_and_the_others_are_read(
    database: Path, statement: str, reason: str
) -> None:
    edit(database, statement)

    with pytest.warns(UserWarning, match="Expected finished studies") as caught:
        past = read_history(f"sqlite:///{database}", space=SPACE)

    assert [task.name for task in past] == ["good"]
    assert len(caught) == 1
    assert f"bad ({reason}" in str(caught[0].message)


def test_a_completed_trial_without_its_value_is_a_note(database: Path) -> None:
    edit(database, "delete from trial_values where trial_id = 5")

    good, bad = read_history(f"sqlite:///{database}", space=SPACE)

    assert (len(good), good.notes) == (3, ())
    assert (len(bad), bad.notes) == (2, ("Left out 1 completed trial without a value.",))


def test_a_list_of_studies_that_only_optuna_could_read_is_refused_by_name(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(
        database,
        "insert into study_user_attributes (study_id, key, value_json) values (2, 'x', '{')",
    )
    assert len(read_history(f"sqlite:///{database}", space=SPACE)) == 2
    monkeypatch.setattr(history, "engine_of", lambda storage: None)

    with pytest.raises(StorageError, match="JSONDecodeError"):
        read_history(f"sqlite:///{database}", space=SPACE)


@pytest.mark.parametrize(
    "change",
    [
        "alter table version_info add column more integer",
        "alter table trials rename column number to place",
    ],
)
def test_a_database_of_another_optuna_is_read_by_optuna_or_refused(
    database: Path, change: str
) -> None:
    edit(database, change)

    if "place" in change:
        with pytest.raises(StorageError):
            read_history(f"sqlite:///{database}", space=SPACE)
    else:
        assert len(read_history(f"sqlite:///{database}", space=SPACE)) == 2


def test_reading_by_optuna_gives_the_same(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_sql = read_history(f"sqlite:///{database}", space=SPACE)
    monkeypatch.setattr(history, "engine_of", lambda storage: None)

    by_optuna = read_history(f"sqlite:///{database}", space=SPACE)

    assert [(t.name, t.params, t.values) for t in by_optuna] == [
        (t.name, t.params, t.values) for t in by_sql
    ]


def test_a_database_that_fails_within_is_read_by_optuna(
    database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("surrogate_nas.past.readers.sql._PARAMS", "select nothing from nowhere")

    with caplog.at_level(logging.INFO, logger="surrogate_nas"):
        past = read_history(f"sqlite:///{database}", space=SPACE)

    assert [len(task) for task in past] == [3, 3]
    assert "Read through Optuna" in caplog.text


# What a waiting user sees


def test_the_log_says_how_far_reading_is(
    storage: BaseStorage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3):
        finished(storage, f"past {number}", seed=number)
    monkeypatch.setattr(history, "_SECONDS_BETWEEN_LINES", 0.0)

    with caplog.at_level(logging.INFO, logger="surrogate_nas"):
        read_history(storage, space=SPACE)

    assert "Read 2 of 3 studies." in caplog.text


@pytest.mark.parametrize("was_on", [True, False])
def test_the_garbage_collector_is_left_as_it_was(
    storage: BaseStorage, was_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished(storage, "first")
    during: list[bool] = []

    def note(*args: Any) -> Any:
        during.append(gc.isenabled())
        raise RuntimeError

    monkeypatch.setattr(history, "_read", note)
    if not was_on:
        gc.disable()
    try:
        with pytest.raises(RuntimeError):
            read_history(storage, space=SPACE)
        assert (during, gc.isenabled()) == ([False], was_on)
    finally:
        gc.enable()
