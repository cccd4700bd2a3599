"""One thread of linear algebra where systems are small."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController

_limited = threading.Lock()


@functools.cache
def _libraries() -> ThreadpoolController:
    """Return the libraries that NumPy and SciPy have loaded; finding them takes milliseconds."""
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let NumPy and SciPy solve linear systems in one thread, whatever the environment says.

    The systems of a surrogate are small. Training and loading of data keep the cores busy, and
    then threads that wait for each other take more than twice as long as one. The function also
    serves as a decorator.
    """
    # NOTE: the limit holds for the whole process. A thread that comes while it is set leaves it as
    # it is. It may see the limit end early, which costs time and nothing else.
    if not _limited.acquire(blocking=False):
        yield
        return
    try:
        with _libraries().limit(limits=1, user_api="blas"):
            yield
    finally:
        _limited.release()
