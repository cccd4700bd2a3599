"""Workers on the machines of a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any, final

import torch

from surrogate_nas.errors import ClusterError, MissingExtraError, StudyError
from surrogate_nas.running.workers.placement import Placement
from surrogate_nas.running.workers.worker import WorkerExit, WorkerSpec, work

_logger = logging.getLogger(__name__)

_KNOCK_SECONDS = 5.0
# NOTE: Ray's head speaks gRPC, and so HTTP/2, where both sides begin with a frame of settings.
_HTTP2_SETTINGS = b"\x04"
_HTTP2_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + _HTTP2_SETTINGS + b"\0" * 5


@final
class RayCluster(Placement):
    """Places workers on the machines of a Ray cluster, as ``placement`` of ``run_workers``.

    Ray brings each worker to a machine with room, into a process of its own. It has no part in the
    study: workers share the study through its storage alone. Every machine must reach the storage,
    best a database server. All machines need this package, in one version.

    If all machines share the folders, checkpoints and pictures are for all of them. If they do
    not, the interrupted training of a machine that is gone begins again from its first epoch.

    Args:
        address: "host:port" of the cluster's head, or "auto" for the cluster that this machine
            belongs to.
        cpus_per_worker: Number of CPUs for each worker. Rounded down, it is also the number of
            PyTorch's threads within an operation.
        gpus_per_worker: Share of a GPU for each worker: 0.5 puts two workers on one, 0 trains on
            CPUs.

    Raises:
        MissingExtraError: The extra ``ray`` is not installed.
        ClusterError: There is no cluster at that address.
        StudyError: No machine of the cluster has room for a worker.
    """

    def __init__(
        self, address: str = "auto", *, cpus_per_worker: float = 1.0, gpus_per_worker: float = 0.0
    ) -> None:
        self._needs = {"CPU": float(cpus_per_worker), "GPU": float(gpus_per_worker)}
        _check_needs(self._needs)
        self._ray = _ray()
        self._address = address
        self._names: dict[Any, str] = {}
        self._is_ours = _connect(self._ray, address)
        with contextlib.ExitStack() as undo:
            undo.callback(self._disconnect)
            if self.n_workers < 1:
                raise _no_room(self._needs, self._nodes())
            undo.pop_all()

    @property
    def n_workers(self) -> int:
        """Number of workers that have room in an idle cluster."""
        return sum(_n_on(node, self._needs) for node in self._nodes())

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def start(self, spec: WorkerSpec) -> None:
        """Ask Ray for a process. It starts as soon as there is room for it."""
        if len(self._names) == self.n_workers:
            _logger.warning(
                "The Ray cluster has room for %d workers at once; others wait for it.",
                len(self._names),
            )
        # Ray shows a process only the GPUs that it may use, under new numbers.
        device = "cuda" if self._needs["GPU"] else spec.device
        # NOTE: one process a worker, and none by Ray itself in the place of one that has died.
        remote = self._ray.remote(
            max_calls=1,
            max_retries=0,
            num_cpus=self._needs["CPU"],
            num_gpus=self._needs["GPU"],
        )(_work)
        reference = remote.remote(replace(spec, device=device), self._n_threads)
        self._names[reference] = spec.name

    @property
    def _n_threads(self) -> int:
        return max(1, math.floor(self._needs["CPU"]))

    def ends(self, seconds: float) -> Sequence[WorkerExit]:
        """See :class:`Placement`."""
        if not self._names:
            return []
        waiting = list(self._names)
        done, _ = self._ray.wait(waiting, num_returns=1, timeout=max(seconds, 0.0))
        if done:
            # The first call returns at the first end, and this one collects all that there are.
            done, _ = self._ray.wait(waiting, num_returns=len(waiting), timeout=0)
        return [self._end(reference, self._names.pop(reference)) for reference in done]

    def _end(self, reference: Any, name: str) -> WorkerExit:
        errors = self._ray.exceptions
        try:
            end = self._ray.get(reference)
        except (errors.RayTaskError, errors.RuntimeEnvSetupError) as error:
            # NOTE: it never came as far as `work`, which returns its errors.
            words = str(error).strip().splitlines()[-1]
            return WorkerExit(name, "failed", words, _not_started(words))
        except errors.RayError as error:
            return WorkerExit(name, "died", type(error).__name__)
        return (
            end
            if isinstance(end, WorkerExit)
            else WorkerExit(name, "died", f"it returned {end!r:.80}")
        )

    def stop(self, seconds: float) -> None:
        """See :class:`Placement`. It leaves the cluster, unless this process was in it before."""
        if not self._ray.is_initialized():
            return
        for is_forced in (False, True):
            for reference in self._names:
                with contextlib.suppress(self._ray.exceptions.RayError):
                    self._ray.cancel(reference, force=is_forced)
            until = time.monotonic() + seconds
            while self._names and time.monotonic() < until:
                self.ends(until - time.monotonic())
        self._disconnect()

    def _disconnect(self) -> None:
        if self._is_ours:
            self._ray.shutdown()


def _work(spec: WorkerSpec, n_threads: int) -> WorkerExit:
    """Be a worker. Ray runs this in the main thread of a process of its own."""
    torch.set_num_threads(n_threads)
    return work(spec)


def _ray() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            expected="the package of the extra 'ray'",
            got=str(error),
            fix="run pip install 'surrogate-nas[ray]', on every machine",
        ) from error
    module: ModuleType = ray
    return module


def _connect(ray: ModuleType, address: str) -> bool:
    """Join a cluster; return whether this process was in none before.

    Raises:
        ClusterError: There is no cluster.
    """
    if ray.is_initialized():
        return False
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    _knock(address)
    # Nothing is sent to Ray's makers unless the user wants that.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        with _own_sigterm():
            ray.init(address=address, logging_level="warning")
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise _no_cluster(address, str(error).strip().splitlines()[0]) from error
    return True


@contextlib.contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep the handler of SIGTERM: Ray sets one that ends the program, and leaves it for good."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if is_main and before is not None:
            signal.signal(signal.SIGTERM, before)


def _knock(address: str) -> None:
    """Find out whether a cluster's head answers. Ray itself would try for minutes.

    Raises:
        ClusterError: Nobody answers, or another program does.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise _no_cluster(address, "no address of the form host:port")
    try:
        with socket.create_connection((host, int(port)), timeout=_KNOCK_SECONDS) as connection:
            connection.sendall(_HTTP2_GREETING)
            answer = connection.recv(9)
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, f"{type(error).__name__}: {error}") from error
    # The fourth byte of a frame is its type.
    if answer[3:4] != _HTTP2_SETTINGS:
        raise _no_cluster(address, "somebody there who does not speak as Ray does")


def _no_cluster(address: str, got: str) -> ClusterError:
    return ClusterError(
        expected=f"a Ray cluster at {address!r}",
        got=got.rstrip("."),
        fix="start one by ray start --head, join it on each machine by ray start --address, and "
        "give the address that the head has printed",
    )


def _check_needs(needs: dict[str, float]) -> None:
    cpus, gpus = needs["CPU"], needs["GPU"]
    is_share = 0 <= gpus < 1 or gpus == int(gpus) if math.isfinite(gpus) else False
    if not (math.isfinite(cpus) and cpus > 0 and is_share and gpus >= 0):
        raise StudyError(
            expected="cpus_per_worker above 0, and gpus_per_worker of 0, a share of one, or a "
            "whole number",
            got=f"cpus_per_worker={cpus:g}, gpus_per_worker={gpus:g}",
            fix="use for example cpus_per_worker=1, gpus_per_worker=0.5",
        )


def _no_room(needs: dict[str, float], nodes: list[dict[str, float]]) -> StudyError:
    has = ", ".join(f"{node.get('CPU', 0):g} and {node.get('GPU', 0):g}" for node in nodes)
    return StudyError(
        expected=f"a machine with {needs['CPU']:g} CPUs and {needs['GPU']:g} GPUs for a worker",
        got=f"machines with {has}" if has else "a cluster without machines",
        fix="let each worker take less, or add machines to the cluster",
    )


def _n_on(node: dict[str, float], needs: dict[str, float]) -> int:
    """Return how many workers have room on a machine."""
    rooms = [node.get(kind, 0.0) / need for kind, need in needs.items() if need]
    # 0.3 / 0.1 is a little less than 3 in floating point.
    return math.floor(min(rooms) + 1e-9)


def _not_started(words: str) -> ClusterError:
    return ClusterError(
        expected="workers that can start on every machine of the cluster",
        got=words,
        fix="install the same version of surrogate-nas, and of what your own code imports, on all "
        "of them",
    )
