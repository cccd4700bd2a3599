from __future__ import annotations

import pytest
import torch
from hypothesis import settings

# Networks this small are slower on two threads, much slower where tests run side by side.
torch.set_num_threads(1)

# The same examples in every run: a check that fails by chance says nothing about a change.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the user's own cache alone."""
    monkeypatch.setenv("SURROGATE_NAS_CACHE", str(tmp_path_factory.mktemp("cache")))
