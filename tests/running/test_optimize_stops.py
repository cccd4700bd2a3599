"""Worker processes that are stopped, that die, and studies that continue."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import optuna
import pytest

import surrogate_nas as sn
from tests.helpers.kills import parent_of
from tests.helpers.mortal import MortalSpace
from tests.helpers.toys import ARCHITECTURE, ToyTask

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_processes")]

SCRIPT = """
import sys, optuna, torch, surrogate_nas as sn
from tests.helpers.toys import ToySpace, ToyTask

class Slow(ToySpace.__mro__[1]):  # a space of a script's own, which no other process can import
    def suggest(self, trial):
        return ToySpace().suggest(trial)
    def build(self, architecture, task):
        return ToySpace().build(architecture, task)

study = sn.create_study(
    ToyTask(), Slow(), storage="sqlite:///nas.db", study_name="toy", n_candidates=8, seed=0
)
trainer = sn.Trainer(epochs=int(sys.argv[1]))
sn.optimize(study, sn.Objective(ToyTask(), Slow(), trainer), n_trials=3, n_concurrent=2)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_stops_all_and_the_study_continues(number: signal.Signals, tmp_path: Path) -> None:
    """A script without a main guard; its workers end with it, and their trials come first."""
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    arguments = {
        "cwd": tmp_path,
        "env": {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    }
    long = [sys.executable, "script.py", "100000"]
    process = subprocess.Popen(long, stderr=subprocess.PIPE, text=True, **arguments)  # type: ignore[call-overload]
    url = f"sqlite:///{tmp_path}/nas.db"
    try:
        workers = wait_for_workers(process.pid, url)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode
    assert "KeyboardInterrupt" in errors or "Terminated" in errors
    assert len(workers) == 2
    assert not any(Path(f"/proc/{worker}").exists() for worker in workers)
    first = optuna.load_study(study_name="toy", storage=url).trials
    assert [t.state.name for t in first] == ["FAIL", "FAIL", "WAITING", "WAITING"]
    assert {t.user_attrs.get("stop_reason") for t in first[:2]} == {"interrupted"}

    if number == signal.SIGTERM:
        return  # what follows is the same
    subprocess.run([*long[:2], "1"], check=True, capture_output=True, **arguments)  # type: ignore[call-overload]

    trials = optuna.load_study(study_name="toy", storage=url).trials
    assert [t.state.name for t in trials[2:]] == ["COMPLETE"] * 3
    assert [t.params for t in trials[2:4]] == [t.params for t in trials[:2]]


def wait_for_workers(parent: int, url: str) -> list[int]:
    """Wait until two trials have reported an epoch; return the processes that train them."""
    until = time.monotonic() + 240
    while time.monotonic() < until:
        time.sleep(0.2)
        if not Path(url.removeprefix("sqlite:///")).exists():
            continue
        try:
            trials = optuna.load_study(study_name="toy", storage=url).trials
        except Exception:  # the tables are just being made
            continue
        if len([t for t in trials if t.intermediate_values]) == 2:
            break
    return [
        int(folder.name)
        for folder in Path("/proc").iterdir()
        if folder.name.isdecimal() and parent_of(folder) == parent
    ]


def test_a_training_whose_process_died_goes_on_in_another(tmp_path: Path) -> None:
    """From its last checkpoint, to the result of an uninterrupted one; the budget is met."""
    curves = []
    notes = tmp_path / "notes"
    for name, n_concurrent in (("killed", 2), ("whole", 1)):
        trainer = sn.Trainer(epochs=4, batch_size=32, learning_rate=0.01)
        objective = sn.Objective(
            ToyTask(), MortalSpace(notes), trainer, checkpoints=tmp_path / name
        )
        study = optuna.create_study(direction="maximize")
        study.enqueue_trial(dict(ARCHITECTURE))
        study.enqueue_trial({**ARCHITECTURE, "width": 2})
        sn.optimize(study, objective, 2, n_concurrent=n_concurrent)
        done = [t for t in study.trials if t.state.name == "COMPLETE"]
        curves.append({t.params["width"]: list(t.intermediate_values.values()) for t in done})
        n_trials = len(study.trials)
        assert n_trials == (3 if name == "killed" else 2)
        assert not list((tmp_path / name).iterdir())

    assert curves[1][4][-2:] == curves[0][4][-2:]
    assert curves[1][2] == curves[0][2]
