"""Ending a training from outside: SIGTERM, Ctrl-C, and a step that does not come back."""

from __future__ import annotations

import ctypes
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, final

_logger = logging.getLogger(__name__)

_LEAST_GRACE = 1.0
_GRACE_SHARE = 0.1
_MOMENT_SECONDS = 0.02

_SIGNAL: signal.Signals | None = getattr(signal, "SIGALRM", None)
"""Interrupts what waits for the system, where there are such signals."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM; handled as Ctrl-C is."""


class StepHangs(BaseException):
    """A step has run far past the time limit; no ``except Exception`` of a network catches it."""


@contextmanager
def terminable() -> Iterator[None]:
    """Raise Terminated on SIGTERM and KeyboardInterrupt on Ctrl-C, but not within a storage.

    A call of a storage is finished first. A database that is left in the middle of writing stays
    locked, and a journal that is left in the middle of reading would skip a line. Handlers that
    the process has set itself stay. Python handles signals in its main thread only; in other
    threads nothing changes.
    """
    defaults: dict[signal.Signals, Any] = {
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGINT: signal.default_int_handler,
    }
    is_main = threading.current_thread() is threading.main_thread()
    ours = [n for n, handler in defaults.items() if is_main and signal.getsignal(n) is handler]
    for number in ours:
        signal.signal(number, _stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, defaults[number])


def _stop(number: int, frame: FrameType | None) -> None:
    if is_in_storage(frame):
        send_again(number)
    elif number == signal.SIGTERM:
        raise Terminated("SIGTERM")
    else:
        raise KeyboardInterrupt


def is_in_storage(frame: FrameType | None) -> bool:
    """Whether what was interrupted belongs to an operation of a storage.

    Waiting for a server that is away, which may take minutes, does not.
    """
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        if module == "surrogate_nas.storage.server" and frame.f_code.co_name == "wait_out":
            return False
        if module.startswith("optuna.storages"):
            return True
        frame = frame.f_back
    return False


def send_again(number: int) -> None:
    """Send this process a signal again in a moment."""
    timer = threading.Timer(_MOMENT_SECONDS, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


@final
class Watchdog:
    """Raises StepHangs in the thread that trains when it has not come back in time.

    Time is up a little after the time limit: a step that comes back ends the training itself.
    Python code can be ended, an endless loop for example. In the main thread a wait for the system
    can be, too, such as a sleep, a lock or a socket. A call into native code, such as a kernel
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
        # NOTE: after this no interrupt begins, and one that had begun has been sent.
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
            # NOTE: a signal also ends a wait for the system. An exception from another thread is
            # raised only when Python code runs again.
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
    if thread.ident is None:
        return  # it has not begun, so there is nothing to stop
    ident = ctypes.c_ulong(thread.ident)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(error))
