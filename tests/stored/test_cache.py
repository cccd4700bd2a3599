"""The cache of past studies: fast, never believed without proof, never missed."""

from __future__ import annotations

import errno
import hashlib
import importlib.util
import json
import logging
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from surrogate_nas import history
from surrogate_nas.history import read_history
from surrogate_nas.past import PastTask
from surrogate_nas.storage import open_storage
from surrogate_nas.stored.cache import CachedReader, cache_folder
from surrogate_nas.stored.sql import SqlReader, engine_of, unwrapped
from surrogate_nas.stored.studies import Results, StoredStudy
from tests.databases import edit, quick_storage


def suggest(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    """A space with every kind of parameter; one exists only with another's choice."""
    params = {
        "choice": trial.suggest_categorical("choice", ["a", True, None, 1.5, 3]),
        "wide": trial.suggest_int("wide", 8, 128, step=8),
        "rate": trial.suggest_float("rate", 1e-5, 1e-1, log=True),
    }
    if params["choice"] == "a":
        params["share"] = trial.suggest_float("share", 0.0, 1.0)
    return params


def add_study(path: Path, name: str, seed: int, n_trials: int = 12) -> None:
    study = optuna.create_study(
        storage=quick_storage(path),
        study_name=name,
        sampler=optuna.samplers.RandomSampler(seed=seed),
        load_if_exists=True,
    )
    study.optimize(lambda trial: float(suggest(trial)["wide"]) + trial.number / 7, n_trials)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "nas.db"
    for seed, name in enumerate(("first", "second")):
        add_study(path, name, seed)
    return path


@pytest.fixture
def database(made: Path, tmp_path: Path) -> Path:
    """Two studies, to be changed."""
    return Path(shutil.copy(made, tmp_path / "nas.db"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def read_studies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of studies whose trials were read from the database."""
    names: list[str] = []
    results = SqlReader.results

    def noted(self: SqlReader, study: StoredStudy) -> Results:
        names.append(study.name)
        return results(self, study)

    monkeypatch.setattr(SqlReader, "results", noted)
    return names


def read(path: Path, cache: Path | str | bool | None, space: Any = suggest) -> list[PastTask]:
    assert cache is not True
    return read_history(
        f"sqlite:///{path}", space=space, cache=cache or (None, False)[cache is False]
    )


def exact(past: list[PastTask]) -> list[Any]:
    """Past tasks with the types of values: True is not 1."""
    return [
        [
            task.name,
            task.direction,
            task.notes,
            list(task.values),
            [sorted((n, type(v), v) for n, v in params.items()) for params in task.params],
        ]
        for task in past
    ]


def files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


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


# Never believed without proof


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """A file after one of a few kinds of accident."""
    kind, at = rng.integers(5), int(rng.integers(len(data)))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + bytes(rng.bytes(int(rng.integers(1, 9)))) + data[at:]
    if kind == 2:
        return bytes(rng.bytes(at))
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        found[int(rng.integers(len(found)))] ^= 1 << int(rng.integers(8))
    return bytes(found)


def reader(path: Path, folder: Path) -> CachedReader:
    engine = engine_of(unwrapped(open_storage(f"sqlite:///{path}")))
    assert engine is not None
    return CachedReader(SqlReader(engine, ()), folder)


def test_a_damaged_file_is_read_anew_and_replaced(made: Path, cache: Path) -> None:
    cached = reader(made, cache)
    study = cached.studies()[0]
    expected = cached.results(study)
    (path,) = files(cache)
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(250):
        path.write_bytes(damaged(data, rng))
        cached.studies()

        assert cached.results(study) == expected
        assert path.read_bytes() == data


def test_a_forged_file_never_crashes_the_reading(made: Path, cache: Path) -> None:
    """With the hash of its own bytes in its name, which no accident brings about."""
    cached = reader(made, cache)
    study = cached.studies()[0]
    expected = cached.results(study)
    (whole,) = files(cache)
    data = whole.read_bytes()
    rng = np.random.default_rng(0)
    n_refused = 0
    for _ in range(250):
        forged = damaged(data, rng)
        path = whole.with_name(f"1-{hashlib.sha256(forged).hexdigest()}.parquet")
        for other in files(cache):
            other.unlink()
        path.write_bytes(forged)
        cached.studies()

        found = cached.results(study)

        assert len(found.params) == len(found.values) <= len(expected.values)
        n_refused += found == expected
    assert n_refused > 180  # the rest has another number where a number was


def forge(path: Path, change: Callable[[pa.Table, dict[str, Any]], pa.Table], **how: Any) -> None:
    """Put a file with a right hash and other contents in the place of another."""
    table = pq.read_table(path)
    meta = json.loads(table.schema.metadata[b"surrogate_nas"])
    table = change(table, meta)
    table = table.replace_schema_metadata({b"surrogate_nas": json.dumps(meta).encode()})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **{"compression": "NONE", **how})
    data = bytes(sink.getvalue())
    path.unlink()
    path.with_name(f"1-{hashlib.sha256(data).hexdigest()}.parquet").write_bytes(data)


def meta(**changed: Any) -> Callable[[pa.Table, dict[str, Any]], pa.Table]:
    def change(table: pa.Table, found: dict[str, Any]) -> pa.Table:
        found.update(changed)
        return table

    return change


def described(place: int, kind: Any) -> Callable[[pa.Table, dict[str, Any]], pa.Table]:
    def change(table: pa.Table, found: dict[str, Any]) -> pa.Table:
        found["params"][place][1] = kind
        return table

    return change


def column(place: int, array: pa.Array) -> Callable[[pa.Table, dict[str, Any]], pa.Table]:
    return lambda table, _: table.set_column(place, str(place), array)


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (meta(format=2), {}),
        (meta(storage="another"), {}),
        (meta(study=[2, "first"]), {}),
        (meta(study=[1, "second"]), {}),
        (meta(signature="0" * 64), {}),
        (meta(params=None), {}),
        (meta(params=[]), {}),
        (meta(n_without_value="many"), {}),
        (described(0, ["a"]), {}),  # fewer choices than are pointed to
        (described(0, "float"), {}),
        (described(2, "odd"), {}),
        (column(0, pa.array([None] * 12, pa.float64())), {}),
        (column(0, pa.array([float("nan")] * 12)), {}),
        (column(0, pa.array(["text"] * 12)), {}),
        (column(1, pa.array([-1] * 12)), {}),
        (column(1, pa.array([[1]] * 12)), {}),
        (lambda table, _: pa.concat_tables([table] * 2), {}),  # more rows than trials
        (lambda table, _: table, {"compression": "gzip"}),
        (lambda table, _: table, {"row_group_size": 3}),
    ],
)
def test_a_file_that_does_not_fit_is_read_anew(
    made: Path,
    cache: Path,
    read_studies: list[str],
    change: Callable[[pa.Table, dict[str, Any]], pa.Table],
    how: dict[str, Any],
) -> None:
    expected = exact(read(made, cache))
    forge(files(cache)[0], change, **how)
    read_studies.clear()

    assert exact(read(made, cache)) == expected
    assert read_studies == ["first"]


def test_a_forged_file_that_fits_is_what_these_tests_forge(
    made: Path, cache: Path, read_studies: list[str]
) -> None:
    read(made, cache)
    forge(files(cache)[0], lambda table, _: table)
    read_studies.clear()

    read(made, cache)

    assert read_studies == []


def test_a_file_of_another_database_is_not_believed(
    database: Path, cache: Path, tmp_path: Path, read_studies: list[str]
) -> None:
    other = Path(shutil.copy(database, tmp_path / "other.db"))
    read(database, cache)
    (folder,) = {path.parent for path in files(cache)}
    read(other, cache)
    (beside,) = {path.parent for path in files(cache)} - {folder}
    for path in folder.iterdir():
        shutil.copy(path, beside / path.name)
    for path in beside.iterdir():
        if not (folder / path.name).exists():
            path.unlink()
    read_studies.clear()

    read(other, cache)

    assert read_studies == ["first", "second"]


def test_a_huge_file_is_not_read(made: Path, cache: Path, read_studies: list[str]) -> None:
    read(made, cache)
    path = files(cache)[0]
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # sparse: takes no room, but would as bytes
    read_studies.clear()

    read(made, cache)

    assert read_studies == ["first"]


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
