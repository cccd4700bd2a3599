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
    """What NumPy and SciPy have loaded; finding that takes milliseconds."""
    return ThreadpoolController()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let NumPy and SciPy solve linear systems in one thread, whatever the environment says.

    The systems of a surrogate are small. Where other processes keep the cores busy, as training
    and loading of data do, threads that wait for each other take more than twice as long as one.
    The number is one of the whole process: whoever comes while it is limited leaves it as it is,
    and may see it end early, which costs time but nothing else. Also a decorator of functions.
    """
    if not _limited.acquire(blocking=False):
        yield
        return
    try:
        with _libraries().limit(limits=1, user_api="blas"):
            yield
    finally:
        _limited.release()
