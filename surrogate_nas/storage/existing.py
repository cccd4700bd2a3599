"""Refuse to read from a storage that is not there, without making one."""

from __future__ import annotations

import contextlib
from pathlib import Path

import sqlalchemy as sa
from optuna.storages import BaseStorage
from sqlalchemy.exc import ArgumentError

from surrogate_nas.errors import StorageError
from surrogate_nas.storage.passwords import masked
from surrogate_nas.storage.server import engine_settings

_TABLE = "studies"
"""Table that every database of Optuna has."""


def require_existing(storage: str | BaseStorage | None) -> None:
    """Refuse an address at which there is no storage; no file is made there.

    Args:
        storage: See :func:`surrogate_nas.storage.opening.open_storage`. An object is taken as it
            is.

    Raises:
        StorageError: Nothing is stored there.
        SQLAlchemyError, ImportError: The database cannot be reached.
    """
    if isinstance(storage, BaseStorage):
        return
    if storage is None:
        raise StorageError(
            expected="a storage to read from",
            got="None, which stands for a new storage in memory",
            fix="pass the URL, the journal file or the storage object that the studies are in",
        )
    path = _file_of(storage)
    # NOTE: a missing folder is named by the attempt to open a file in it.
    if path is not None and not path.exists() and path.resolve().parent.is_dir():
        raise _nothing(storage, f"no file {path.name!r} in {str(path.resolve().parent)!r}")
    if "://" in storage and (path is None or path.is_file()):
        _require_tables(storage)


def _file_of(storage: str) -> Path | None:
    """Return the file of a SQLite or journal address; None for any other."""
    if "://" not in storage:
        return Path(storage)
    try:
        url = sa.make_url(storage)
    except (ArgumentError, ValueError):
        return None  # NOTE: what is wrong with it is said by the attempt to open it
    name = url.database or ""
    if url.get_backend_name() != "sqlite" or name in ("", ":memory:"):
        return None
    if name.startswith("file:"):
        name = name.removeprefix("file:").partition("?")[0]
        in_memory = "memory" in storage.partition("?")[2] or name in ("", ":memory:")
        return None if in_memory else Path(name)
    return Path(name)


def _require_tables(storage: str) -> None:
    """Refuse a SQLite database without Optuna's tables."""
    try:
        url = sa.make_url(storage)
        if url.get_backend_name() != "sqlite":
            return  # NOTE: on a server only the tables may be missing, and no file
        engine = sa.create_engine(url, **engine_settings(storage))
    except (ArgumentError, ValueError, TypeError):
        return  # NOTE: as above
    with contextlib.ExitStack() as stack:
        stack.callback(engine.dispose)
        if not sa.inspect(engine).has_table(_TABLE):
            raise _nothing(storage, "a database without studies")


def _nothing(storage: str, got: str) -> StorageError:
    return StorageError(
        expected=f"a storage with studies to read at {masked(storage)}",
        got=got,
        fix="check the address; nothing was made there",
    )
