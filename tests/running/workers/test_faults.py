"""Many workers, and what happens to machines: servers that restart, clocks that jump."""

from __future__ import annotations

import threading
import time
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from surrogate_nas import attributes
from surrogate_nas.results.dashboard import publish as pages
from surrogate_nas.running.workers.run import run_workers
from surrogate_nas.storage.opening import open_storage
from tests.helpers.postgres import PostgresServer

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_processes")]


def slow(trial: optuna.Trial) -> float:
    """An objective that reports as it goes."""
    x = trial.suggest_float("x", 0.0, 1.0)
    for step in range(4):
        time.sleep(0.1)
        trial.report(x, step)
    return x


def test_workers_outlast_a_crash_of_their_server(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """Twice, under load: the budget is met exactly, and no number is missing or there twice."""
    study = optuna.create_study(
        storage=open_storage(postgres_url),
        study_name="s",
        sampler=optuna.samplers.RandomSampler(),
    )

    def crash() -> None:
        until = time.monotonic() + 60
        while len(study.get_trials(deepcopy=False)) < 4 and time.monotonic() < until:
            time.sleep(0.1)
        for mode in ("immediate", "fast"):
            postgres_server.restart(mode, away_seconds=1.0)
            time.sleep(0.5)

    crashes = threading.Thread(target=crash)
    crashes.start()
    run_workers(study, slow, 16, n_workers=2)
    crashes.join()

    trials = study.get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert [trial.number for trial in trials] == list(range(len(trials)))
    assert len(complete) == 16
    assert all(trial.value == trial.params["x"] for trial in complete)
    assert not any(trial.state is TrialState.RUNNING for trial in trials)


@pytest.fixture
def jumps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds by which this process's clock is wrong; may be set at any time."""
    offset, right = [0.0], time.time
    monkeypatch.setattr(time, "time", lambda: right() + offset[0])
    return offset


@pytest.mark.parametrize("jump", [-86_400.0, 86_400.0])
def test_a_clock_that_jumps_loses_no_figures(jumps: list[float], jump: float) -> None:
    """Another worker's mark that it writes is never believed for longer than it lasts."""
    study = optuna.create_study()
    lease: dict[str, Any] = {"worker": "another", "since": time.time()}
    study._storage.set_study_system_attr(study._study_id, attributes.PUBLISHING, lease)
    assert not pages.is_new(study, 1)

    jumps[0] = jump

    assert pages.is_new(study, 1)
    pages.claim(study)
    pages.release(study, 1)
    jumps[0] = -jump
    assert not pages.is_new(study, 1)
    assert pages.is_new(study, 2)
