from __future__ import annotations

import os
import subprocess
import sys

import pytest

from surrogate_nas import testing

pytestmark = pytest.mark.slow


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return done.stdout.strip()


def test_pytest_is_not_imported_by_the_package() -> None:
    assert run("import sys, surrogate_nas, surrogate_nas.cli; print('pytest' in sys.modules)") == (
        "False"
    )


def test_without_pytest_the_extra_is_named() -> None:
    script = """
import sys
sys.modules["pytest"] = None
try:
    import surrogate_nas.testing
except ImportError as error:
    print(error)
"""
    assert "Run pip install 'surrogate-nas[testing]'." in run(script)


@pytest.mark.parametrize("name", testing.__all__)
def test_every_suite_is_documented(name: str) -> None:
    suite = getattr(testing, name)
    assert suite.__doc__
    for method, value in vars(suite).items():
        assert not method.startswith("test_") or value.__doc__, f"{name}.{method}"
