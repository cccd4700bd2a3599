"""Write a file as a whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file beside its place, then put it there in one step: no reader sees half of it.

    Args:
        path: Where; an existing file is replaced.
        data: All of its contents.
        durable: Whether to wait until the disk has it, so that it outlives a loss of power; for
            what can be made anew that is not worth the wait.

    Raises:
        OSError: It cannot be written; what was there before still is.
    """
    beside = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
