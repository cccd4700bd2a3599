"""Locks on files, by which a later process finds out which trials have lost their process.

The process of a running trial holds a lock on a file. The operating system releases the lock when
the process ends, however it ends. A free lock therefore says that a trial is dead, a held one that
it is alive. A missing file says neither: it may be on another machine. A lock that cannot be
tried, for want of rights or descriptors, says nothing at all: then nobody takes anything away.
Windows has no such locks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import uuid
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias, final

from optuna.trial import FrozenTrial

from surrogate_nas.attributes import LOCK, QUEUE_LOCK

if sys.platform != "win32":
    import fcntl

LockState: TypeAlias = Literal["held", "free", "missing", "unknown"]
"""What a file says about the process that locks it: "free" alone says that the process is gone,
and so does "missing" where the file must be on this machine."""

_NAME = ("running-", ".lock")
"""Beginning and end of the name of every lock's file."""
_TRIES = 5
"""Attempts to make a folder that other processes may remove as they end."""


_open: weakref.WeakSet[IO[bytes]] = weakref.WeakSet()
"""Files that this process has locked for itself."""


def _close_all() -> None:
    """Close the files of all locks."""
    for file in list(_open):
        file.close()


if sys.platform != "win32":
    # NOTE: a forked child, such as one that decodes batches, shares the lock, and would hold it
    # after this process has ended.
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
        if not _is_taken(self._file):
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


def _is_taken(file: IO[Any]) -> bool:
    """Lock a file that no other process knows; return whether files can be locked here."""
    if sys.platform == "win32":
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def wait_for(path: Path) -> IO[bytes]:
    """Lock a file as soon as it is free, until it is closed or this process ends.

    Args:
        path: The file. It is made if it does not exist, and so is its folder.

    Raises:
        OSError: The file cannot be written, or cannot be locked.
    """
    if sys.platform == "win32":
        raise NoLocksError("files cannot be locked as workers need it on Windows")
    while True:
        path.parent.mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(path.open("ab"))
            _open.add(file)
            fcntl.flock(file, fcntl.LOCK_EX)
            if os.fstat(file.fileno()).st_nlink:  # else whoever had it has removed it
                stack.pop_all()
                return file


@contextmanager
def lock_state(path: Path, *, shared: bool = False) -> Iterator[LockState]:
    """Try the lock of another process. If it is free, it is held until the block ends.

    Args:
        path: File of the lock.
        shared: Whether others may try it at the same time, and find it free, too.
    """
    with contextlib.ExitStack() as stack:
        yield _state(path, stack, shared)


def _state(path: Path, stack: contextlib.ExitStack, shared: bool) -> LockState:
    """Return what a lock's file says; a free one is held until the stack is closed."""
    if sys.platform == "win32":
        return "unknown"
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        # NOTE: not blocking, as the path is somebody else's text, and may be a pipe's.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        stack.callback(os.close, descriptor)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return "unknown"
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        # NOTE: a file without a name was removed by its last holder, and its lock says nothing.
        return "free" if os.fstat(descriptor).st_nlink else "unknown"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except BlockingIOError:
        return "held"
    except (OSError, ValueError):
        # NOTE: without the right to open it, or without descriptors, nobody can know. What
        # another process may still train must not be taken away.
        return "unknown"


def clear_locks(trial: FrozenTrial) -> None:
    """Remove the files of a trial's locks whose process has ended."""
    with taken_from_dead(trial):
        pass


@contextmanager
def taken_from_dead(trial: FrozenTrial) -> Iterator[bool]:
    """Hold all locks of a trial whose process has ended, and remove their files in the end.

    Yields:
        Whether its process has ended. Then at least one of its locks is here, and each that is
        here is free.
    """
    with contextlib.ExitStack() as stack:
        # NOTE: a missing one is of another machine, or of a trial that has just ended.
        states = {path: stack.enter_context(lock_state(path)) for path in lock_paths(trial)}
        free = [path for path, state in states.items() if state == "free"]
        is_dead = bool(free) and set(states.values()) <= {"free", "missing"}
        yield is_dead
        for path in free if is_dead else []:
            _remove(path)


def lock_paths(trial: FrozenTrial) -> list[Path]:
    """Return the files of a trial's locks that are on this machine, as far as that is known."""
    if sys.platform == "win32":
        return []
    # NOTE: another process wrote these paths. Files that are not named as locks are left out, so
    # that no other file is ever opened or removed.
    named = [v for k, v in trial.system_attrs.items() if k == LOCK or k.startswith(QUEUE_LOCK)]
    paths = [Path(text) for text in named if isinstance(text, str)]
    begin, end = _NAME
    named_so = [p for p in paths if p.name.startswith(begin) and p.name.endswith(end)]
    return [path for path in named_so if _may_be_here(path)]


def _may_be_here(path: Path) -> bool:
    """Return whether a path may be a file's: it is one, or it cannot be looked at."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        return error.errno != errno.ENAMETOOLONG  # then it is the name of no file
