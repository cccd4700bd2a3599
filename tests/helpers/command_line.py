"""The command line as tests run it, on a small data set in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
from sklearn.datasets import load_digits

from surrogate_nas import cli

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def verbosity() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    without_programs: None,
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
