"""SQLite databases for tests, and changes to them behind Optuna's back."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from optuna.storages import RDBStorage


def quick_storage(path: Path) -> RDBStorage:
    """A database that does not wait for the disk: only a power cut could harm it."""
    storage = RDBStorage(f"sqlite:///{path}")

    def relax(connection: Any, _record: Any) -> None:
        connection.execute("pragma synchronous = off")

    sa.event.listen(storage.engine, "connect", relax)
    storage.engine.dispose()  # connections made from here on are relaxed
    return storage


def edit(path: Path, *statements: str) -> None:
    """Run SQL on a database file."""
    with sqlite3.connect(path) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()
