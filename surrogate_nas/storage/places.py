"""Folders for files that belong to a storage."""

from __future__ import annotations

import os
from pathlib import Path

from optuna.storages import BaseStorage, InMemoryStorage

from surrogate_nas.storage.optuna_private import backend_of, journal_path


def folder_beside(storage: BaseStorage, what: str) -> Path | None:
    """Return the default folder of files that belong to a storage, which is beside its file.

    Args:
        storage: The storage.
        what: Kind of the files. "artifacts" gives ``nas-artifacts`` beside ``nas.db``.

    Returns:
        The folder, or None for a storage that is no file on this machine.
    """
    backend = backend_of(storage)
    engine = getattr(backend, "engine", None)
    name = journal_path(backend)
    if engine is not None and engine.url.get_backend_name() == "sqlite":
        name = engine.url.database
    if not isinstance(name, str) or name in ("", ":memory:") or name.startswith("file:"):
        return None
    path = Path(name)
    return path.with_name(f"{path.stem}-{what}")


def lock_folder(storage: BaseStorage) -> Path | None:
    """Return the folder for the locks of running trials, or None for a storage in memory.

    The folder is beside the storage's file. For a database server it is in the user's cache.
    """
    if isinstance(storage, InMemoryStorage):
        return None
    backend = backend_of(storage)
    engine = getattr(backend, "engine", None)
    beside = folder_beside(storage, "running")
    if beside is not None or (engine is not None and engine.url.get_backend_name() == "sqlite"):
        return beside
    # NOTE: unlike the temporary folder, the cache outlives a restart of the machine.
    shared = os.environ.get("XDG_CACHE_HOME")
    cache = Path(shared) if shared else Path("~/.cache").expanduser()
    return cache / "surrogate_nas" / "running"
