"""Past studies: the columnar cache beside a database, the database itself, a journal."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import optuna
import pyarrow as pa
import pyarrow.parquet as pq
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from surrogate_nas import PastTask, read_history
from surrogate_nas.errors import StorageError
from tests.safety.fuzz.mutations import BYTES, Document, Mutation, Rng, deepen, dumps, on_json
from tests.safety.fuzz.reader import READ, REFUSED, Reader

_META = b"surrogate_nas"
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


def _read(storage: str, cache: Any) -> list[PastTask]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read_history(storage, space=suggest, cache=cache)


def _meta(data: bytes) -> Document:
    table = pq.read_table(pa.BufferReader(data))
    document: Document = json.loads(table.schema.metadata[_META])
    return document


def _written(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **{"compression": "NONE", **options})
    return bytes(sink.getvalue())


def _with_meta(meta: Document, data: bytes) -> bytes:
    table = pq.read_table(pa.BufferReader(data))
    return _written(table.replace_schema_metadata({_META: dumps(meta)}))


def _deepen_meta(data: bytes, rng: Rng) -> bytes:
    table = pq.read_table(pa.BufferReader(data))
    text = deepen(table.schema.metadata[_META], rng)
    return _written(table.replace_schema_metadata({_META: text}))


def _columns(data: bytes, rng: Rng) -> bytes:
    """Other columns under the same metadata: types, numbers, lengths, nulls."""
    table = pq.read_table(pa.BufferReader(data))
    at = int(rng.integers(table.num_columns))
    n = len(table)
    others: tuple[Any, ...] = (
        *(pa.array([float("nan")] * n), pa.array([2**62] * n), pa.array([-1] * n)),
        *(pa.array([None] * n, pa.int64()), pa.array(["x"] * n), pa.array([[1]] * n)),
        *(pa.array([1e308] * n), pa.array([True] * n), pa.array([b"\xff"] * n)),
    )
    name = table.schema.names[at]
    action = int(rng.integers(4))
    if action == 0:
        table = table.set_column(at, name, others[int(rng.integers(len(others)))])
    elif action == 1:
        table = table.remove_column(at)
    elif action == 2:
        table = table.append_column("more", others[int(rng.integers(len(others)))])
    else:
        table = pa.concat_tables([table] * int(rng.integers(2, 5)))
    return _written(table, row_group_size=int(rng.integers(1, 2 * n)))


def _bomb(data: bytes, rng: Rng) -> bytes:
    """Few bytes that unfold to a gigabyte: equal numbers, packed."""
    table = pq.read_table(pa.BufferReader(data))
    n = int(10 ** rng.uniform(5, 7))
    arrays = [pa.array(np.ones(n), field.type, from_pandas=False) for field in table.schema]
    large = pa.Table.from_arrays(arrays, schema=table.schema)
    kind = ("NONE", "ZSTD", "SNAPPY", "GZIP")[int(rng.integers(4))]
    return _written(large, compression=kind, use_dictionary=bool(rng.integers(2)))


@final
class CacheReader(Reader):
    """``read_history`` with a spoilt file of its cache; the database is whole."""

    name = "history cache"

    @property
    def mutations(self) -> Mapping[str, Mutation]:
        """By name; a file's name always has the hash of its bytes."""
        changes = on_json(_meta, _with_meta)
        return {
            **BYTES,
            **{name.replace("JSON", "metadata"): change for name, change in changes.items()},
            "metadata: nested": _deepen_meta,
            "columns: others": _columns,
            "columns: many equal numbers": _bomb,
        }

    def originals(self, folder: Path) -> dict[str, bytes]:
        """The files of two studies; their database stays in the folder."""
        _fill(f"sqlite:///{folder}/nas.db")
        _read(f"sqlite:///{folder}/nas.db", folder)
        found = sorted(folder.glob("history/*/*.parquet"))
        (self._place,) = (folder / "history").iterdir()
        return {f"{path.name.split('-')[0]}.parquet": path.read_bytes() for path in found}

    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Read; whatever is in the cache, past tasks have the database's names and no more trials.

        Values are another matter: whoever makes the hash right may tell others.
        """
        for path in self._place.glob(f"{name.split('.')[0]}-*"):
            path.unlink()
        digest = hashlib.sha256(data).hexdigest()
        spoilt = self._place / f"{name.split('.')[0]}-{digest}.parquet"
        spoilt.write_bytes(data)
        past = _read(f"sqlite:///{folder}/nas.db", folder)
        assert {task.name for task in past} <= {"past 0", "past 1"}
        assert all(len(task.params) == len(task.values) <= _TRIALS for task in past)
        assert all(np.isfinite(task.values).all() for task in past)
        return READ if spoilt.exists() else REFUSED


@final
class DatabaseReader(Reader):
    """``read_history`` of a spoilt SQLite file."""

    name = "database"

    @property
    def mutations(self) -> Mapping[str, Mutation]:
        """By name."""
        return {**BYTES, "text: another of its words": _word}

    def originals(self, folder: Path) -> dict[str, bytes]:
        """Two studies."""
        _fill(f"sqlite:///{folder}/nas.db")
        return {"nas.db": (folder / "nas.db").read_bytes()}

    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Read what is whole of it."""
        path = folder / "spoilt.db"
        path.write_bytes(data)
        try:
            return _checked(_read(f"sqlite:///{path}", False))
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

    def originals(self, folder: Path) -> dict[str, bytes]:
        """Two studies."""
        _fill(JournalStorage(JournalFileBackend(f"{folder}/nas.journal")))
        return {"nas.journal": (folder / "nas.journal").read_bytes()}

    def read(self, name: str, data: bytes, files: Mapping[str, bytes], folder: Path) -> str:
        """Read what is whole of it."""
        path = folder / "spoilt.journal"
        path.write_bytes(data)
        try:
            return _checked(_read(str(path), False))
        except StorageError:
            return REFUSED


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
