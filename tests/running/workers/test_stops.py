"""Workers that are stopped, that die, and studies that go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

import surrogate_nas as sn
from tests.helpers.kills import parent_of
from tests.helpers.mortal import MortalSpace
from tests.helpers.toys import ARCHITECTURE, ToyTask
from tests.helpers.worker_studies import address, new_study, opened

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*workers share .* CPU cores"),
    pytest.mark.usefixtures("quick_processes"),
]

SCRIPT = """
import sys, torch, surrogate_nas as sn
from tests.helpers.toys import ToySpace, ToyTask

class Slow(ToySpace.__mro__[1]):  # a space of a script's own, which no other process can import
    def suggest(self, trial):
        return ToySpace().suggest(trial)
    def build(self, architecture, task):
        return ToySpace().build(architecture, task)

study = sn.create_study(
    ToyTask(), Slow(), storage=sys.argv[1], study_name="toy", n_candidates=8, seed=0
)
objective = sn.Objective(ToyTask(), Slow(), sn.Trainer(epochs=int(sys.argv[2])), dashboard=False)
sn.run_workers(study, objective, n_trials=3, n_workers=2)
"""


def wait_for_two(
    storage: optuna.storages.BaseStorage, process: subprocess.Popen[Any]
) -> optuna.Study:
    """Wait until two trials have reported an epoch."""
    until = time.monotonic() + 240
    while time.monotonic() < until and process.poll() is None:
        time.sleep(0.3)
        try:
            study = optuna.load_study(study_name="toy", storage=storage)
        except KeyError:  # there is none yet
            continue
        if len([t for t in study.trials if t.intermediate_values]) == 2:
            return study
    raise AssertionError("no two trials ran")


def children(process: subprocess.Popen[Any]) -> list[int]:
    folders = [folder for folder in Path("/proc").iterdir() if folder.name.isdecimal()]
    return [int(folder.name) for folder in folders if parent_of(folder) == process.pid]


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (signal.SIGINT, "journal"),
        (signal.SIGTERM, "postgres"),
        (signal.SIGKILL, "journal"),
    ],
)
def test_a_stop_stops_all_and_the_study_goes_on(
    number: signal.Signals, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A script without a main guard; its workers end with it, and their trials come first."""
    place = address(kind, tmp_path, request)
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    storage = opened(place)
    command = [sys.executable, "script.py", place]
    process = subprocess.Popen(
        [*command, "100000"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment,
    )
    try:
        study = wait_for_two(storage, process)
        workers = children(process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode
    assert number == signal.SIGKILL or "KeyboardInterrupt" in errors or "Terminated" in errors
    assert len(workers) == 2
    until = time.monotonic() + 20
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < until
        time.sleep(0.1)
    first = study.trials
    assert [t.state.name for t in first] == ["FAIL", "FAIL", "WAITING", "WAITING"]
    assert {t.user_attrs.get("stop_reason") for t in first[:2]} == {"interrupted"}
    if number != signal.SIGTERM:
        return  # what follows is the same

    subprocess.run([*command, "1"], check=True, capture_output=True, cwd=tmp_path, env=environment)

    trials = study.trials
    assert [t.state.name for t in trials[2:]] == ["COMPLETE"] * 3
    # Workers stop, and enqueue what they trained, in any order.
    again, before = ([str(t.params) for t in part] for part in (trials[2:4], trials[:2]))
    assert sorted(again) == sorted(before)


def test_a_training_whose_worker_died_goes_on_in_another(tmp_path: Path) -> None:
    """From its last checkpoint, to the result of an uninterrupted one; the budget is met."""
    curves = []
    notes = tmp_path / "notes"
    for name in ("killed", "whole"):
        folder = tmp_path / name
        folder.mkdir()
        objective = sn.Objective(
            ToyTask(),
            MortalSpace(notes),
            sn.Trainer(epochs=4, batch_size=32, learning_rate=0.01),
            checkpoints=folder / "checkpoints",
            dashboard=False,
        )
        study = new_study(f"{folder}/nas.journal")
        study.enqueue_trial(dict(ARCHITECTURE))
        study.enqueue_trial({**ARCHITECTURE, "width": 2})
        if name == "killed":
            sn.run_workers(study, objective, 2, n_workers=2)
            assert 20 < len(notes.read_text()) < 13 + 20  # it did not begin anew
        else:
            sn.optimize(study, objective, 2)
        done = [t for t in study.trials if t.state is TrialState.COMPLETE]
        curves.append({t.params["width"]: list(t.intermediate_values.values()) for t in done})
        assert len(study.trials) == (3 if name == "killed" else 2)
        assert not list((folder / "checkpoints").iterdir())

    assert curves[0] == curves[1]
