"""The address of a study's storage, from which a worker elsewhere can open it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import sqlalchemy as sa
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy.exc import ArgumentError

from surrogate_nas.errors import StudyError
from surrogate_nas.storage.opening import address_of, open_storage
from surrogate_nas.storage.optuna_private import backend_of, journal_path
from surrogate_nas.storage.server import PatientDatabase

_BUSY_SECONDS = 60.0
"""How long a worker waits for a SQLite file that another one writes; 5 are too few for eight."""


@final
@dataclass(frozen=True)
class Address:
    """Address of a storage.

    Args:
        place: Database URL with its password, or path of a journal file. Show it to nobody without
            ``surrogate_nas.storage.passwords.masked``.
        engine_kwargs: Settings of SQLAlchemy beside the URL.
        file: File of a SQLite or journal storage; None for a database server.
    """

    place: str = field(repr=False)
    engine_kwargs: Mapping[str, Any] = field(default_factory=dict, repr=False)
    file: Path | None = None

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a SQLite file, in which one process at a time can write."""
        return self.file is not None and "://" in self.place

    def open(self) -> BaseStorage:
        """Connect.

        Raises:
            StorageError: The storage cannot be reached.
        """
        if not self.engine_kwargs:
            return open_storage(self.place)
        return open_storage(RDBStorage(self.place, engine_kwargs=dict(self.engine_kwargs)))


def address_to_share(storage: BaseStorage) -> Address:
    """Return the address of a storage that several processes can open.

    Raises:
        StudyError: The storage is in memory, or of a kind that only its maker can open.
    """
    backend = backend_of(storage)
    if isinstance(backend, RDBStorage):
        url = sa.engine.make_url(backend.url)
        if isinstance(backend, PatientDatabase):
            return Address(backend.url)  # opened so again
        if url.get_backend_name() != "sqlite":
            return Address(backend.url, dict(backend.engine_kwargs))
        name = url.database
        if name and name != ":memory:" and not name.startswith("file:"):
            return _sqlite(url, backend)
    path = journal_path(backend)
    if path is not None:
        resolved = Path(path).resolve()
        return Address(str(resolved), file=resolved)
    raise StudyError(
        expected="a study in a storage that several processes can open: PostgreSQL or MySQL by "
        "its URL, a journal file, or a SQLite file",
        got=_words(storage),
        fix='create it with for example storage="nas.journal", or train with sn.optimize',
    )


def _sqlite(url: sa.engine.URL, backend: RDBStorage) -> Address:
    """Return the address of a SQLite file: its full path, and a long time to wait for it."""
    path = Path(str(url.database)).resolve()
    kwargs = dict(backend.engine_kwargs)
    kwargs["connect_args"] = {"timeout": _BUSY_SECONDS, **kwargs.get("connect_args", {})}
    return Address(url.set(database=str(path)).render_as_string(False), kwargs, path)


def _words(storage: BaseStorage) -> str:
    """Return a storage's name for people."""
    try:
        return f"{address_of(storage) or 'one in memory'} ({type(storage).__name__})"
    except ArgumentError:
        return type(storage).__name__
