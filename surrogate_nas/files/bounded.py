"""Read a regular file of bounded size, or raise the caller's error that says why not."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import NoReturn, TypeAlias

FilePath: TypeAlias = str | os.PathLike[str]
Refusal: TypeAlias = Callable[[str], Exception]
"""Makes the caller's error from a few words on the obstacle, such as "it is no regular file"."""

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def read_bounded(
    path: FilePath, most: int, refuse: Refusal | None = None, *, follow_links: bool = True
) -> bytes:
    """Return the contents of a file.

    Args:
        path: The file.
        most: Largest size in bytes.
        refuse: Makes the error to raise; by default an OSError, as the system raised it.
        follow_links: Whether a symbolic link is followed, or refused.

    Raises:
        OSError: The file cannot be read, is no regular file, or is larger. With `refuse`, its
            error is raised instead.
    """
    try:
        # NOTE: opened without waiting, as a pipe would be waited for until somebody writes.
        descriptor = os.open(path, _FLAGS if follow_links else _FLAGS | _NO_LINK)
        try:
            found = os.fstat(descriptor)
            _require_regular(found, most)
            with open(descriptor, "rb", closefd=False) as file:
                # NOTE: one byte more than it has shows whether it grew meanwhile. Asked for
                # `most` bytes, Python would take memory for all of them.
                data = file.read(found.st_size + 1)
                if len(data) > found.st_size:
                    data += file.read(most + 1 - len(data))
        finally:
            os.close(descriptor)
        _require_size(len(data), most)
    except (OSError, ValueError) as error:  # a path with a null character is a ValueError
        _raise(error, refuse)
    return data


def bounded_size(
    path: FilePath, most: int, refuse: Refusal | None = None, *, follow_links: bool = True
) -> int:
    """Return the size in bytes of a file, for a caller whose library opens it by its path.

    Args:
        path: The file.
        most: Largest size in bytes.
        refuse: Makes the error to raise; by default an OSError, as the system raised it.
        follow_links: Whether a symbolic link is followed, or refused.

    Raises:
        OSError: See :func:`read_bounded`.
    """
    try:
        found = os.stat(path, follow_symlinks=follow_links)
        _require_regular(found, most)
    except (OSError, ValueError) as error:
        _raise(error, refuse)
    return found.st_size


def _require_regular(found: os.stat_result, most: int) -> None:
    """Refuse a folder, a pipe or a device, whose size says nothing, and too large a file."""
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is no regular file")
    _require_size(found.st_size, most)


def _require_size(n_bytes: int, most: int) -> None:
    """Refuse a file that is larger than its bound."""
    if n_bytes > most:
        bound = f"{most:,} bytes" if most % 2**20 else f"{most // 2**20:,} MiB"
        raise OSError(f"it is larger than {bound}")


def _raise(error: OSError | ValueError, refuse: Refusal | None) -> NoReturn:
    """Raise the caller's error in place of the system's, if the caller has one."""
    if refuse is None:
        raise error
    raise refuse(str(error)) from error
