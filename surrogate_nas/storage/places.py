"""Folders for files that belong to a storage, and folders that the user has named.

Whoever may write to a storage may write any path into it. A path that comes from a storage is
therefore used only if it leads to a place of the storage's own, or of the user's.
"""

from __future__ import annotations

import os
from pathlib import Path

from optuna.storages import BaseStorage, InMemoryStorage

from surrogate_nas.storage.optuna_private import backend_of, journal_path

_given: set[str] = set()
"""Absolute paths of the folders that the user has named in this process."""


def note_given(folder: Path) -> None:
    """Remember a folder that the user has named, so that a storage may name it, too."""
    _given.add(os.path.abspath(folder))


def is_known(storage: BaseStorage, folder: str) -> bool:
    """Return whether a folder that a storage names is the user's or the storage's own.

    The storage's own are the folder of its file and those below. A database server has none.
    """
    path = os.path.abspath(folder)
    if path in _given:
        return True
    beside = folder_beside(storage, "artifacts")
    if beside is None:
        return False
    own = (Path(os.path.abspath(beside)).parent, beside.resolve().parent)
    try:
        # NOTE: the text is compared first. To follow links of another path may contact a machine.
        return any(
            len(place.parts) > 1 and Path(path).is_relative_to(place) for place in own
        ) and Path(path).resolve().is_relative_to(own[1])
    except (OSError, ValueError, RuntimeError):  # no path, or links in a circle
        return False


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
