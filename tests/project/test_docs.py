"""The pages of docs/: their code runs, and the reference names all that is public."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import surrogate_nas
from surrogate_nas import pretrained, samplers, spaces, tasks, testing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.no_cover,
    pytest.mark.usefixtures("quick_processes"),
]

TOP = Path(__file__).parents[2]
DOCS = TOP / "docs"
PAGES = sorted(DOCS.glob("*.md"))
RUN = ("data", "finetuning", "results", "reuse", "several", "training")
SMALL = {
    "epochs=15": "epochs=1",
    "n_trials=20": "n_trials=3",
    # A few of the 20 past tasks that ship: each of them is left out in turn.
    "past + sn.pretrained.history(space)": "past + sn.pretrained.history(space)[:2]",
    "sn.pretrained.history(space), repeats=20": "sn.pretrained.history(space)[:4], repeats=1",
}
ONE_OF_EACH = """
def pytest_collection_modifyitems(items):
    items[:] = {item.nodeid.split("[")[0]: item for item in items}.values()
"""


def blocks(name: str) -> list[str]:
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    found = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(found) == text.count("```python") > 0
    return found


@pytest.mark.parametrize("name", RUN)
def test_the_code_of_a_page_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": name}
    for place, block in enumerate(blocks(name)):
        for large, small in SMALL.items():
            block = block.replace(large, small)
        exec(compile(block, f"{name}.md, block {place}", "exec"), names)
    assert capsys.readouterr().out, "a page's code shows what it found"


def test_the_blocks_on_extending_are_a_test_file_that_passes(tmp_path: Path) -> None:
    file = tmp_path / "test_mine.py"
    file.write_text("".join(blocks("extending")), encoding="utf-8")
    # Of the suites, one set of parameters a test: what is shown here is the page's code.
    (tmp_path / "conftest.py").write_text(ONE_OF_EACH)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", file],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 60  # type: ignore[index]


def test_every_page_with_code_is_run() -> None:
    with_code = {page.stem for page in PAGES if "```python" in page.read_text(encoding="utf-8")}
    assert with_code == {*RUN, "extending"}


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8").splitlines()
    pages = {page.stem for page in DOCS.iterdir() if page.suffix in (".md", ".rst")}
    assert pages - {"index"} == pages & set(index)


def test_the_reference_names_all_that_is_public() -> None:
    reference = (DOCS / "reference.rst").read_text(encoding="utf-8")
    faces = ("pretrained", "samplers", "spaces", "tasks")
    own = {name for name in surrogate_nas.__all__ if name not in faces}
    named = set(re.findall(r"^\.\. auto(?:class|function):: (\w+)$", reference, re.MULTILINE))
    assert named == own
    modules = set(re.findall(r"^\.\. automodule:: ([\w.]+)$", reference, re.MULTILINE))
    shown = {module.__name__ for module in (pretrained, spaces, tasks, testing)}
    assert modules == shown | {"surrogate_nas.errors", "surrogate_nas.screening.acquisition"}
    kinds = re.findall(
        r"^\.\. auto(?:class|function):: surrogate_nas\.samplers\.(\w+)$", reference, re.MULTILINE
    )
    assert set(kinds) == {*samplers.__all__} - own


@pytest.mark.parametrize("page", [*PAGES, TOP / "README.md", TOP / "ARCHITECTURE.md"], ids=str)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#\s]+)", text):
        assert (page.parent / target).exists(), target
