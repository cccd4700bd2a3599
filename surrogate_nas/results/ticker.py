"""A thread that calls a method now and then, for as long as there is something to say."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, final

LONGEST_SILENCE = 25.0
"""Seconds after which a line says how far things are. With a tick more they are below 30."""
_TICK_SECONDS = 2.0


@final
class Ticker:
    """Calls a method every few seconds until it returns False, or its object is gone.

    Args:
        tell: A method. Its object is not kept alive.
        seconds: Seconds between two calls.
    """

    def __init__(self, tell: Callable[[], bool], seconds: float = _TICK_SECONDS) -> None:
        self._tell: weakref.WeakMethod[Callable[[], bool]] = weakref.WeakMethod(tell)
        self._seconds = seconds
        self._stop: threading.Event | None = None

    def start(self) -> None:
        """Start the calls, unless they are under way."""
        if self._stop is not None and not self._stop.is_set():
            return
        self._stop = threading.Event()
        # NOTE: a daemon, so that a program ends although nobody has closed its bar.
        arguments: tuple[Any, ...] = (self._tell, self._stop, self._seconds)
        threading.Thread(target=_tick, args=arguments, daemon=True, name="progress").start()

    def stop(self) -> None:
        """Make no more calls; one that is under way ends."""
        if self._stop is not None:
            self._stop.set()


def _tick(
    tell: weakref.WeakMethod[Callable[[], bool]], stop: threading.Event, seconds: float
) -> None:
    """Call a method until it has nothing more to say."""
    while not stop.wait(seconds):
        method = tell()
        if method is None or not method():
            stop.set()
        del method
