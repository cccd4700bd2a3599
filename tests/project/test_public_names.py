from __future__ import annotations

import ast
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import surrogate_nas

HEAVY = {
    *("torch", "optuna", "lightgbm", "sklearn", "numpy", "scipy", "pandas", "sqlalchemy"),
    *("matplotlib", "plotly", "optuna_dashboard", "boto3", "ray", "onnx"),
}


def test_public_names_are_sorted() -> None:
    assert surrogate_nas.__all__ == sorted(surrogate_nas.__all__)


def test_public_names_are_all_that_is_public() -> None:
    assert dir(surrogate_nas) == surrogate_nas.__all__
    assert set(surrogate_nas._HOMES) | {"pretrained", "samplers", "spaces", "tasks"} == set(
        surrogate_nas.__all__
    )


def test_type_checkers_see_the_same_names_at_the_same_places() -> None:
    (block,) = (
        node
        for node in ast.parse(Path(surrogate_nas.__file__).read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    seen = {
        alias.name: (node.module or "").removeprefix("surrogate_nas.")
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module != "surrogate_nas"
        for alias in node.names
    }

    assert seen == surrogate_nas._HOMES


def test_other_modules_are_imported_when_they_are_used() -> None:
    done = run("import surrogate_nas as sn; print(sn.errors.SpaceError.__name__)")

    assert done.stdout == "SpaceError\n"


@pytest.mark.parametrize("name", ["nothing", "_nothing"])
def test_a_name_that_does_not_exist_is_an_attribute_error(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(surrogate_nas, name)


def test_the_version_is_the_installed_one() -> None:
    assert surrogate_nas.__version__ == version("surrogate-nas")


@pytest.mark.parametrize("name", surrogate_nas.__all__)
def test_public_names_are_documented(name: str) -> None:
    assert getattr(surrogate_nas, name).__doc__


def test_optional_packages_are_not_imported() -> None:
    done = run(
        "import sys, surrogate_nas as sn",
        "for name in dir(sn): getattr(sn, name)",
        "optional = {'matplotlib', 'PIL', 'plotly', 'optuna_dashboard', 'jinja2', 'cmaes', "
        "'onnx', 'onnxscript', 'onnxruntime'}",
        "print(sorted(optional & set(sys.modules)))",
    )

    assert done.stdout == "[]\n"


def test_the_import_alone_is_light() -> None:
    done = run("import sys, surrogate_nas", f"print(sorted({HEAVY} & set(sys.modules)))")

    assert done.stdout == "[]\n"


def test_processes_that_train_import_no_more_than_they_need() -> None:
    """Each candidate at once has a process, which should start quickly."""
    done = run(
        "import sys, surrogate_nas.running.processes.worker, surrogate_nas.running.workers.local",
        "spared = {'lightgbm', 'sklearn', 'pandas', 'scipy.stats', 'matplotlib', 'plotly', 'ray'}",
        "print(sorted(spared & set(sys.modules)))",
    )

    assert done.stdout == "[]\n"


def test_help_is_light() -> None:
    """Of every command, and so are the version and a mistake."""
    done = run(
        "import contextlib, sys",
        "from surrogate_nas.cli import main",
        "commands = ('search', 'finalize', 'show', 'report', 'fit', 'evaluate')",
        "for words in ['--help'], ['--version'], ['serch'], *([c, '--help'] for c in commands):",
        "    with contextlib.suppress(SystemExit): main(words)",
        f"print(sorted({HEAVY} & set(sys.modules)))",
    )

    assert done.stdout.endswith("\n[]\n")
    assert done.stdout.count("usage: ") == 7
    assert f"surrogate-nas {surrogate_nas.__version__}\n" in done.stdout


def run(*lines: str) -> subprocess.CompletedProcess[str]:
    """Run a program in an interpreter that has imported nothing yet."""
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
