"""Locks on files, by which a later process finds out which trials have lost their process.

The process of a running trial holds a lock on a file. The operating system releases the lock when
the process ends, however it ends. A free lock therefore says that a trial is dead, a held one that
it is alive. A missing file says neither: it may be on another machine. Windows has no such locks.
"""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, final

from optuna.trial import FrozenTrial

from surrogate_nas.attributes import LOCK, QUEUE_LOCK

if sys.platform != "win32":
    import fcntl

_NAME = ("running-", ".lock")
"""Beginning and end of the name of every lock's file."""
_TRIES = 5
"""Attempts to make a folder that other processes may remove as they end."""


_open: weakref.WeakSet[IO[bytes]] = weakref.WeakSet()


def _close_all() -> None:
    """Close the files of all locks."""
    for file in list(_open):
        file.close()


if sys.platform != "win32":
    # NOTE: a forked child shares the lock, and would hold it after this process has ended.
    os.register_at_fork(after_in_child=_close_all)


class NoLocksError(OSError):
    """Files cannot be locked in a folder."""


@final
class RunningLock:
    """A lock that this process holds until it is released or forgotten, or the process ends.

    A lock that is forgotten leaves its file behind, which says that the trial is dead.

    Args:
        folder: Folder of the lock's file; it is made if it does not exist.

    Raises:
        NoLocksError: Files cannot be locked here.
        OSError: The folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.path, self._file = _new_file(folder)
        _open.add(self._file)
        weakref.finalize(self, self._file.close)
        if not take(self._file):
            self.release()
            raise NoLocksError("files cannot be locked here")

    def release(self) -> None:
        """Remove the lock and its file. Another call has no effect."""
        if not self._file.closed:
            _remove(self.path)
            self._file.close()


def _remove(path: Path) -> None:
    """Remove a lock's file, and its folder if that is empty and for locks alone."""
    with contextlib.suppress(OSError):  # others have locks there, or have removed it
        path.unlink(missing_ok=True)
        if path.parent.name.endswith("running"):
            path.parent.rmdir()


def _new_file(folder: Path) -> tuple[Path, IO[bytes]]:
    """Create a lock's file under a name of its own."""
    begin, end = _NAME
    path = folder.resolve() / f"{begin}{uuid.uuid4().hex}{end}"
    for _ in range(_TRIES):
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            return path, path.open("xb")
    raise FileNotFoundError(f"the folder {str(folder)!r} is removed again and again")


def take(file: IO[Any]) -> bool:
    """Lock a file until it is closed.

    Returns:
        Whether the file is locked now. It is not if another process holds the lock, or if files
        cannot be locked here.
    """
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    # NOTE: a file without a name was removed by its last holder, and its lock says nothing.
    return os.fstat(file.fileno()).st_nlink > 0


def clear_locks(trial: FrozenTrial) -> None:
    """Remove the files of a trial's locks whose process has ended."""
    with taken_from_dead(trial):
        pass


@contextmanager
def taken_from_dead(trial: FrozenTrial) -> Iterator[bool]:
    """Hold all locks of a trial whose process has ended, and remove their files in the end.

    Yields:
        Whether its process has ended. Then at least one of its locks is here, and none is held.
    """
    paths = lock_paths(trial)
    with contextlib.ExitStack() as stack:
        taken = []
        is_alive = False
        for path in paths:
            try:
                file = stack.enter_context(path.open("rb"))
            except OSError:
                continue  # the lock of another machine, or of a trial that has just ended
            if take(file):
                taken.append(path)
            else:
                is_alive = True
        is_dead = bool(taken) and not is_alive
        yield is_dead
        for path in taken if is_dead else []:
            _remove(path)


def lock_paths(trial: FrozenTrial) -> list[Path]:
    """Return the files of a trial's locks that exist on this machine."""
    # NOTE: another process wrote these paths. Files that are not named as locks are left out, so
    # that no other file is ever opened or removed.
    named = [v for k, v in trial.system_attrs.items() if k == LOCK or k.startswith(QUEUE_LOCK)]
    paths = [Path(text) for text in named if isinstance(text, str)]
    begin, end = _NAME
    named_so = [p for p in paths if p.name.startswith(begin) and p.name.endswith(end)]
    # NOTE: is_file of a path raises an error for a name that is too long.
    return [path for path in named_so if os.path.isfile(path)]
