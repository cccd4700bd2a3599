"""A full disk ends the command line with one sentence and an exit code."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from sqlalchemy.exc import OperationalError

import surrogate_nas as sn
from surrogate_nas.cli.full_disk import EXIT_CODE, full_disk
from tests.helpers.command_line import SMALL, Run, run, stored, verbosity
from tests.helpers.full_disks import fill, small_disk

__all__ = ["run", "verbosity"]  # fixtures


def chained() -> BaseException:
    """An error as Optuna's loop raises it."""
    try:
        try:
            raise OperationalError("insert", {}, Exception("database or disk is full"))
        except OperationalError:
            raise AssertionError from None
    except AssertionError as error:
        return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "nas.db"), "left on device: nas.db"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "Disk quota exceeded"),
        (OSError(errno.EFBIG, "File too large"), "File too large"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "no space left"),
        (chained(), "disk is full"),
    ],
)
def test_errors_of_a_full_disk_are_known(error: BaseException, reason: str) -> None:
    assert reason in (full_disk(error) or "")


def test_other_errors_are_none() -> None:
    assert full_disk(OSError(errno.EACCES, "Permission denied")) is None
    assert full_disk(ValueError("no space for doubt")) is None


@pytest.mark.parametrize("name", ["sqlite:///disk/nas.db", "disk/nas.journal"])
def test_a_search_on_a_full_disk(name: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk becomes full in the second training; with room again the same command ends well."""
    train = sn.Trainer.train

    def filling(self: sn.Trainer, *arguments: Any, **more: Any) -> Any:
        if sum(path.exists() for path in (Path("disk/filler"),)) == 0 and calls:
            fill(Path("disk"))
        calls.append(1)
        return train(self, *arguments, **more)

    calls: list[int] = []
    monkeypatch.setattr("surrogate_nas.training.trainer.Trainer.train", filling)
    with small_disk(Path("disk").resolve(), 2048):
        code, _, err = run("search", *SMALL, "--storage", name, "--search-only")

        assert code == EXIT_CODE
        said = [line for line in err.splitlines() if line.startswith("surrogate-nas: ")]
        assert len(said) == 1
        assert "make room" in said[0]
        assert "Traceback" not in err

        Path("disk/filler").unlink()
        monkeypatch.setattr("surrogate_nas.training.trainer.Trainer.train", train)
        code, out, _ = run("search", *SMALL, "--storage", name, "--search-only")

        assert code == 0
        assert "Best architecture" in out


def test_a_report_on_a_full_disk(run: Run) -> None:
    study = optuna.create_study(storage="sqlite:///nas.db", study_name="few-cell")
    study.add_trial(optuna.trial.create_trial(value=1.0))
    assert len(stored().trials) == 1
    with small_disk(Path("disk").resolve(), 64) as disk:
        fill(disk)
        code, _, err = run(
            *("report", "--storage", "sqlite:///nas.db", "--name", "few-cell"),
            *("--out", "disk/report.html"),
        )

    assert code == EXIT_CODE
    assert err.count("\n") == 1
    assert "No space left on device" in err


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no such device here")
@pytest.mark.parametrize("command", [["--help"], ["show", "--storage", "sqlite:///nas.db"]])
def test_an_output_on_a_full_disk(
    command: list[str], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    optuna.create_study(storage="sqlite:///nas.db", study_name="few-cell")
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code, _, err = run(*command)

    assert code == EXIT_CODE
    assert "the disk is full" in err
