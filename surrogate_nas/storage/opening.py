"""Open an Optuna storage, or raise an error that says why that does not work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import optuna
from optuna.exceptions import DuplicatedStudyError, UpdateFinishedTrialError
from optuna.storages import BaseStorage, get_storage
from sqlalchemy.exc import SQLAlchemyError

from surrogate_nas.errors import StorageError
from surrogate_nas.storage.existing import require_existing
from surrogate_nas.storage.given import as_storage
from surrogate_nas.storage.journal import JournalFile
from surrogate_nas.storage.locking_storage import LockedDatabase, LockedJournal, with_locks
from surrogate_nas.storage.optuna_private import backend_of, journal_path
from surrogate_nas.storage.passwords import masked, refuse_unescaped, without_secrets
from surrogate_nas.storage.server import open_database, with_tables, words_of

StorageLike: TypeAlias = str | os.PathLike[str] | BaseStorage | None

_JOURNAL_ENDINGS = (".log", ".journal")
_SQLITE_ENDINGS = (".db", ".sqlite", ".sqlite3")

_NO_STORAGE = (
    *(ValueError, TypeError, LookupError, AttributeError, AssertionError, ArithmeticError),
    *(RecursionError, DuplicatedStudyError, UpdateFinishedTrialError),
)
"""Exceptions raised for malformed addresses and for damaged lines of a journal."""

_SERVERS = ("postgresql", "mysql", "mariadb")

_FIXES = {
    "password authentication failed": "check the user and the password in the address",
    "no password supplied": "write the password into the address, after the user and a colon",
    "access denied": "check the user and the password in the address",
    "does not exist": "check the name; a database is made by createdb, its tables are made here",
    "read-only": "use a server and a user that may write; a standby may not",
    "readonly": "make the file and its folder writable, or use another one",
    "permission denied": "ask for the right to create and write tables in that database",
    "database is locked": "let fewer processes use the file at once, or use a database server",
    "no space left": "make room on the disk; what was told before is kept",
    "disk is full": "make room on the disk; what was told before is kept",
    "failed to import db access module": "install the driver of that database, or name one that "
    "is installed, such as postgresql+psycopg:// or mysql+pymysql://",
    "no module named": "install that driver, or name one that is installed, such as "
    "postgresql+psycopg:// or mysql+pymysql://",
    "can't load plugin": "write for example sqlite:///nas.db, postgresql+psycopg://user@host/name "
    "or mysql+pymysql://user@host/name, and install the driver that this names",
}
"""Remedy for each message of a database that contains the key."""


def open_storage(storage: StorageLike, *, to_read: bool = False) -> BaseStorage:
    """Open a storage.

    Args:
        storage: A database URL such as ``sqlite:///nas.db``, the path of a journal file that ends
            in ``.log`` or ``.journal``, a storage object, or None for memory. Operations on
            PostgreSQL and MySQL wait for a server that is away for a while.
        to_read: Whether the storage must be there already. Otherwise it is made.

    Raises:
        StorageError: The storage cannot be reached, is of another version of Optuna, or is not
            there. Or something else is given than a storage.
    """
    storage = as_storage(storage)
    if isinstance(storage, str) and "://" not in storage:
        _check_journal(storage)
    with reachable(storage):
        if to_read:
            require_existing(storage)
        return _opened(storage)


def _check_journal(path: str) -> None:
    """Refuse a text that is no URL and no path of a journal file."""
    if not path.endswith(_JOURNAL_ENDINGS):
        fix = "write for example sqlite:///nas.db, or nas.journal"
        # NOTE: a text with a password in it is an address after all, and is not repeated.
        if path.endswith(_SQLITE_ENDINGS) and masked(path) == path:
            name = path.removeprefix("sqlite:").lstrip("/") if "sqlite:" in path else path
            fix = f"write {'sqlite:///' + name!r} for a SQLite database, or 'nas.journal'"
        raise StorageError(
            expected="a database URL or a journal file",
            got=repr(masked(path)),
            fix=fix,
        )
    if not Path(path).resolve().parent.is_dir():
        raise StorageError(
            expected="a journal file in a folder that exists",
            got=repr(masked(path)),
            fix="make the folder first",
        )


def _opened(storage: str | BaseStorage | None) -> BaseStorage:
    """Open a storage. A text that is no URL is the path of a journal file.

    Raises:
        OSError: The address is malformed, or the file is no journal.
        StorageError: The tables are of another version of Optuna.
    """
    # NOTE: Optuna reads tables and journals here, and raises bare errors for malformed ones.
    try:
        if isinstance(storage, str) and "://" not in storage:
            return LockedJournal(JournalFile(storage))
        # A driver may be named behind the kind of database, after a plus sign.
        if isinstance(storage, str) and storage.split("://")[0].split("+")[0] in _SERVERS:
            return LockedDatabase(open_database(storage, masked(storage)))
        return with_locks(with_tables(lambda: get_storage(storage)))
    except _NO_STORAGE as error:
        said = without_secrets(str(error), storage)  # before it is cut: half of one is one
        raise OSError(f"not a storage ({type(error).__name__}: {said:.80})") from error
    except RuntimeError as error:
        if "table schema" not in str(error):
            raise
        raise StorageError(
            expected=f"tables that Optuna {optuna.__version__} can read at {masked(storage)}",
            got="tables of another version of Optuna",
            fix="install the Optuna that made them; or, for older tables, make a copy, then run "
            "optuna storage upgrade --storage and the address",
        ) from error


@contextmanager
def reachable(storage: StorageLike) -> Iterator[None]:
    """Raise a StorageError in place of the errors of databases and drivers."""
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
        refuse_unescaped(storage)
        wrapped = isinstance(error, optuna.exceptions.StorageInternalError)
        # NOTE: drivers repeat the address in their messages, so their error is not chained either.
        cause = words_of(error.__cause__ if wrapped and error.__cause__ else error, storage)
        fixes = [fix for sign, fix in _FIXES.items() if sign in cause.lower()]
        raise StorageError(
            expected=f"a storage that can be reached at {masked(storage)}",
            got=cause,
            fix=[*fixes, "check the address, that the folder or server exists, and the driver"][0],
        ) from None


def address_of(storage: BaseStorage) -> str | None:
    """Return the address of a storage without its password, or None if it is unknown."""
    backend = backend_of(storage)
    url = getattr(backend, "url", None)
    if isinstance(url, str):
        return masked(url)
    return journal_path(backend)
