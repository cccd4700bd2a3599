"""Read a regular file of bounded size, or say why not."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_bounded(path: Path, most: int) -> bytes:
    """Return the bytes of a file; a pipe, which would be waited for, is not opened for good.

    Args:
        path: The file.
        most: Largest size in bytes.

    Raises:
        OSError: It cannot be read, is no regular file, or is larger.
    """
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{str(path)!r} is no regular file")
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(f"{str(path)!r} has more than {most:,} bytes")
    return data
