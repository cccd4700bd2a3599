"""Every Python block of the README runs, in order, with small budgets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.no_cover,
    pytest.mark.usefixtures("quick_processes"),
]

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
SMALL = {"epochs=15": "epochs=1", "n_trials=20": "n_trials=3", "n_trials=8": "n_trials=2"}


def test_every_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "readme"}
    assert len(BLOCKS) == 4
    for place, block in enumerate(BLOCKS):
        for large, small in SMALL.items():
            block = block.replace(large, small)
        exec(compile(block, f"README.md, block {place}", "exec"), names)
    assert names["result"].test_value > 0.1
    assert len(names["study"].trials) == 3
    assert Path("digits-final/network.py").exists()
    assert names["past"][0].name == "digits"
    assert Path("cells.surrogate").exists()
    assert max(t.user_attrs["parameters"] for t in names["warm"].trials) <= 200_000
    assert len(names["mlps"].trials) == 2
    assert len(names["plain"].trials) == 10


def test_a_first_search_takes_15_lines() -> None:
    assert len(BLOCKS[0].splitlines()) <= 15


def test_own_space_takes_two_methods_and_less_than_25_lines() -> None:
    space = next(block for block in BLOCKS if "class Perceptron" in block)
    body = space[space.index("class") : space.index("mlps =")]
    assert body.count("    def ") == 2
    assert len(body.strip().splitlines()) < 25


def test_no_block_is_left_out_of_the_run() -> None:
    assert README.count("```python") == len(BLOCKS)
