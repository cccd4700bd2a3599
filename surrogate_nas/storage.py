"""Open an Optuna storage, or say plainly why that does not work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import optuna
from optuna.storages import BaseStorage, JournalStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from surrogate_nas.errors import StorageError

StorageLike: TypeAlias = str | BaseStorage | None

_JOURNAL_ENDINGS = (".log", ".journal")


def open_storage(storage: StorageLike) -> BaseStorage:
    """Open a storage.

    Args:
        storage: A database URL such as ``sqlite:///nas.db``, the path of a journal file that ends
            in ``.log`` or ``.journal``, a storage object, or None for memory.

    Raises:
        StorageError: It cannot be reached.
    """
    if isinstance(storage, str) and "://" not in storage:
        if not storage.endswith(_JOURNAL_ENDINGS):
            raise StorageError(
                expected="a database URL or a journal file",
                got=repr(storage),
                fix="write for example sqlite:///nas.db, or nas.journal",
            )
        if not Path(storage).resolve().parent.is_dir():
            raise StorageError(
                expected="a journal file in a folder that exists",
                got=repr(storage),
                fix="make the folder first",
            )
        return JournalStorage(JournalFileBackend(storage))
    with reachable(storage):
        return get_storage(storage)


@contextmanager
def reachable(storage: StorageLike) -> Iterator[None]:
    """Turn what databases and drivers raise while a storage is used into a StorageError."""
    try:
        yield
    except (
        SQLAlchemyError,
        optuna.exceptions.StorageInternalError,
        ImportError,
        OSError,
    ) as error:
        if isinstance(error, StorageError):
            raise
        cause = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
        raise StorageError(
            expected=f"a storage that can be reached at {masked(storage)}",
            got=f"{type(error).__name__}: {cause}",
            fix="check the address, that the folder or server exists, and the driver",
        ) from None


def masked(storage: StorageLike) -> str:
    """Return how to name a storage to people: its URL without the password."""
    if not isinstance(storage, str):
        return "memory" if storage is None else type(storage).__name__
    if "://" not in storage:
        return storage
    try:
        return make_url(storage).render_as_string(hide_password=True)
    except ArgumentError:
        return storage.split("://")[0] + "://..."
