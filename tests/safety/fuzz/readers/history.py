"""Past studies: a database, a journal."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import final

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from surrogate_nas import PastTask, read_history
from surrogate_nas.errors import StorageError
from tests.safety.fuzz.mutations import BYTES, Document, Mutation, Rng, deepen, dumps, on_json
from tests.safety.fuzz.reader import READ, REFUSED, Reader

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
