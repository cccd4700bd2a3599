"""Placement: brings workers somewhere, and says how they end.

The seam between ``run_workers``, which knows the study, and machines, of which it knows nothing.
A placement starts workers from their descriptions, reports each worker's end once, and stops all
of them. It starts none by itself: ``run_workers`` decides whether a worker that has died is
replaced.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from surrogate_nas.running.workers.worker import WorkerExit, WorkerSpec


class Placement(ABC):
    """Where workers run.

    An implementation runs ``work(spec)`` of ``surrogate_nas.running.workers.worker`` in a
    process of its own for each worker, in that process's main thread, with no other worker in it
    before or after.
    """

    @property
    @abstractmethod
    def n_workers(self) -> int:
        """How many workers ``run_workers`` starts if nobody says how many."""

    @abstractmethod
    def start(self, spec: WorkerSpec) -> None:
        """Start a worker; return without waiting for it.

        Args:
            spec: Of the worker. Its ``device`` may be named otherwise in its process: the
                placement passes on what the worker should use there.

        Raises:
            SurrogateNasError: There is no place for it.
        """

    @abstractmethod
    def ends(self, seconds: float) -> Sequence[WorkerExit]:
        """Wait for ends of workers, and return those that have not been returned before.

        What ``work`` returned is passed on; of a worker that returned nothing the end is "died",
        with words about how, or "failed" if its process never came as far as ``work``: a process
        that cannot be made once cannot be made again.

        Args:
            seconds: How long at most; returns as soon as there is one.
        """

    @abstractmethod
    def stop(self, seconds: float) -> None:
        """End all workers: interrupt them (SIGTERM, or KeyboardInterrupt in them), wait, kill.

        Also called after an error and where none is left; nothing of them runs afterwards.

        Args:
            seconds: How long they have, for example to write a checkpoint.
        """
