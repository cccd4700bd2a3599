"""What the command line shows of studies."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tests.helpers.command_line import SMALL, Run, run, verbosity

pytestmark = pytest.mark.slow

__all__ = ["run", "verbosity"]  # fixtures


def test_studies_are_listed_and_summed_up(run: Run) -> None:
    assert run("search", *SMALL)[0] == 0

    code, out, err = run("show", "--storage", "sqlite:///nas.db")
    assert (code, out) == (0, "few-cell\n")
    assert "1 studies" in err

    code, out, err = run("show", "--storage", "sqlite:///nas.db", "--name", "few-cell")
    assert (code, err) == (0, "")
    assert "Best architecture (trial" in out
    assert re.search(r"^Test accuracy: 0\.\d{4} \(measured once\)$", out, re.MULTILINE)


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
