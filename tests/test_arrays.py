from __future__ import annotations

from pathlib import Path

import surrogate_nas

PACKAGE = Path(surrogate_nas.__file__).parent


def test_types_of_arrays_are_named_here_alone() -> None:
    found = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "NDArray" in path.read_text(encoding="utf-8")
    ]
    assert found == ["arrays.py"]
