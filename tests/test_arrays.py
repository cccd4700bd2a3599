from __future__ import annotations

from pathlib import Path

import numpy as np

import surrogate_nas
from surrogate_nas import arrays

PACKAGE = Path(surrogate_nas.__file__).parent


def test_types_of_arrays_are_named_here_alone() -> None:
    found = [
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "NDArray" in path.read_text(encoding="utf-8")
    ]
    assert found == ["arrays.py"]


def test_each_type_is_named_once() -> None:
    named = {name: repr(value) for name, value in vars(arrays).items() if name.endswith("Array")}
    assert len(named) == len(set(named.values())) > 5
    assert repr(np.dtype[np.float64]) in named["FloatArray"]
