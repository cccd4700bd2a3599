"""Ending a training from outside: SIGTERM, and a step that does not come back."""

from __future__ import annotations

import ctypes
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import final

_logger = logging.getLogger(__name__)

_LEAST_GRACE = 1.0
_GRACE_SHARE = 0.1

_SIGNAL: signal.Signals | None = getattr(signal, "SIGALRM", None)
"""Interrupts what waits for the system, where there are such signals."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM; handled as Ctrl-C is."""


class StepHangs(BaseException):
    """A step has run far past the time limit; no ``except Exception`` of a network catches it."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise Terminated on SIGTERM, where the process has no handler of its own.

    Python handles signals in its main thread only; in other threads nothing changes.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated("SIGTERM")

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@final
class Watchdog:
    """Raises StepHangs in the thread that trains when it has not come back in time.

    Time is up a little after the time limit: a step that comes back ends the training itself. What
    can be ended is Python code, an endless loop for example; in the main thread also what waits
    for the system, such as a sleep, a lock or a socket. A call into native code, such as a kernel
    that never ends, can only be ended together with its process; then one line in the log says so.

    Args:
        seconds_left: Until the time limit.
        time_limit: The limit itself; the grace is a tenth of it, and a second at least.
    """

    def __init__(self, seconds_left: float, time_limit: float) -> None:
        self._grace = max(_LEAST_GRACE, _GRACE_SHARE * time_limit)
        self._patience = max(seconds_left, 0.0) + self._grace
        self._thread = threading.current_thread()
        self._has_signal = False
        self._has_raised = False
        self._is_over = False
        self._lock = threading.Lock()
        self._timers: list[threading.Timer] = []

    def __enter__(self) -> None:
        if math.isinf(self._patience):
            return
        is_main = self._thread is threading.main_thread()
        if is_main and _SIGNAL is not None and signal.getsignal(_SIGNAL) is signal.SIG_DFL:
            signal.signal(_SIGNAL, self._on_signal)
            self._has_signal = True
        self._after(self._patience, self._interrupt)
        self._after(self._patience + self._grace, self._complain)

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        for timer in self._timers:
            timer.cancel()
        with self._lock:
            self._is_over = True
        if self._has_signal and _SIGNAL is not None:
            # What is on its way must be ignored, or it would end the process.
            signal.signal(_SIGNAL, signal.SIG_IGN)
            signal.signal(_SIGNAL, signal.SIG_DFL)
        elif self._has_raised and kind is not StepHangs:
            # Still on its way. It cannot be called back: that would leave Python looking for it.
            with suppress(StepHangs):
                for _ in range(100):
                    time.sleep(0.001)

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        timer = threading.Timer(min(seconds, threading.TIMEOUT_MAX), call)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    def _interrupt(self) -> None:
        with self._lock:
            if self._is_over:
                return
            if self._has_signal and _SIGNAL is not None and self._thread.ident is not None:
                signal.pthread_kill(self._thread.ident, _SIGNAL)
            else:
                self._has_raised = True
                _raise_in(self._thread, StepHangs)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._is_over:
            raise StepHangs

    def _complain(self) -> None:
        with self._lock:
            if not self._is_over:
                _logger.error(
                    "A training step hangs in native code, which cannot be ended from inside. End "
                    "the process; the same lines then continue the study."
                )


def _raise_in(thread: threading.Thread, error: type[BaseException]) -> None:
    """Raise an exception in another thread as soon as it runs Python code."""
    assert thread.ident is not None
    ident = ctypes.c_ulong(thread.ident)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(error))
