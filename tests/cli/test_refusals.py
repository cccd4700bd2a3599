"""What the command line makes of bad input, and of being stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from surrogate_nas.attributes import INTERRUPTED
from tests.helpers.command_line import SMALL, Run, run, stored, verbosity

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_processes")]

__all__ = ["run", "verbosity"]  # fixtures


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["search"], "required: --data"),
        (["show"], "no file 'nas.db'"),
        (["search", *SMALL, "--data", "missing.npz"], "no file at missing.npz"),
        (["search", *SMALL, "--data", "notes.txt"], "nothing at notes.txt"),
        (["search", *SMALL, "--metric", "acc"], "a metric among"),
        (["search", *SMALL, "--space", "graph"], "invalid choice: 'graph'"),
        (["search", *SMALL, "--trials", "0"], "'0' is not a whole number from 1"),
        (["search", *SMALL, "--trials", "few"], "'few' is not a whole number"),
        (["search", *SMALL, "--concurrent", "0"], "'0' is not a whole number from 1"),
        (["search", *SMALL, "--workers", "0"], "'0' is not a whole number from 1"),
        (["search", *SMALL, "--workers", "2", "--concurrent", "2"], "not allowed with argument"),
        (["search", *SMALL, "--gpus-per-worker", "1"], "got --gpus-per-worker alone"),
        (["search", *SMALL, "--ray", "a:1", "--concurrent", "2"], "got --ray and --concurrent"),
        (["search", *SMALL, "--ray", "127.0.0.1:1"], "Expected a Ray cluster at '127.0.0.1:1'"),
        (["search", *SMALL, "--candidates", "1.5"], "'1.5' is not a whole number"),
        (["search", *SMALL, "--seed", "-1"], "'-1' is not a whole number from 0"),
        (["search", *SMALL, "--limit", "parameters"], "is not NAME=NUMBER"),
        (["search", *SMALL, "--limit", "size=3"], "a limit on 'size'"),
        (["search", *SMALL, "--limit", "parameters=nan"], "got nan"),
        (["search", *SMALL, "--limit", "parameters=1"], "parameters <= 1"),
        (["search", *SMALL, "--surrogate", "missing"], "missing"),
        (["search", *SMALL, "--device", "nonsense"], "'nonsense' cannot be used"),
        (["search", *SMALL, "--time-limit", "-1"], "'-1' is not a number above 0"),
        (["search", *SMALL, "--time-limit", "1e-9", "--trials", "1"], "a completed trial"),
        (["search", *SMALL, "--storage", "nas.txt"], "a database URL or a journal file"),
        (["search", *SMALL, "--storage", "sqlite:///no/nas.db"], "unable to open"),
        (["search", *SMALL, "--report", "no/report.html"], "not a file in a folder that exists"),
        (["search", *SMALL, "--report", "."], "not a file in a folder that exists"),
        (["show", "--storage", "sqlite:///new.db", "--name", "x"], "no file 'new.db'"),
        (["show", "--storage", "sqlite:///no/nas.db"], "unable to open"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_input_is_explained(arguments: list[str], message: str, run: Run) -> None:
    code, out, err = run(*arguments)

    assert code == 2
    assert message in err
    assert "Traceback" not in err
    assert "Test" not in out


def test_a_password_is_never_said(run: Run) -> None:
    address = "postgresql://me:secret@127.0.0.1:1/nas"
    code, out, err = run("search", *SMALL, "--storage", address)

    assert code == 2
    assert "secret" not in out + err


def test_a_study_of_another_space_is_left_alone(run: Run) -> None:
    assert run("search", *SMALL, "--name", "mine", "--trials", "1")[0] == 0

    code, _, err = run("search", *SMALL, "--name", "mine", "--space", "convnet")

    assert code == 2
    assert "(ConvNetSpace); got another one (CellSpace). Choose another --name" in err
    assert len(stored("mine").trials) == 1


def test_a_study_that_is_not_there_is_named_with_those_that_are(run: Run) -> None:
    optuna.create_study(storage="sqlite:///nas.db", study_name="photos")

    code, _, err = run("show", "--storage", "sqlite:///nas.db", "--name", "photo")

    assert code == 2
    assert "a study among photos; got 'photo'" in err


def test_several_objectives_are_refused(run: Run) -> None:
    optuna.create_study(
        storage="sqlite:///nas.db", study_name="two", directions=["minimize", "maximize"]
    )

    code, _, err = run("show", "--storage", "sqlite:///nas.db", "--name", "two")

    assert code == 2
    assert "2 objectives" in err


# Stopping


def test_ctrl_c_stops_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("surrogate_nas.running.optimize.continue_study", stop)
    code, _, err = run("search", *SMALL)

    assert code == 130
    assert "the same command continues" in err


def test_an_interrupted_process_leaves_a_study_that_continues(run: Run) -> None:
    long = [sys.executable, "-m", "surrogate_nas.cli", "search", *SMALL, "--epochs", "2000"]
    process = subprocess.Popen(
        long,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        wait_for_training(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()

    assert process.returncode == 130
    assert err.strip().startswith("Interrupted. Every finished training is in the storage")
    assert "Traceback" not in err
    assert "Study 'few-cell'" in out
    first, waiting = stored().trials
    assert first.state == TrialState.FAIL
    assert first.user_attrs["stop_reason"] == INTERRUPTED
    assert waiting.state == TrialState.WAITING
    assert [path.suffix for path in Path("nas-checkpoints").iterdir()] == [".safetensors"]

    assert run("search", *SMALL)[0] == 0

    trials = stored().trials
    assert [trial.state for trial in trials[1:]] == [TrialState.COMPLETE] * 3
    assert trials[1].params == first.params


def wait_for_training(process: subprocess.Popen[str]) -> None:
    """Wait until the first trial of a study on disk has reported two epochs.

    So the first one's checkpoint is written; it is after the report.

    The file is looked at past Optuna, which would make tables that the process is just making.
    """
    until = time.monotonic() + 120
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(sqlite3.OperationalError):  # not wholly made
            connection = sqlite3.connect("file:nas.db?mode=ro", uri=True)
            with contextlib.closing(connection):
                rows = connection.execute("select 1 from trial_intermediate_values").fetchall()
                if len(rows) > 1:
                    return
        time.sleep(0.1)
    process.kill()
    raise AssertionError(f"no training began: {process.communicate()}")
