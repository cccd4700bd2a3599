"""Workers on a real Ray cluster of two machines, which here are two raylets on loopback."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from surrogate_nas import cli
from surrogate_nas.errors import ClusterError, MissingExtraError, StudyError
from surrogate_nas.running.workers.ray_cluster import RayCluster
from surrogate_nas.running.workers.run import run_workers
from surrogate_nas.storage.opening import open_storage
from tests.helpers.forks import MEASURED
from tests.helpers.worker_studies import patient_study, width, workers_of

# Ray leaves sockets and processes to the system.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

_MEMORY = 80 << 20
_ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two machines with a core each."""
    pytest.importorskip("ray", reason="Ray is absent; it is in the extra 'ray'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.setenv("PYTHONPATH", str(_ROOT), prepend=os.pathsep)
        # Ray's workers give way to every other process, and would starve beside other tests.
        patch.setenv("RAY_worker_niceness", "0")
        # NOTE: a cluster starts a dozen processes of its own, which coverage would slow down.
        patch.delenv(MEASURED, raising=False)
        from ray.cluster_utils import Cluster

        node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": _MEMORY}
        made = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        made.add_node(**node)
        yield made
        made.shutdown()  # type: ignore[no-untyped-call]


def where(trial: optuna.Trial) -> float:
    """Say which process trains; the first one to begin trial 2 is killed there."""
    trial.set_user_attr("pid", os.getpid())
    value = width(trial)
    killed = [t for t in trial.study.get_trials(deepcopy=False) if t.state is TrialState.FAIL]
    if trial.number == 2 and not killed:
        os.kill(os.getpid(), signal.SIGKILL)
    return value


def test_workers_on_two_machines_share_a_study_and_outlast_one_that_is_killed(
    cluster: Any, postgres_url: str
) -> None:
    """The budget is met exactly; the killed one's parameters are evaluated by another."""
    study = patient_study(postgres_url)
    placement = RayCluster(cluster.address)

    assert placement.n_workers == 2
    run_workers(study, where, 8, placement=placement)

    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    failed = [trial for trial in trials if trial.state is TrialState.FAIL]
    assert len(complete) == 8
    assert [trial.number for trial in failed] == [2]
    assert len(trials) == 9
    assert failed[0].params in [trial.params for trial in complete]
    assert len(workers_of(study)) in (2, 3)  # the third may come when all is done
    assert len({trial.user_attrs["pid"] for trial in trials}) >= 2
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # Ray's own would end the program


def test_on_the_command_line(
    cluster: Any, postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With as many workers as have room."""
    command = ["search", "--data", "digits", "--trials", "3", "--epochs", "1", "--search-only"]
    code = cli.main([*command, "--storage", postgres_url, "--ray", cluster.address])

    out = capsys.readouterr().out
    assert code == 0
    assert f"on the Ray cluster at {cluster.address}" in out
    study = optuna.load_study(study_name="digits-cell", storage=open_storage(postgres_url))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
    assert workers_of(study)  # one may have trained all before the other has begun


def waits(trial: optuna.Trial) -> float:
    """Train longer than anybody should have to wait for the end."""
    value = float(trial.suggest_int("width", 1, 8))
    trial.set_user_attr("pid", os.getpid())
    until = time.monotonic() + 120
    while time.monotonic() < until:
        time.sleep(0.1)
    return value


def _is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[-1][:3]
    except OSError:
        return False


def _words(pid: int) -> str:
    """What a process says of itself."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text() + Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return ""


def test_ctrl_c_stops_workers_everywhere_and_enqueues_their_trials(
    cluster: Any, postgres_url: str
) -> None:
    """As on one machine."""
    study = patient_study(postgres_url)
    placement = RayCluster(cluster.address)
    pids: set[int] = set()

    def press() -> None:
        until = time.monotonic() + 60
        while len(pids) < 2 and time.monotonic() < until:
            time.sleep(0.2)
            pids.update(
                t.user_attrs["pid"] for t in patient_study(postgres_url).trials if t.user_attrs
            )
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_workers(study, waits, 4, n_workers=2, placement=placement)

    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    assert states == [TrialState.FAIL] * 2 + [TrialState.WAITING] * 2
    # Ray ends processes in its own time, a second or two here; a training takes twice the wait.
    until = time.monotonic() + 60
    while any(map(_is_alive, pids)) and time.monotonic() < until:
        time.sleep(0.1)
    assert len(pids) == 2
    assert [_words(pid) for pid in pids if _is_alive(pid)] == []


def test_a_worker_that_no_machine_has_room_for_is_refused(cluster: Any) -> None:
    """At the start; Ray would wait for ever."""
    with pytest.raises(StudyError, match=r"1 CPUs and 0\.5 GPUs") as caught:
        RayCluster(cluster.address, gpus_per_worker=0.5)

    assert caught.value.got == "machines with 1 and 0, 1 and 0"


@pytest.mark.parametrize("needs", [(0, 0), (-1, 0), (1, -0.5), (1, 1.5), (float("nan"), 0)])
def test_impossible_shares_of_a_machine_are_refused(needs: tuple[float, float]) -> None:
    """Before anything is asked of a cluster."""
    with pytest.raises(StudyError, match="cpus_per_worker above 0"):
        RayCluster("127.0.0.1:1", cpus_per_worker=needs[0], gpus_per_worker=needs[1])


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "ray://127.0.0.1:1", "a:b", ""])
def test_an_address_without_a_cluster_is_refused_at_once(address: str) -> None:
    """Ray itself would try for a minute."""
    pytest.importorskip("ray")
    began = time.monotonic()
    with pytest.raises(ClusterError, match="Expected a Ray cluster at") as caught:
        RayCluster(address)

    assert time.monotonic() - began < 30
    assert "ray start --head" in caught.value.fix


@pytest.mark.parametrize("says", [b"", b"SSH-2.0-OpenSSH\r\n"])
def test_somebody_else_at_that_address_is_told_from_a_cluster(says: bytes) -> None:
    """For example a database server, which says nothing."""
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.sendall(says)
                connection.recv(100)

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(ClusterError, match="does not speak as Ray does"):
            RayCluster(f"127.0.0.1:{server.getsockname()[1]}")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As for every extra."""
    monkeypatch.setitem(__import__("sys").modules, "ray", None)

    with pytest.raises(MissingExtraError, match=r"surrogate-nas\[ray\]"):
        RayCluster("127.0.0.1:1")
