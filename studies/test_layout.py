"""Every study is laid out alike: a README, at most one file of raw values, commands that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from studies import raw

HERE = Path(__file__).parent
STUDIES = sorted(path.parent for path in HERE.glob("*/README.md"))
OVERVIEW = (HERE / "README.md").read_text(encoding="utf-8")


def test_the_overview_lists_every_study() -> None:
    folders = {path.parent.name for path in HERE.glob("*/*.py")} | {one.name for one in STUDIES}

    assert set(re.findall(r"^\| \[(\w+)\]\(\1\) \|", OVERVIEW, re.MULTILINE)) == folders


@pytest.mark.parametrize("study", STUDIES, ids=lambda path: path.name)
def test_raw_values_are_one_packed_file(study: Path) -> None:
    kinds = ("*.jsonl*", "*.csv*", "*.json", "*.parquet", "*.npz")
    found = [path.relative_to(study).as_posix() for kind in kinds for path in study.rglob(kind)]

    assert set(found) <= {"raw.jsonl.gz"}
    assert all(raw.read(study / name) for name in found)


@pytest.mark.parametrize("readme", [HERE, *STUDIES], ids=lambda path: path.name)
def test_commands_and_links_of_a_readme_lead_somewhere(readme: Path) -> None:
    text = (readme / "README.md").read_text(encoding="utf-8")
    modules = re.findall(r"python[\d.]* -m ((?:studies|tests)[\w.]*)", text)
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    paths = re.findall(r"`((?:integrations|studies|surrogate_nas|tests)/[\w./]+)`", text)

    top = HERE.parent
    assert [m for m in modules if not (top / f"{m.replace('.', '/')}.py").is_file()] == []
    assert [link for link in links if not (readme / link).exists()] == []
    assert [path for path in paths if not (top / path).exists()] == []
