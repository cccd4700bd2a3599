from __future__ import annotations

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from PIL import Image
from sklearn.datasets import load_digits

import surrogate_nas
from surrogate_nas import cli
from surrogate_nas.cli.search import BASES
from surrogate_nas.errors import StudyError
from surrogate_nas.past import PastTask
from surrogate_nas.resuming import INTERRUPTED
from surrogate_nas.spaces import CellSpace
from surrogate_nas.storage import open_storage
from surrogate_nas.study import create_study
from surrogate_nas.surrogate import MetaSurrogate

Run = Callable[..., tuple[int, str, str]]

OPTIONS = {
    "search": [
        "--data",
        "--metric",
        "--image-size",
        "--skip-unreadable",
        "--space",
        "--search-training",
        "--trials",
        "--limit",
        "--surrogate",
        "--base",
        "--candidates",
        "--workers",
        "--ray",
        "--gpus-per-worker",
        "--concurrent",
        "--seed",
        "--epochs",
        "--batch-size",
        "--device",
        "--time-limit",
        "--storage",
        "--name",
        "--folder",
        "--search-only",
        "--report",
        "--artifacts",
        "--checkpoints",
        "--quiet",
    ],
    "report": ["--storage", "--name", "--out"],
    "finalize": [
        "--data",
        "--metric",
        "--image-size",
        "--skip-unreadable",
        "--space",
        "--search-training",
        "--seed",
        "--epochs",
        "--batch-size",
        "--device",
        "--time-limit",
        "--storage",
        "--name",
        "--folder",
    ],
    "show": ["--storage", "--name"],
    "fit": [
        "--space",
        "--search-training",
        "--storage",
        "--exclude",
        "--table",
        "--value",
        "--task",
        "--direction",
        "--shipped",
        "--out",
        "--seed",
    ],
    "evaluate": [
        "--space",
        "--search-training",
        "--storage",
        "--exclude",
        "--table",
        "--value",
        "--task",
        "--direction",
        "--shipped",
        "--seed",
    ],
}


@pytest.fixture(autouse=True)
def verbosity() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """Run a command line in a folder with a data set and return its exit code and its words."""
    digits = load_digits(n_class=3)
    np.savez(tmp_path / "few.npz", x=digits.images[:120].astype(np.uint8), y=digits.target[:120])
    monkeypatch.chdir(tmp_path)

    def running(*arguments: str) -> tuple[int, str, str]:
        try:
            code = cli.main(arguments)
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        written = capsys.readouterr()
        return code, written.out, written.err

    return running


SMALL = ["--data", "few.npz", "--epochs", "1", "--trials", "3", "--candidates", "4", "--quiet"]


def stored(name: str = "few-cell") -> optuna.Study:
    return optuna.load_study(study_name=name, storage="sqlite:///nas.db")


# What it says of itself


@pytest.mark.parametrize("command", OPTIONS)
def test_help_names_every_option(command: str, run: Run) -> None:
    code, out, err = run(command, "--help")

    assert (code, err) == (0, "")
    assert set(re.findall(r"^ +(--[a-z-]+)", out, re.MULTILINE)) == set(OPTIONS[command])


def test_help_names_every_command(run: Run) -> None:
    code, out, _ = run("--help")

    assert code == 0
    assert all(command in out for command in OPTIONS)
    assert "surrogate-nas search --data digits" in out


def test_defaults_are_named(run: Run) -> None:
    _, out, _ = run("search", "--help")

    defaults = {
        "--metric": "accuracy",
        "--trials": "30",
        "--candidates": "256",
        "--seed": "0",
        "--epochs": "15",
        "--batch-size": "64",
        "--storage": "sqlite:///nas.db",
    }
    for option, value in defaults.items():
        assert re.search(rf"{option} \S+\s[^-]*default:\s+{re.escape(value)}", out), option


# Searching


def test_a_search_ends_with_its_answer_and_the_same_command_continues(run: Run) -> None:
    code, out, err = run("search", *SMALL, "--report", "report.html")

    assert (code, err) == (0, "")
    assert "Study 'few-cell' in sqlite:///nas.db, on cpu" in out
    assert re.search(r"^Best architecture \(trial \d\): \S", out, re.MULTILINE)
    assert re.search(r"^Validation accuracy: 0\.\d{4}$", out, re.MULTILINE)
    assert re.search(r"^Test accuracy: 0\.\d{4} \(retrained, tested once\)$", out, re.MULTILINE)
    assert re.search(r"^Screened \d+ candidates for 3 trainings", out, re.MULTILINE)
    assert "Report: report.html" in out
    assert Path("report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "optuna-dashboard sqlite:///nas.db --artifact-dir nas-artifacts" in out
    assert len(list(Path("nas-artifacts").iterdir())) == 3
    assert [trial.state for trial in stored().trials] == [TrialState.COMPLETE] * 3

    code, again, _ = run("search", *SMALL)

    assert code == 0
    assert len(stored().trials) == 3
    assert re.findall("^(?:Best|Test|Val).*$", again, re.M) == re.findall(
        "^(?:Best|Test|Val).*$", out, re.M
    )

    code, more, _ = run("search", *[word for word in SMALL if word != "--quiet"], "--trials", "4")

    assert code == 0
    assert len(stored().trials) == 4
    best = stored().best_trial
    assert re.findall("^trial .*$", more, re.M) == [
        f"trial 3: complete {stored().trials[3].value:.4f} | best {best.value:.4g} "
        f"(trial {best.number}) | 4/4"
    ]
    assert "trial 3" not in again


def test_a_search_may_train_several_at_once(run: Run) -> None:
    code, out, err = run("search", *SMALL, "--concurrent", "2")

    assert (code, err) == (0, "")
    assert [trial.state for trial in stored().trials] == [TrialState.COMPLETE] * 3
    assert "Screened" in out


@pytest.mark.filterwarnings("default")
def test_workers_may_share_a_search(run: Run) -> None:
    """Without the retraining, as on a second machine; SQLite is used, with a word about it."""
    code, out, err = run("search", *SMALL, "--workers", "2", "--search-only")

    assert code == 0
    assert "note: SQLite writes for one worker at a time" in err
    assert [trial.state for trial in stored().trials] == [TrialState.COMPLETE] * 3
    assert "Screened" in out
    assert "Test" not in out
    assert not Path("digits-cell-final").exists()


def test_an_address_in_the_place_of_a_file_is_a_storage(run: Run) -> None:
    """And nobody's password is repeated, whatever is wrong with it."""
    run("search", *SMALL, "--search-only")
    assert run("show", "sqlite:///nas.db")[1] == "few-cell\n"
    code, _, err = run("show", "postgresql://me:secret@127.0.0.1:1/nas")
    assert code == 2
    assert "secret" not in err
    err = run("fit", "--out", "s", "--table", "postgresql://me:secret@127.0.0.1:1/nas")[2]
    assert "secret" not in err


def test_options_reach_the_study(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def spying(task: Any, space: Any, **arguments: Any) -> optuna.Study:
        seen.update(arguments, task=task, space=space)
        return create_study(task, space, **arguments)

    monkeypatch.setattr(surrogate_nas, "create_study", spying)
    code, out, err = run(
        "search",
        *SMALL,
        *("--metric", "f1", "--space", "convnet", "--search-training", "--trials", "1"),
        *("--limit", "parameters=1e6", "--limit", "depth=9", "--base", "random", "--seed", "7"),
        *("--batch-size", "16", "--device", "cpu", "--time-limit", "30", "--name", "named"),
        *("--storage", "nas.journal"),
    )

    assert (code, err) == (0, "")
    assert seen["limits"] == {"parameters": 1e6, "depth": 9.0}
    assert isinstance(seen["base_sampler"](3), optuna.samplers.RandomSampler)
    assert (seen["seed"], seen["n_candidates"], seen["study_name"]) == (7, 4, "named")
    assert "Test f1" in out
    assert "optuna-dashboard nas.journal" in out
    (trial,) = optuna.load_study(study_name="named", storage=open_storage("nas.journal")).trials
    assert "learning_rate" in trial.params


@pytest.mark.parametrize("name", ["tpe", "random", "nsga2", "gp"])
def test_every_base_is_a_sampler_with_a_seed(name: str) -> None:
    assert isinstance(BASES[name](3), optuna.samplers.BaseSampler)


def test_a_surrogate_is_read(run: Run) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: len(str(CellSpace().suggest(trial))), 6)
    past = PastTask("past", [t.params for t in study.trials], [float(i) for i in range(6)])
    MetaSurrogate.fit(CellSpace(), [past]).save("cells.surrogate")

    code, out, err = run("search", *SMALL, "--trials", "1", "--surrogate", "cells.surrogate")

    assert (code, err) == (0, "")
    assert "predicted_value" in stored().trials[0].user_attrs
    assert "Screened" in out


def test_a_folder_of_images_is_searched(run: Run) -> None:
    digits = load_digits(n_class=2)
    for number in range(40):
        folder = Path("photos") / str(digits.target[number])
        folder.mkdir(parents=True, exist_ok=True)
        size = 8 + number % 2
        image = Image.fromarray((15 * digits.images[number]).astype(np.uint8))
        image.resize((size, size)).save(folder / f"{number}.png")
    (Path("photos") / "0" / "broken.png").write_bytes(b"no image")

    code, _, err = run("search", *SMALL, "--data", "photos", "--image-size", "8")
    assert code == 2
    assert "broken.png" in err

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, out, err = run(
            *("search", *SMALL, "--data", "photos", "--image-size", "8", "--skip-unreadable"),
            *("--trials", "1"),
        )
    assert code == 0
    assert re.match(r"note: .*broken\.png", err)
    assert "Study 'photos-cell'" in out


def test_digits_are_there_without_a_file(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(task: Any, *_: Any, **__: Any) -> None:
        raise StudyError(expected="digits", got=task.name, fix="look")

    monkeypatch.setattr(surrogate_nas, "create_study", stop)

    assert "got digits" in run("search", "--data", "digits")[2]
    Path("digits").mkdir()
    assert "got digits" not in run("search", "--data", "digits")[2]


# Showing


def test_studies_are_listed_and_summed_up(run: Run) -> None:
    assert run("search", *SMALL)[0] == 0

    code, out, err = run("show", "--storage", "sqlite:///nas.db")
    assert (code, out) == (0, "few-cell\n")
    assert "1 studies" in err

    code, out, err = run("show", "--storage", "sqlite:///nas.db", "--name", "few-cell")
    assert (code, err) == (0, "")
    assert "Best architecture (trial" in out
    assert re.search(r"^Test accuracy: 0\.\d{4}$", out, re.MULTILINE)


def test_a_plain_study_is_summed_up(run: Run) -> None:
    study = optuna.create_study(storage="sqlite:///nas.db", study_name="plain")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), 4)

    code, out, _ = run("show", "--storage", "sqlite:///nas.db", "--name", "plain")

    assert code == 0
    assert f"Best architecture (trial {study.best_trial.number}): {study.best_params}" in out
    assert "Test" not in out
    assert "rank correlation" not in out


def test_a_rank_correlation_is_said(run: Run) -> None:
    study = optuna.create_study(storage="sqlite:///nas.db", study_name="plain")
    for value in (1.0, 2.0, 3.0):
        attrs = {"predicted_value": value, "predicted_std": 1.0}
        study.add_trial(optuna.trial.create_trial(value=value, user_attrs=attrs))

    _, out, _ = run("show", "--storage", "sqlite:///nas.db", "--name", "plain")

    assert "rank correlation +1.00 over 3 trainings" in out


def test_a_study_without_results_is_said_to_be(run: Run) -> None:
    study = optuna.create_study(storage="sqlite:///nas.db", study_name="plain")
    study.tell(study.ask(), state=TrialState.FAIL)

    code, out, _ = run("show", "--storage", "sqlite:///nas.db", "--name", "plain")

    assert code == 0
    assert "No completed trial; 1 failed, 0 pruned." in out


def test_the_dashboard_of_another_environment_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    optuna.create_study(storage="sqlite:///nas.db", study_name="plain")

    _, out, _ = run("show", "--storage", "sqlite:///nas.db", "--name", "plain")

    assert "Look at it: optuna-dashboard sqlite:///nas.db" in out


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["search"], "required: --data"),
        (["show"], "one of the arguments FILE --storage is required"),
        (["search", *SMALL, "--data", "missing.npz"], "no file at missing.npz"),
        (["search", *SMALL, "--data", "notes.txt"], "no file at notes.txt"),
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
        (["search", *SMALL, "--time-limit", "-1"], "time_limit_seconds above 0"),
        (["search", *SMALL, "--time-limit", "1e-9", "--trials", "1"], "a completed trial"),
        (["search", *SMALL, "--storage", "nas.txt"], "a database URL or a journal file"),
        (["search", *SMALL, "--storage", "sqlite:///no/nas.db"], "unable to open"),
        (["search", *SMALL, "--report", "no/report.html"], "not a file in a folder that exists"),
        (["search", *SMALL, "--report", "."], "not a file in a folder that exists"),
        (["show", "--storage", "sqlite:///new.db", "--name", "x"], "none: the storage is empty"),
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
    assert "another study_name" in err
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

    monkeypatch.setattr("surrogate_nas.cli.search.continue_study", stop)
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
