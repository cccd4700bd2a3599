"""Write a file as a whole or not at all."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file so that no reader ever sees half of it.

    Args:
        path: Path of the file. An existing file is replaced.
        data: Contents of the file.
        durable: Whether to wait until the disk has the data, which then outlive a loss of power.
            Files that can be made again are not worth the wait.

    Raises:
        OSError: The file cannot be written. An existing file is unchanged.
    """
    # NOTE: the data go into another file of the same folder, as only a rename within one file
    # system is a single step.
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
