"""Studies that many workers share, in each kind of storage."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.storages.journal import JournalFileBackend

from surrogate_nas.storage.opening import open_storage
from tests.helpers.toys import ToySpace

KINDS = ("journal", "sqlite", "postgres")

engines: list[sa.Engine] = []
"""Of the databases that the current test has opened."""


def address(kind: str, folder: Path, request: Any) -> str:
    """Where a storage of a kind is: a file in a folder, or a new database of the tests' server."""
    if kind == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return {"journal": f"{folder}/nas.journal", "sqlite": f"sqlite:///{folder}/nas.db"}[kind]


def opened(place: str) -> optuna.storages.BaseStorage:
    """Open a storage as a user would without this package."""
    if "://" in place:
        storage = optuna.storages.RDBStorage(place)
        engines.append(storage.engine)
        return optuna.storages.get_storage(storage)
    backend = JournalFileBackend(place)
    return optuna.storages.JournalStorage(backend)


def new_study(place: str, **arguments: Any) -> optuna.Study:
    """Make or load the study in a storage."""
    return optuna.create_study(
        storage=opened(place),
        study_name="toy",
        direction="maximize",
        load_if_exists=True,
        **{"sampler": optuna.samplers.RandomSampler(), **arguments},
    )


def patient_study(url: str) -> optuna.Study:
    """Make or load the study in a storage that waits for its server."""
    return optuna.create_study(
        storage=open_storage(url),
        study_name="toy",
        direction="maximize",
        sampler=optuna.samplers.RandomSampler(),
        load_if_exists=True,
    )


def width(trial: optuna.Trial) -> float:
    """An objective of a moment, once there is a second worker."""
    architecture = ToySpace().suggest(trial)
    until = time.monotonic() + 60
    while len(workers_of(trial.study)) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    return float(architecture["width"])


def workers_of(study: optuna.Study) -> set[str]:
    """The names of all workers that have had a trial."""
    attrs = [trial.system_attrs for trial in study.get_trials(deepcopy=False)]
    return {attr["surrogate_nas:worker"] for attr in attrs if "surrogate_nas:worker" in attr}
