"""Cut the network between workers and their PostgreSQL server for 20 seconds.

Run from the repository's root, as root, with Debian's postgresql and iproute2 and the extra dev:
``python -m studies.faults.partition``. The workers are in a network namespace of their own, on a
cable (veth) to the one in which the server is; the cable is taken down, and up again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
from optuna.trial import TrialState

import surrogate_nas as sn
from studies import raw
from surrogate_nas.storage.opening import open_storage
from tests.helpers.postgres import running_server

RAW = Path(__file__).parent / "raw.jsonl.gz"
SECONDS = 20.0
N_TRIALS = 30
HERE, THERE = "10.99.0.1", "10.99.0.2"
SPACE, CABLE = "nas_faults", "nas_veth"


def objective(trial: optuna.Trial) -> float:
    """Half a second, with reports on the way."""
    x = trial.suggest_float("x", 0.0, 1.0)
    for step in range(5):
        time.sleep(0.1)
        trial.report(x, step)
    return x


def run(*words: str) -> None:
    """Run a command of the system."""
    subprocess.run(words, check=True)


def search(url: str) -> None:
    """What runs in the namespace: two workers."""
    study = optuna.create_study(
        storage=open_storage(url),
        study_name="s",
        sampler=optuna.samplers.RandomSampler(),
        load_if_exists=True,
    )
    sn.run_workers(study, objective, N_TRIALS, n_workers=2)


def main() -> None:
    """Make the network, search, cut it, and print what the study has afterwards."""
    with running_server() as server:
        name = server.new_database()
        with (server.folder / "data" / "pg_hba.conf").open("a") as file:
            file.write(f"host all all {THERE}/32 scram-sha-256\n")
        server.run(f"alter system set listen_addresses = '127.0.0.1,{HERE}'")
        run("ip", "netns", "add", SPACE)
        try:
            run("ip", "link", "add", CABLE, "type", "veth", "peer", "name", "eth0", "netns", SPACE)
            run("ip", "addr", "add", f"{HERE}/30", "dev", CABLE)
            run("ip", "link", "set", CABLE, "up")
            inside = ("ip", "-n", SPACE)
            run(*inside, "link", "set", "lo", "up")
            run(*inside, "addr", "add", f"{THERE}/30", "dev", "eth0")
            run(*inside, "link", "set", "eth0", "up")
            server.restart()
            report(server.url(name), server.url(name).replace("127.0.0.1", HERE))
        finally:
            run("ip", "netns", "delete", SPACE)


def report(url: str, behind: str) -> None:
    """Search behind the network, cut it for a while, look at the study from this side."""
    study = optuna.create_study(storage=open_storage(url), study_name="s")
    began = time.monotonic()
    command = ["ip", "netns", "exec", SPACE, sys.executable, "-m", "studies.faults.partition"]
    searching = subprocess.Popen([*command, behind], cwd=Path(__file__).parents[2])
    while sum(t.state.is_finished() for t in study.get_trials(deepcopy=False)) < 4:
        time.sleep(0.1)
    run("ip", "link", "set", CABLE, "down")
    n_before = len(study.get_trials(deepcopy=False))
    mended = threading.Timer(SECONDS, run, ("ip", "link", "set", CABLE, "up"))
    mended.start()
    code = searching.wait(timeout=300)
    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    facts = {
        "exit_code": code,
        "seconds": round(time.monotonic() - began, 1),
        "seconds_without_network": SECONDS,
        "trials_when_it_went": n_before,
        "trials": len(trials),
        "numbers_are_whole": [t.number for t in trials] == list(range(len(trials))),
        "complete": len(complete),
        "wanted": N_TRIALS,
        "values_are_right": all(t.value == t.params["x"] for t in complete),
        "left_running": sum(t.state is TrialState.RUNNING for t in trials),
    }
    raw.write(RAW, [facts])
    print(json.dumps(facts))


if __name__ == "__main__":
    if sys.argv[1:]:
        search(sys.argv[1])
    else:
        main()
