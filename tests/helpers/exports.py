"""Final networks without the forms that take seconds to write."""

from __future__ import annotations

import pytest


@pytest.fixture
def without_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave torch.export and ONNX out of the folders that a test writes."""
    monkeypatch.setattr("surrogate_nas.export.folder._try_programs", lambda folder: None)
