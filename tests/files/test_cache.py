"""Where files lie that can be made again."""

from __future__ import annotations

from pathlib import Path

import pytest

from surrogate_nas.files.cache import cache_folder


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURROGATE_NAS_CACHE", "/somewhere")
    assert cache_folder("images") == Path("/somewhere/images")
    monkeypatch.delenv("SURROGATE_NAS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder("images") == Path("/caches/surrogate_nas/images")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder("images") == Path("/home/me/.cache/surrogate_nas/images")
