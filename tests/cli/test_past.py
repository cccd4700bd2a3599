"""The commands that work on past tasks: fit, evaluate, show FILE, finalize."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import optuna
import pytest

from surrogate_nas import tasks
from surrogate_nas.running.objective import Objective
from surrogate_nas.running.study import create_study
from surrogate_nas.spaces import CellSpace, ConvNetSpace
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from surrogate_nas.training.trainer import Trainer
from tests.helpers.command_line import Run, run, verbosity

pytestmark = pytest.mark.slow

__all__ = ["run", "verbosity"]  # fixtures


def n_convolutions(trial: optuna.Trial, noise: int) -> float:
    params = CellSpace().suggest(trial)
    return sum(str(params[f"op_{i}"]).startswith("conv") for i in range(6)) + 0.1 * (
        trial.number * noise % 7
    )


@pytest.fixture
def past(run: Run) -> list[str]:
    """Three past studies of cells in a storage, and the arguments that name them."""
    for number in range(3):
        study = optuna.create_study(
            storage="sqlite:///past.db",
            study_name=f"past-{number}",
            direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=number),
        )
        study.optimize(lambda trial, n=number: n_convolutions(trial, n + 1), 12)  # type: ignore[misc]
    return ["--storage", "sqlite:///past.db"]


def test_a_surrogate_is_fitted_to_a_storage_and_shown(run: Run, past: list[str]) -> None:
    code, out, err = run("fit", *past, "--out", "cells.surrogate")

    assert (code, err) == (0, "")
    assert re.search(r"^3 past tasks, 36 trained architectures$", out, re.MULTILINE)
    assert re.search(r"^past-1 +12 +[+-]\d\.\d\d  none$", out, re.MULTILINE)
    assert len(MetaSurrogate.load("cells.surrogate").tasks) == 3

    code, shown, err = run("show", "cells.surrogate")

    assert (code, err) == (0, "")
    assert shown.splitlines() == out.splitlines()[: len(shown.splitlines())]
    assert "Surrogate of CellSpace (op_0, " in shown


def test_studies_can_be_left_out(run: Run, past: list[str]) -> None:
    _, out, _ = run("fit", *past, "--exclude", "past-1", "--out", "cells.surrogate")

    assert "2 past tasks" in out
    assert "past-1" not in out


def test_studies_that_do_not_fit_are_named_in_a_note(run: Run, past: list[str]) -> None:
    other = optuna.create_study(storage="sqlite:///past.db", study_name="somebody's")
    other.optimize(lambda trial: trial.suggest_float("x", 0, 1), 3)

    with warnings.catch_warnings():
        warnings.simplefilter("default")
        code, _, err = run("fit", *past, "--out", "cells.surrogate")

    assert code == 0
    assert re.match(r"note: .*somebody's", err)


def test_tables_and_the_shipped_history_are_sources_too(run: Run) -> None:
    rows = ["accuracy,set," + ",".join([*(f"op_{i}" for i in range(6)), "width", "depth"])]
    ops = ["none", "conv_3x3", "skip_connect", "conv_1x1", "avg_pool_3x3"]
    for number in range(24):
        chosen = [ops[(number // 5**i + number * i) % 5] for i in range(6)]
        rows.append(",".join([f"{0.01 * number}", f"set-{number % 2}", *chosen, "16", "2"]))
    Path("mine.csv").write_text("\n".join(rows))
    table = ["--table", "mine.csv", "--value", "accuracy"]

    code, out, err = run("fit", *table, "--task", "set", "--shipped", "--out", "cells.surrogate")

    assert (code, err) == (0, "")
    assert re.search(r"^set-0 +12 ", out, re.MULTILINE)
    assert re.search(r"^cifar10 ", out, re.MULTILINE)

    code, out, err = run("fit", *table, "--out", "one.surrogate")

    assert (code, err) == (0, "")
    assert "1 past tasks, 24 trained" in out
    assert "mine" in out


def test_a_history_is_evaluated(run: Run, past: list[str]) -> None:
    code, out, err = run("evaluate", *past)

    assert (code, err) == (0, "")
    assert all(f"past-{number}" in out for number in range(3))
    assert "saved" in out.lower()


def test_progress_is_shown_on_a_terminal(
    run: Run, past: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)

    _, _, err = run("evaluate", *past)

    assert "left out 2 of 3 past tasks" in err
    assert err.endswith("\r")


def test_what_ships_is_shown(run: Run) -> None:
    code, out, err = run("show", "pretrained")

    assert (code, err) == (0, "")
    assert "Surrogate of CellSpace" in out
    assert "Surrogate of ConvNetSpace" in out
    assert re.search(r"^mnist +\d+ +[+-]\d\.\d\d  \w+ \d", out, re.MULTILINE)


def test_a_study_is_finalized_into_a_new_folder(run: Run) -> None:
    task = tasks.from_npz("few.npz")
    study = create_study(task, CellSpace(), storage="sqlite:///nas.db", study_name="few", seed=0)
    study.optimize(Objective(task, CellSpace(), Trainer(epochs=1)), 1)
    command = ["finalize", "--data", "few.npz", "--storage", "sqlite:///nas.db", "--name", "few"]

    code, out, err = run(*command, "--epochs", "1", "--folder", "winner")

    assert (code, err) == (0, "")
    assert "Network: winner" in out
    metrics = json.loads(Path("winner/metrics.json").read_text())
    assert re.search(rf"^Test accuracy: {metrics['test_value']:.4f} ", out, re.MULTILINE)
    assert np.isfinite(metrics["test_value"])

    code, out, err = run(*command, "--epochs", "1", "--folder", "winner")

    assert code == 2
    assert "'winner' is not a new folder" in err
    assert "Retraining" not in out


def test_a_search_starts_from_what_ships(run: Run) -> None:
    code, out, err = run(
        *("search", "--data", "few.npz", "--epochs", "1", "--trials", "1", "--quiet"),
        *("--space", "convnet", "--limit", "parameters=3e4", "--surrogate", "pretrained"),
        *("--folder", "winner"),
    )

    assert (code, err) == (0, "")
    assert "Network: winner" in out
    (trial,) = optuna.load_study(study_name="few-convnet", storage="sqlite:///nas.db").trials
    assert "predicted_rank" in trial.user_attrs
    ConvNetSpace().from_params(trial.params)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--storage", "sqlite:///past.db"], "required: --out"),
        (["fit", "--out", "x.surrogate"], "Expected at least one past task; got none"),
        (["fit", "--table", "no.csv", "--out", "x.surrogate"], "no.csv"),
        (["fit", "--shipped", "--out", "no/x.surrogate"], "a file in a folder that exists"),
        (["fit", "--storage", "sqlite:///no/nas.db", "--out", "x.surrogate"], "unable to open"),
        (["evaluate"], "Expected at least one past task; got none"),
        (["show"], "no file 'nas.db'"),
        (["show", "no.surrogate"], "Expected a surrogate file at 'no.surrogate'"),
        (["show", "few.npz"], "got a file of another kind"),
        (["show", "x", "--storage", "sqlite:///nas.db"], "not allowed with"),
        (["finalize", "--data", "few.npz", "--name", "x"], "no file 'nas.db'"),
    ],
)
def test_bad_input_is_explained(arguments: list[str], message: str, run: Run) -> None:
    code, out, err = run(*arguments)

    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_nothing_is_written_where_past_tasks_are_bad(run: Run) -> None:
    Path("bad.csv").write_text("value,op_0\n0.5,conv_3x3\n0.6,skip_connect\n")

    code, _, err = run(
        *("fit", "--table", "bad.csv", "--direction", "maximize", "--out", "x.surrogate")
    )

    assert code == 2
    assert "op_1" in err
    assert not Path("x.surrogate").exists()


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m surrogate_nas.cli show pretrained | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("Surrogate of CellSpace")
    assert done.stderr == ""
