"""Real benchmark tables and weights, which lie beside the checkout on some machines only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("SURROGATE_NAS_SHARED", Path(__file__).parents[2].parent / "shared"))


def shared_weights(name: str) -> Path:
    """Path of a file of pretrained weights; the test is skipped where it is absent."""
    path = SHARED / "pretrained" / name
    if not path.is_file():
        pytest.skip(
            f"{path} is absent; set SURROGATE_NAS_SHARED to the folder that has pretrained/"
        )
    return path


def shared_table(name: str) -> Path:
    """Path of a table; the test is skipped where it is absent."""
    path = SHARED / "bench" / "tables" / f"{name}.parquet"
    if not path.is_file():
        pytest.skip(f"{path} is absent; set SURROGATE_NAS_SHARED to the folder that has bench/")
    return path
