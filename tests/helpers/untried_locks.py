"""Circumstances in which nobody can find out whether another process holds a lock."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

import pytest

fcntl = pytest.importorskip("fcntl", reason="files are locked where there is fcntl")
resource = pytest.importorskip("resource")


@contextlib.contextmanager
def no_descriptors() -> Iterator[None]:
    """Let this process open no further file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (used[0] + 1, hard))
    try:
        with contextlib.suppress(OSError):
            while True:  # descriptors below the limit that were free
                used.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in used:
            os.close(descriptor)


def _refusing(module: Any, name: str, number: int) -> AbstractContextManager[Any]:
    """Let a function of the system fail with an error number."""
    return mock.patch.object(module, name, side_effect=OSError(number, os.strerror(number)))


UNTRIED: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "no rights": lambda: _refusing(os, "open", errno.EACCES),
    "no descriptors": no_descriptors,
    "no descriptors of the system": lambda: _refusing(os, "open", errno.ENFILE),
    "a file that has moved": lambda: _refusing(os, "open", errno.ESTALE),
    "no locks": lambda: _refusing(fcntl, "flock", errno.ENOLCK),
    "an interrupted system": lambda: _refusing(fcntl, "flock", errno.EIO),
}
"""Each as a context in which it is so."""
