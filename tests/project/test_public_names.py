from __future__ import annotations

import os
import subprocess
import sys
from types import ModuleType

import pytest

import surrogate_nas


def test_public_names_are_sorted() -> None:
    assert surrogate_nas.__all__ == sorted(surrogate_nas.__all__)


def test_public_names_are_all_that_is_public() -> None:
    public = {
        name
        for name, value in vars(surrogate_nas).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }

    assert public | {"pretrained", "spaces", "tasks"} == set(surrogate_nas.__all__)


@pytest.mark.parametrize("name", surrogate_nas.__all__)
def test_public_names_are_documented(name: str) -> None:
    assert getattr(surrogate_nas, name).__doc__


def test_optional_packages_are_not_imported() -> None:
    script = (
        "import sys, surrogate_nas, surrogate_nas.cli\n"
        "optional = {'matplotlib', 'PIL', 'plotly', 'optuna_dashboard', 'jinja2', 'cmaes', "
        "'onnx', 'onnxscript', 'onnxruntime'}\n"
        "print(sorted(optional & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )

    assert done.stdout.strip() == "[]"
