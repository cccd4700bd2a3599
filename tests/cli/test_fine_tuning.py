"""A search of what to train of a backbone, from a file of the user's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers.command_line import Run, run, stored, verbosity

pytestmark = pytest.mark.slow

__all__ = ["run", "verbosity"]  # fixtures

CODE = """
from pathlib import Path
from torch import nn

def make(width):
    Path("made.txt").write_text(width)
    return nn.Sequential(nn.Conv2d(3, int(width), 3, 4), nn.BatchNorm2d(int(width)), nn.ReLU())
"""
SEARCH = ("search", "--data", "few.npz", "--space", "finetune", "--trials", "1", "--quiet")


@pytest.fixture(autouse=True)
def _code(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(CODE)


def test_a_search_begins_with_class_means_and_is_finalized_with_its_backbone(run: Run) -> None:
    backbone = ("--backbone", "mine=nets.py:make:6")
    code, out, err = run(*SEARCH, *backbone, "--search-only")
    assert (code, err) == (0, "")
    assert "class means on frozen features of mine, without training" in out
    assert stored("few-finetune").user_attrs["space"] == "FineTuneSpace"

    Path("made.txt").unlink()
    again = ("finalize", "--folder", "final")
    code, _, err = run(*again)
    assert code == 2
    assert "Expected --backbone again" in err
    # What the storage says is code of others, and is not run.
    assert not Path("made.txt").exists()
    code, _, err = run(*again, *backbone)
    assert (code, err) == (0, "")
    about = json.loads(Path("final", "metrics.json").read_text())
    assert about["weights_from"].startswith("mine, made by make('6') of nets.py, SHA-256")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Expected at least one backbone"),
        (("--backbone", "nets.py"), "NAME=FILE.py:CALLABLE"),
        (("--backbone", "mine=nets.py:other"), "'other' in 'nets.py'; got make"),
        (("--backbone", "mine=nets.py:make:x"), "invalid literal for int"),
        (("--backbone", "mine=nets.py:make:6", "--space", "cell"), "--backbone with --space fine"),
    ],
)
def test_a_backbone_that_cannot_be_used_is_refused(
    run: Run, arguments: tuple[str, ...], said: str
) -> None:
    code, _, err = run(*SEARCH, *arguments)
    assert code == 2
    assert said in err
    assert "Traceback" not in err


def test_help_names_the_backbones(run: Run) -> None:
    _, out, _ = run("search", "--help")
    assert "--backbone SOURCE" in out
    assert "of --space finetune: pretrained network" in " ".join(out.split())
