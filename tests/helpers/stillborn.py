"""Worker processes that are killed before they are ready."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from surrogate_nas.running.processes import worker_pool

_DIES = """
import os, pathlib, sys
for k in range({n_deaths}):
    try:
        os.close(os.open({folder!r} + "/" + str(k), os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        continue
    sys.stderr.write({words!r})
    sys.stderr.flush()
    os.kill(os.getpid(), {number})
"""


def kill_first(
    patch: pytest.MonkeyPatch,
    folder: Path,
    n_deaths: int,
    words: str = "",
    number: int = signal.SIGKILL,
) -> None:
    """Let the first processes of workers be killed before they import anything of ours.

    Args:
        patch: Patch of the test.
        folder: Empty folder, in which each death leaves a file.
        n_deaths: Number of processes.
        words: Text that each of them writes to its error stream.
        number: Number of the signal.
    """
    text = _DIES.format(n_deaths=n_deaths, folder=str(folder), words=words, number=int(number))
    escaped = text.replace("{", "{{").replace("}", "}}")
    patch.setattr(worker_pool, "_CODE", escaped + worker_pool._CODE)
