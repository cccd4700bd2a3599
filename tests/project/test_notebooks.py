"""The notebooks run without a warning, are paired with scripts, and are kept without outputs."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

FOLDER = Path(__file__).parents[2] / "notebooks"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
METHOD_ENDS = "# ## Does it help?"


def notebook(name: str) -> Any:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)  # type: ignore[no-untyped-call]


def outputs(found: Any) -> list[Any]:
    return [o for cell in found.cells for o in cell.get("outputs", [])]


def test_each_script_has_its_notebook() -> None:
    assert len(NAMES) == 5
    assert sorted(path.stem for path in FOLDER.glob("*.ipynb")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_script_and_notebook_say_the_same(name: str) -> None:
    script = jupytext.read(FOLDER / f"{name}.py")
    pairs = [[(cell.cell_type, cell.source) for cell in n.cells] for n in (script, notebook(name))]
    assert pairs[0] == pairs[1], "run make notebooks"


@pytest.mark.parametrize("name", NAMES)
def test_no_output_is_kept(name: str) -> None:
    kept = notebook(name)
    assert outputs(kept) == []
    assert all(cell.get("execution_count") is None for cell in kept.cells)


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_with_a_small_budget(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTEBOOK_BUDGET", "small")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path / "runtime"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    run = notebook(name)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(run, timeout=600, kernel_name="python3", resources=resources).execute()
    said = outputs(run)
    assert any(output.output_type == "stream" for output in said)
    errors = [output.text for output in said if output.get("name") == "stderr"]
    # How far the retraining of a final network is, is no error.
    lines = [line for text in errors for line in text.splitlines()]
    assert [line for line in lines if not line.startswith("Retraining")] == []


def test_the_method_is_less_than_100_lines() -> None:
    text = (FOLDER / "04_the_loop_in_100_lines.py").read_text(encoding="utf-8")
    method = text[: text.index(METHOD_ENDS)].splitlines()
    assert (
        len([line for line in method if line.strip() and not line.strip().startswith("#")]) < 100
    )


def test_the_method_needs_three_packages() -> None:
    tree = ast.parse((FOLDER / "04_the_loop_in_100_lines.py").read_text(encoding="utf-8"))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else [a.name for a in node.names]
        )
    }
    assert imported == {"math", "os", "statistics", "numpy", "lightgbm", "optuna"}
