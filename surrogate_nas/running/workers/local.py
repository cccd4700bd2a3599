"""Workers as processes of this machine."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import IO, Any, final

import torch

from surrogate_nas.running.processes.capacity import cores
from surrogate_nas.running.processes.messages import packed, receive, send
from surrogate_nas.running.processes.worker import pipes
from surrogate_nas.running.processes.worker_pool import Worker
from surrogate_nas.running.workers.placement import Placement
from surrogate_nas.running.workers.worker import WorkerExit, WorkerSpec, work

_VISIBLE = "CUDA_VISIBLE_DEVICES"


@final
class Local(Placement):
    """Places each worker in a spawned process, in a session of its own.

    A worker that trains on a CUDA device sees no other device. It ends when this process does,
    however that ends.

    Args:
        n_threads: Number of PyTorch's threads within an operation, in each worker.
    """

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self._events: queue.Queue[tuple[Worker, Any]] = queue.Queue()
        self._names: dict[Worker, str] = {}

    @property
    def n_workers(self) -> int:
        """Number of workers whose threads have a core each."""
        return max(1, cores() // self._n_threads)

    def start(self, spec: WorkerSpec) -> None:
        """Start a process, and give it its spec through a pipe."""
        environment = {} if spec.device is None else _sees(spec.device)
        device = "cuda" if environment else spec.device
        worker = Worker(
            packed(replace(spec, device=device)),
            self._n_threads,
            self._events,
            module=__name__,
            environment=environment,
        )
        self._names[worker] = spec.name

    def ends(self, seconds: float) -> Sequence[WorkerExit]:
        """See :class:`Placement`."""
        until = time.monotonic() + seconds
        found: list[WorkerExit] = []
        while not found:
            try:
                event = self._events.get(timeout=max(until - time.monotonic(), 0.0))
            except queue.Empty:
                break
            found += self._end(*event)
        while not self._events.empty():
            found += self._end(*self._events.get())
        return found

    def _end(self, worker: Worker, message: Any) -> list[WorkerExit]:
        """Return the end of a worker, if an event means one."""
        if worker not in self._names:
            return []  # its process has ended after its work
        name = self._names.pop(worker)
        worker.close()
        how = worker.end(10.0)
        if isinstance(message, WorkerExit):
            return [message]
        return [WorkerExit(name, "died", how, said=worker.last_words())]

    def stop(self, seconds: float) -> None:
        """See :class:`Placement`."""
        for worker in self._names:
            worker.close()
        until = time.monotonic() + seconds
        for worker in self._names:
            worker.end(max(until - time.monotonic(), 0.0))


def _sees(device: str) -> Mapping[str, str]:
    """Return the variable that shows one CUDA device alone; nothing for other devices."""
    index = torch.device(device).index
    if torch.device(device).type != "cuda" or index is None:
        return {}
    # The index counts the devices that this process itself may see.
    here = [name for name in os.environ.get(_VISIBLE, "").split(",") if name]
    return {_VISIBLE: here[index] if index < len(here) else str(index)}


def main(n_threads: int) -> None:
    """Be a worker: the process that :class:`Local` starts.

    Args:
        n_threads: Number of PyTorch's threads within an operation.
    """
    inbox, outbox = pipes(n_threads)
    serve(inbox, outbox)


def serve(inbox: IO[bytes], outbox: IO[bytes]) -> None:
    """Do the work that comes in; stop it when the starting process ends or closes the pipe.

    Args:
        inbox: Pipe from the process that has started this one.
        outbox: Pipe to it.
    """
    spec = receive(inbox)
    # NOTE: until `work` listens to SIGTERM: a worker that is stopped before has nothing to lose.
    threading.Thread(target=_end_with, args=(inbox,), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        send(work(spec), outbox)


def _end_with(inbox: IO[bytes]) -> None:
    """Stop this process's work when the other end of the pipe is closed."""
    with contextlib.suppress(OSError):
        inbox.read()
    os.kill(os.getpid(), signal.SIGTERM)
