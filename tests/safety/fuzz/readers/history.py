"""Past studies: a database, a journal."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from surrogate_nas import PastTask, read_history
from surrogate_nas.errors import StorageError
from tests.safety.fuzz.mutations import BYTES, Document, Mutation, Rng, deepen, dumps, on_json
from tests.safety.fuzz.reader import READ, REFUSED, Reader
from tests.safety.fuzz.structures import STRUCTURE, on_structure, written

_TRIALS = 12


def suggest(trial: optuna.trial.BaseTrial) -> float:
    """A space with every kind of parameter; one exists only with another's choice."""
    choice = trial.suggest_categorical("choice", ["a", True, None, 1.5, 3])
    wide = trial.suggest_int("wide", 8, 128, step=8)
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    share = trial.suggest_float("share", 0.0, 1.0) if choice == "a" else 0.5
    return wide * share - rate


def _fill(storage: str | optuna.storages.BaseStorage) -> None:
    """Two studies."""
    for seed in range(2):
        study = optuna.create_study(
            storage=storage,
            study_name=f"past {seed}",
            sampler=optuna.samplers.RandomSampler(seed=seed),
        )
        study.set_user_attr("meta_features", {"n_train": 100.0 + seed})
        study.optimize(suggest, n_trials=_TRIALS)


def _checked(past: list[PastTask]) -> str:
    """What is read has parameters and finite values for each of its trials."""
    for task in past:
        assert len(task.params) == len(task.values)
        assert np.isfinite(task.values).all()
    return READ if len(past) == 2 else REFUSED


def _read(storage: str) -> list[PastTask]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_history(storage, space=suggest)


@final
class DatabaseReader(Reader):
    """``read_history`` of a spoilt SQLite file."""

    name = "database"

    @property
    def mutations(self) -> Mapping[str, Mutation]:
        """By name."""
        return {**BYTES, "text: another of its words": _word}

    @property
    def structures(self) -> Mapping[str, Mutation]:
        """By name."""
        return {"rows: another value": _cell, "rows: others": _rows, "JSON: in a cell": _json_cell}

    def originals(self, folder: Path) -> dict[str, bytes]:
        """Two studies."""
        _fill(f"sqlite:///{folder}/nas.db")
        return {"nas.db": (folder / "nas.db").read_bytes()}

    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Read what is whole of it."""
        path = folder / "spoilt.db"
        path.write_bytes(data)
        try:
            return _checked(_read(f"sqlite:///{path}"))
        except StorageError:
            return REFUSED


@final
class JournalReader(Reader):
    """``read_history`` of a spoilt journal."""

    name = "journal"

    @property
    def mutations(self) -> Mapping[str, Mutation]:
        """By name."""
        return {
            **BYTES,
            "text: another of its words": _word,
            "JSON: nested": _deepen_line,
            **on_json(_line, _with_line),
        }

    @property
    def structures(self) -> Mapping[str, Mutation]:
        """By name."""
        return {
            **on_structure(_line, _with_line),
            "lines: another one changed": _other_line,
            "lines: others": _lines,
        }

    def originals(self, folder: Path) -> dict[str, bytes]:
        """Two studies."""
        _fill(JournalStorage(JournalFileBackend(f"{folder}/nas.journal")))
        return {"nas.journal": (folder / "nas.journal").read_bytes()}

    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Read what is whole of it."""
        path = folder / "spoilt.journal"
        path.write_bytes(data)
        try:
            return _checked(_read(str(path)))
        except StorageError:
            return REFUSED


_CELLS: tuple[Any, ...] = (
    *(None, "", "x", 0, -1, 2**31, 2**62, 0.5, 1e300, -1e300, float("inf"), float("-inf")),
    *(b"\x00\xff", "null", "NaN", "[]", "{}", '"a"', "1e999", "COMPLETE", "FINITE", "INF_POS"),
)


def _tables(connection: sqlite3.Connection) -> list[tuple[str, list[str]]]:
    """Return the tables that have rows, and their columns."""
    found = []
    for (table,) in connection.execute("select name from sqlite_master where type = 'table'"):
        columns = [row[1] for row in connection.execute(f"pragma table_info({table})")]
        if connection.execute(f"select count(*) from {table}").fetchone()[0]:
            found.append((table, columns))
    return sorted(found)


def _in_database(
    data: bytes, rng: Rng, change: Callable[[sqlite3.Connection, str, list[str], int], None]
) -> bytes:
    """Change a row of one of the tables of a database."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.deserialize(data)
        connection.execute("pragma foreign_keys = off")
        tables = _tables(connection)
        table, columns = tables[int(rng.integers(len(tables)))]
        rows = [row for (row,) in connection.execute(f"select rowid from {table}")]
        # NOTE: a row may lack the value that it must have, or be there twice.
        with contextlib.suppress(sqlite3.IntegrityError):
            change(connection, table, columns, rows[int(rng.integers(len(rows)))])
        return connection.serialize()
    finally:
        connection.close()


def _cell(data: bytes, rng: Rng) -> bytes:
    """Put another value into a cell, or into a column."""

    def change(connection: sqlite3.Connection, table: str, columns: list[str], row: int) -> None:
        column = columns[int(rng.integers(len(columns)))]
        value = _CELLS[int(rng.integers(len(_CELLS)))]
        where = f"where rowid = {row}" if rng.random() < 0.7 else ""
        connection.execute(f"update {table} set {column} = ? {where}", (value,))

    return _in_database(data, rng, change)


def _rows(data: bytes, rng: Rng) -> bytes:
    """Drop or repeat rows, drop a table or a column, or exchange two columns."""

    def change(connection: sqlite3.Connection, table: str, columns: list[str], row: int) -> None:
        one, other = (columns[int(rng.integers(len(columns)))] for _ in range(2))
        rest = ", ".join(columns[1:])
        orders = (
            f"delete from {table} where rowid = {row}",
            f"delete from {table}",
            f"insert into {table} ({rest}) select {rest} from {table} where rowid = {row}",
            f"drop table {table}",
            f"update {table} set {one} = {other}",
            f"alter table {table} rename column {one} to {one}_2",
        )
        connection.execute(orders[int(rng.integers(len(orders)))])

    return _in_database(data, rng, change)


def _json_cell(data: bytes, rng: Rng) -> bytes:
    """Change the structure of the JSON in a cell."""

    def change(connection: sqlite3.Connection, table: str, columns: list[str], row: int) -> None:
        for column in columns:
            found = connection.execute(f"select {column} from {table} where rowid = {row}")
            text = found.fetchone()[0]
            with contextlib.suppress(TypeError, ValueError):
                document = {"value": json.loads(text)}
                alter = list(STRUCTURE.values())[int(rng.integers(len(STRUCTURE)))]
                alter(document, rng)
                changed = written(document.get("value", {})).decode()
                order = f"update {table} set {column} = ? where rowid = {row}"
                connection.execute(order, (changed,))

    return _in_database(data, rng, change)


def _other_line(data: bytes, rng: Rng) -> bytes:
    """Change the structure of any line."""
    lines = data.splitlines()
    at = int(rng.integers(len(lines)))
    document = json.loads(lines[at])
    list(STRUCTURE.values())[int(rng.integers(len(STRUCTURE)))](document, rng)
    lines[at] = written(document)
    return b"\n".join(lines) + b"\n"


def _lines(data: bytes, rng: Rng) -> bytes:
    """Drop, repeat, exchange or empty lines."""
    lines = data.splitlines()
    one, other = (int(rng.integers(len(lines))) for _ in range(2))
    action = int(rng.integers(5))
    if action == 0:
        del lines[one]
    elif action == 1:
        lines.insert(other, lines[one])
    elif action == 2:
        lines[one], lines[other] = lines[other], lines[one]
    elif action == 3:
        lines[one] = (b"", b"null", b"[]", b"0", b'"x"', b"{}")[int(rng.integers(6))]
    else:
        lines = lines[one:]
    return b"\n".join(lines) + b"\n"


def _word(data: bytes, rng: Rng) -> bytes:
    """Put a piece of the file's text, of the same length, in the place of another."""
    size = int(rng.integers(2, 12))
    at = [int(rng.integers(len(data) - size)) for _ in range(2)]
    return data[: at[0]] + data[at[1] : at[1] + size] + data[at[0] + size :]


def _line(data: bytes) -> Document:
    """A line of a journal; which one is fixed by the file's length, so that it is found again."""
    lines = data.splitlines()
    document: Document = json.loads(lines[_chosen(lines)])
    return document


def _with_line(document: Document, data: bytes) -> bytes:
    lines = data.splitlines()
    lines[_chosen(lines)] = dumps(document)
    return b"\n".join(lines) + b"\n"


def _chosen(lines: list[bytes]) -> int:
    return len(lines) // 2


def _deepen_line(data: bytes, rng: Rng) -> bytes:
    lines = data.splitlines()
    at = int(rng.integers(len(lines)))
    lines[at] = deepen(lines[at], rng)
    return b"\n".join(lines) + b"\n"
