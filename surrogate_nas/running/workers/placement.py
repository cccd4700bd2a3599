"""Placement: brings workers somewhere, and reports how they end.

It is the seam between ``run_workers``, which knows the study, and machines, which do not. A
placement starts workers from their specs, reports each worker's end once, and stops all of them.
It starts none by itself: ``run_workers`` decides whether a worker that has died is replaced.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from surrogate_nas.running.workers.worker import WorkerExit, WorkerSpec


class Placement(ABC):
    """Where workers run.

    An implementation runs ``work(spec)`` of ``surrogate_nas.running.workers.worker`` in a process
    of its own for each worker. It must be that process's main thread, and no other worker may run
    in the process before or after.
    """

    @property
    @abstractmethod
    def n_workers(self) -> int:
        """Number of workers that ``run_workers`` starts by default."""

    @abstractmethod
    def start(self, spec: WorkerSpec) -> None:
        """Start a worker, and return without waiting for it.

        Args:
            spec: Spec of the worker. Its ``device`` may have another name in the worker's process:
                the placement passes on the name that is right there.

        Raises:
            SurrogateNasError: There is no place for the worker.
        """

    @abstractmethod
    def ends(self, seconds: float) -> Sequence[WorkerExit]:
        """Wait for ends of workers, and return the ends that have not been returned before.

        The placement passes on what ``work`` returned. If it returned nothing, the end is "died",
        with words about how, also if the process was killed before it came as far as ``work``.
        ``run_workers`` replaces it, and gives up after many such ends in a row. The end is
        "failed" if the placement knows that no other process could be made either.

        Args:
            seconds: Longest time to wait. The method returns as soon as there is one end.
        """

    @abstractmethod
    def stop(self, seconds: float) -> None:
        """End all workers: interrupt them (SIGTERM, or KeyboardInterrupt in them), wait, kill.

        It is also called after an error, and if no worker is left. Nothing of the workers runs
        afterwards.

        Args:
            seconds: Time that they have, for example to write a checkpoint.
        """
