"""Studies of thousands of trials, and thousands of past tasks, made up in seconds.

What is measured does not depend on where values come from. Trials have what a sampler stores.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

import surrogate_nas as sn
from surrogate_nas.space import SpaceLike, as_space, distributions
from surrogate_nas.space.draw import random_params

CELL = sn.spaces.CellSpace()
SPACES: dict[str, Any] = {
    "cell": CELL,
    "dict": {
        **{f"rate_{i}": FloatDistribution(1e-4, 1.0, log=True) for i in range(4)},
        **{f"width_{i}": IntDistribution(1, 256) for i in range(4)},
        **{f"op_{i}": CategoricalDistribution(("conv", "pool", "skip")) for i in range(4)},
    },
}
_OPS = {"none": 0.0, "skip_connect": 0.5, "conv_1x1": 0.8, "conv_3x3": 1.0, "avg_pool_3x3": 0.4}
_NAMES = ("n_candidates", "n_duplicates", "n_infeasible", "predicted_value", "predicted_std")


def value(params: Mapping[str, Any], weights: np.ndarray | None = None) -> float:
    """A made-up accuracy of an architecture of any of the spaces."""
    weights = np.linspace(0.5, 1.5, len(params)) if weights is None else weights
    parts = [
        _OPS.get(str(v), 0.1) if isinstance(v, str) else float(v) / 256 for v in params.values()
    ]
    return float(np.dot(weights, parts))


def made_up_tasks(n_tasks: int, n_pairs: int) -> list[sn.PastTask]:
    """Past tasks of CellSpace that resemble each other, with meta-features."""
    rng = np.random.default_rng(0)
    past = []
    for task in range(n_tasks):
        params = random_params(CELL.suggest, n_pairs, rng)
        weights = 1.0 + 0.5 * rng.standard_normal(len(params[0]))
        noise = 0.05 * rng.standard_normal(n_pairs)
        values = [value(one, weights) + e for one, e in zip(params, noise.tolist(), strict=True)]
        features = {f"feature_{i}": float(x) for i, x in enumerate(rng.standard_normal(10))}
        past.append(sn.PastTask(f"task {task}", params, values, meta_features=features))
    return past


def trials(space: SpaceLike, n: int, n_running: int) -> list[FrozenTrial]:
    """Return finished trials and then running ones, as they are after their suggestions."""
    rng = np.random.default_rng(1)
    ranges = distributions(as_space(space))
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = []
    for number, params in enumerate(random_params(as_space(space).suggest, n + n_running, rng)):
        is_running = number >= n
        state = TrialState.RUNNING if is_running else TrialState.COMPLETE
        text = json.dumps(params)
        trial = FrozenTrial(
            number=number,
            trial_id=number,
            state=state,
            value=None if is_running else value(params),
            datetime_start=now,
            datetime_complete=None if is_running else now,
            params=params,
            distributions={name: ranges[name] for name in params},
            user_attrs={name: float(number) for name in _NAMES},
            system_attrs={"surrogate_nas:params": params, "tpe:relative_params:0": text},
            intermediate_values={},
        )
        made.append(trial)
    return made


def fill(kind: str, folder: Path, space: SpaceLike, n: int, n_running: int) -> BaseStorage:
    """Return a storage with a study named "large"."""
    made = trials(space, n, n_running)
    path = folder / f"large-{kind}"
    path.unlink(missing_ok=True)
    storage: BaseStorage
    if kind == "memory":
        storage = InMemoryStorage()
    elif kind == "journal":
        _write_journal(path, made)
        return JournalStorage(JournalFileBackend(str(path)))
    else:
        storage = optuna.storages.get_storage(f"sqlite:///{path}")
    study_id = storage.create_new_study([optuna.study.StudyDirection.MAXIMIZE], "large")
    if kind == "memory":
        for trial in made:
            storage.create_new_trial(study_id, trial)
    else:
        _write_tables(path, study_id, made)
    return storage


def _write_tables(path: Path, study_id: int, made: Sequence[FrozenTrial]) -> None:
    """Write trials into Optuna's tables in one go; one by one takes minutes."""
    with sqlite3.connect(path) as database:

        def insert(table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
            places = ", ".join("?" for _ in columns.split(","))
            database.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)

        ids = [trial.number + 1 for trial in made]
        pairs = list(zip(ids, made, strict=True))
        time = "2026-01-01 00:00:00.000000"
        insert(
            "trials",
            "trial_id, number, study_id, state, datetime_start, datetime_complete",
            [
                (i, t.number, study_id, t.state.name, time, time if t.datetime_complete else None)
                for i, t in pairs
            ],
        )
        insert(
            "trial_values",
            "trial_id, objective, value, value_type",
            [(i, 0, t.value, "FINITE") for i, t in pairs if t.value is not None],
        )
        texts: dict[Any, str] = {}
        rows = []
        for i, t in pairs:
            for name, one in t.distributions.items():
                text = texts.setdefault(name, distribution_to_json(one))
                rows.append((i, name, one.to_internal_repr(t.params[name]), text))
        insert("trial_params", "trial_id, param_name, param_value, distribution_json", rows)
        for table, kind in (
            ("trial_user_attributes", "user"),
            ("trial_system_attributes", "system"),
        ):
            attrs = [
                (i, key, json.dumps(number))
                for i, t in pairs
                for key, number in (t.user_attrs if kind == "user" else t.system_attrs).items()
            ]
            insert(table, "trial_id, key, value_json", attrs)
    database.close()


def _write_journal(path: Path, made: Sequence[FrozenTrial]) -> None:
    """Write a journal as Optuna does, in one go."""
    lines: list[dict[str, Any]] = [
        {"op_code": 0, "worker_id": "made up", "study_name": "large", "directions": [2]}
    ]
    for trial in made:
        ranges = {n: distribution_to_json(d) for n, d in trial.distributions.items()}
        times = (
            {"datetime_start": trial.datetime_start.isoformat()} if trial.datetime_start else {}
        )
        if trial.datetime_complete:
            times["datetime_complete"] = trial.datetime_complete.isoformat()
        internal = {
            name: trial.distributions[name].to_internal_repr(one)
            for name, one in trial.params.items()
        }
        line = {
            **{"op_code": 4, "worker_id": "made up", "study_id": 0, **times},
            **{"state": trial.state.value, "value": trial.value, "values": None},
            **{"params": internal, "distributions": ranges, "user_attrs": trial.user_attrs},
            **{"system_attrs": trial.system_attrs, "intermediate_values": {}},
        }
        lines.append(line)
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")
