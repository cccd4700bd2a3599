"""Optuna's private names, which are used here and nowhere else in the package.

A version of Optuna that changes one of them breaks this module alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeAlias, cast

import optuna
import sqlalchemy as sa
from optuna import pruners
from optuna.artifacts import FileSystemArtifactStore
from optuna.storages import BaseStorage, RDBStorage, _CachedStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import get_lock_file
from optuna.study._frozen import FrozenStudy
from optuna.trial import BaseTrial, FrozenTrial

Database: TypeAlias = RDBStorage | _CachedStorage
"""A database, with or without Optuna's store of trials around it."""

CachedDatabase: TypeAlias = _CachedStorage
"""A database with Optuna's store of trials around it."""

MEMORY_LOGGER = "optuna.storages._in_memory"
"""Name of the logger of Optuna's storage in memory."""


def storage_of(study: optuna.Study) -> BaseStorage:
    """Return the storage that a study is in."""
    return study._storage


def id_of(owner: optuna.Study | FrozenStudy | BaseTrial) -> int:
    """Return the number by which a storage knows a study or a trial."""
    # NOTE: HyperbandPruner shows samplers a study that refuses to be asked for its ``__class__``,
    # which isinstance does.
    kind = type(owner)
    if issubclass(kind, FrozenTrial | optuna.Trial):
        return cast(FrozenTrial | optuna.Trial, owner)._trial_id
    if issubclass(kind, optuna.Study | FrozenStudy):
        return cast(optuna.Study | FrozenStudy, owner)._study_id
    raise TypeError(f"a {kind.__name__} is in no storage")


def stored_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return all trials of a study, not copied, those included that a pruner has filtered out."""
    return study._storage.get_all_trials(study._study_id, deepcopy=False)


def stored_trial(study: optuna.Study, trial: optuna.Trial | FrozenTrial) -> FrozenTrial:
    """Return a trial as the storage has it now."""
    return study._storage.get_trial(trial._trial_id)


def latest_trial(trial: optuna.Trial) -> FrozenTrial:
    """Return a running trial as its storage has it now."""
    return trial._get_latest_trial()


def shown_by_pruner(study: optuna.Study, trial: FrozenTrial) -> optuna.Study:
    """Return the study as its pruner shows it to the sampler of a trial."""
    return pruners._filter_study(study, trial)


def study_system_attrs(study: optuna.Study) -> Mapping[str, Any]:
    """Return the system attributes of a study."""
    return study._storage.get_study_system_attrs(study._study_id)


def set_study_system_attr(study: optuna.Study, name: str, value: Any) -> None:
    """Write a system attribute of a study."""
    study._storage.set_study_system_attr(study._study_id, name, value)


def set_trial_system_attr(
    study: optuna.Study, trial: optuna.Trial | FrozenTrial, name: str, value: Any
) -> None:
    """Write a system attribute of a trial that has not finished."""
    study._storage.set_trial_system_attr(trial._trial_id, name, value)


def set_trial_user_attr(
    study: optuna.Study, trial: optuna.Trial | FrozenTrial, name: str, value: Any
) -> None:
    """Write a user attribute of a trial that has not finished."""
    study._storage.set_trial_user_attr(trial._trial_id, name, value)


@contextmanager
def in_loop(study: optuna.Study) -> Iterator[None]:
    """Let callbacks call ``study.stop()``, which Optuna allows within its own loop alone."""
    study._stop_flag = False
    study._thread_local.in_optimize_loop = True
    try:
        yield
    finally:
        study._thread_local.in_optimize_loop = False


def is_stopped(study: optuna.Study) -> bool:
    """Whether a callback has called ``study.stop()``."""
    return study._stop_flag


def as_database(storage: BaseStorage) -> Database | None:
    """Return a storage that is a database; None for any other."""
    return storage if isinstance(storage, RDBStorage | _CachedStorage) else None


def backend_of(storage: BaseStorage) -> Any:
    """Return what a storage keeps trials in: a database, a journal's file, or itself."""
    return getattr(storage, "_backend", storage)


def journal_path(backend: Any) -> str | None:
    """Return the path of a journal's file; None for any other backend."""
    path = getattr(backend, "_file_path", None)
    return path if isinstance(path, str) else None


def journal_lock(backend: JournalFileBackend) -> AbstractContextManager[None]:
    """Return the lock of a journal, held by whoever writes."""
    return get_lock_file(backend._lock)


def folder_of(store: FileSystemArtifactStore) -> Path:
    """Return the folder that artifacts are kept in."""
    return Path(store._base_path)


CALLED_BY_STORE = ("_get_best_trial_id", "_get_trials", "_set_trial_param")
"""Methods of a database that Optuna's store of trials calls beside the public ones."""

StoredTrial: TypeAlias = models.TrialModel
StoredSystemAttribute: TypeAlias = models.TrialSystemAttributeModel
Session: TypeAlias = sa.orm.Session


class HookedDatabase(RDBStorage):
    """An RDBStorage whose inner steps have public names, for a subclass to override."""

    def create_stored(self, study_id: int, template: FrozenTrial | None) -> FrozenTrial:
        """Create a trial in a transaction of its own."""
        return super()._create_new_trial(study_id, template)

    def prepare_stored(
        self, study_id: int, template: FrozenTrial | None, session: Session
    ) -> StoredTrial:
        """Add the rows of a new trial to a transaction that holds a lock on the study."""
        return super()._get_prepared_new_trial(study_id, template, session)

    def read_stored(self, trial: StoredTrial) -> FrozenTrial:
        """Make a trial of its rows."""
        return super()._build_frozen_trial_from_trial_model(trial)

    def stale_ids(self, study_id: int) -> list[int]:
        """Find the running trials without recent heartbeats."""
        return super()._get_stale_trial_ids(study_id)

    def session(self) -> AbstractContextManager[Session]:
        """Begin a transaction, or join the one that this thread is in."""
        return _create_scoped_session(self.scoped_session)

    def add_system_attr(self, session: Session, trial_id: int, name: str, value: Any) -> None:
        """Write a system attribute of a trial within a transaction."""
        self._set_trial_attr_without_commit(session, StoredSystemAttribute, trial_id, name, value)

    # Optuna calls the private names below, which lead to the public ones above.
    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        return self.create_stored(study_id, template_trial)

    def _get_prepared_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None, session: Session
    ) -> StoredTrial:
        return self.prepare_stored(study_id, template_trial, session)

    def _build_frozen_trial_from_trial_model(self, trial: StoredTrial) -> FrozenTrial:
        return self.read_stored(trial)

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        return self.stale_ids(study_id)
