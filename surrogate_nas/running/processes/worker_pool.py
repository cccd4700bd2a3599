"""Worker processes that are started and stopped together, and one queue of their messages."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import IO, Any, Self, final

from surrogate_nas.errors import visible
from surrogate_nas.running.processes.messages import packed, receive
from surrogate_nas.storage.passwords import without_passwords

_GRACE_SECONDS = 10.0
"""How long a worker that is stopped has for a checkpoint."""
_FORWARD_SECONDS = 1.0
"""How long to wait for what an ended process has written to its error stream. A child of it may
have the stream open for longer."""
_MOST_KEPT = 4096
_MOST_LINES = 4
_MOST_CHARACTERS = 400
_ERROR_STREAM = 2
_CODE = "import sys; sys.path[:] = {path!r}; from {module} import main; main({n})"


@final
class Worker:
    """One worker process.

    Args:
        packed_objective: Objective that it runs, by
            :func:`~surrogate_nas.running.processes.messages.packed`.
        n_threads: Number of PyTorch's threads within an operation.
        events: Queue for (worker, message) of each message, and for (worker, None) at the end.
        module: Module whose ``main(n_threads)`` is the process.
        environment: Environment variables in which the process differs from this one.
    """

    def __init__(
        self,
        packed_objective: bytes,
        n_threads: int,
        events: queue.Queue[tuple[Worker, Any]],
        *,
        module: str = "surrogate_nas.running.processes.worker",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        # NOTE: a session of its own: Ctrl-C on the terminal is the study's to handle.
        self._process = subprocess.Popen(
            # The process gets this one's path, so that it can import the same modules.
            [sys.executable, "-c", _CODE.format(path=sys.path, module=module, n=n_threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": str(n_threads), **(environment or {})},
            start_new_session=True,
        )
        # NOTE: a thread writes, as a full pipe would stop the study until the worker reads.
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._outbox.put(packed_objective)
        for work in (lambda: self._read(self._process.stdout, events), self._write):
            threading.Thread(target=work, daemon=True).start()
        self._written = b""
        self._forward = threading.Thread(target=self._repeat_errors, daemon=True)
        self._forward.start()

    def send(self, message: object) -> None:
        """Send a message. One that no longer arrives is no error: the end is an event."""
        self._outbox.put(packed(message))

    def _write(self) -> None:
        """Write the messages, until the process or this object ends."""
        pipe = self._process.stdin
        if pipe is None:
            return  # as its type allows, though the process was started with one
        with contextlib.suppress(OSError), pipe:
            # None ends the loop and closes the pipe, which tells the process to end.
            while (data := self._outbox.get()) is not None:
                pipe.write(data)
                pipe.flush()

    def _read(self, pipe: IO[bytes] | None, events: queue.Queue[tuple[Worker, Any]]) -> None:
        """Hand on the messages of the process, and its end."""
        with (
            contextlib.suppress(Exception),  # a message of any class may fail to be read
            pipe or contextlib.nullcontext(),
        ):
            while pipe is not None:
                events.put((self, receive(pipe)))
        events.put((self, None))

    def _repeat_errors(self) -> None:
        """Repeat what the process writes to its error stream, and keep the end of it."""
        pipe = self._process.stderr
        if pipe is None:
            return  # as its type allows, though the process was started with one
        with contextlib.suppress(OSError), pipe:
            while data := os.read(pipe.fileno(), 1 << 16):
                self._written = (self._written + data)[-_MOST_KEPT:]
                with contextlib.suppress(OSError):  # this process may have no such stream
                    while data:
                        data = data[os.write(_ERROR_STREAM, data) :]

    def close(self) -> None:
        """Let the process end. It stops its training, with a checkpoint if there is to be one."""
        self._outbox.put(None)

    def end(self, seconds: float) -> str:
        """Wait until the process has ended, and kill it after some seconds.

        Returns:
            How it ended: its exit code, and the signal that has killed it.
        """
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._forward.join(_FORWARD_SECONDS)
        return f"exit code {code}{_signal_of(code)}"

    def last_words(self) -> str:
        """Return the last lines that the process has written to its error stream, in one line."""
        text = without_passwords(self._written.decode("utf-8", "replace"))
        lines = [line.strip() for line in text.splitlines() if line.strip()][-_MOST_LINES:]
        return visible(" / ".join(lines))[-_MOST_CHARACTERS:]


def _signal_of(code: int) -> str:
    """Return the name of the signal that an exit code stands for, in brackets."""
    try:
        return f" ({signal.Signals(-code).name})" if code < 0 else ""
    except ValueError:  # one that Python has no name for
        return ""


def after_words(said: str) -> str:
    """Return the end of a sentence on how a process ended, with its last words if it had any."""
    return f", after it wrote: {said}" if said else ", without a word on its error stream"


@final
class WorkerPool:
    """Workers of one objective. None is left at the end of its ``with`` block.

    Args:
        objective: Objective that they run.
        n_threads: Number of PyTorch's threads within an operation, in each worker.
    """

    def __init__(self, objective: Callable[[Any], Any], n_threads: int) -> None:
        self._packed = packed(objective)
        self._n_threads = n_threads
        self._events: queue.Queue[tuple[Worker, Any]] = queue.Queue()
        self.workers: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # All are told first, so that they write their checkpoints at the same time.
        for worker in self.workers:
            worker.close()
        until = time.monotonic() + _GRACE_SECONDS
        for worker in self.workers:
            worker.end(max(until - time.monotonic(), 0.0))

    def add(self) -> Worker:
        """Start a worker."""
        worker = Worker(self._packed, self._n_threads, self._events)
        self.workers.append(worker)
        return worker

    def remove(self, worker: Worker, seconds: float = 0.0) -> str:
        """Forget a worker that has ended, or is to end; return how it ended."""
        self.workers.remove(worker)
        worker.close()
        return worker.end(seconds)

    def next(self, seconds: float | None) -> tuple[Worker, Any] | None:
        """Wait for a message of a worker. None in its place says that the worker has ended.

        Args:
            seconds: Longest time to wait; then None is returned.
        """
        while True:
            try:
                worker, message = self._events.get(timeout=seconds)
            except queue.Empty:
                return None
            # A worker that was removed may have left messages.
            if worker in self.workers:
                return worker, message
