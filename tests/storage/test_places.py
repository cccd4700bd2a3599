from __future__ import annotations

from pathlib import Path

import pytest

from surrogate_nas.storage.opening import open_storage
from surrogate_nas.storage.places import folder_beside, lock_folder


def test_the_folder_for_pictures_is_beside_the_file(tmp_path: Path) -> None:
    """And nowhere for what is no file here."""
    database = open_storage(f"sqlite:///{tmp_path}/nas.db")
    journal = open_storage(f"{tmp_path}/other.journal")

    assert folder_beside(database, "artifacts") == tmp_path / "nas-artifacts"
    assert folder_beside(journal, "artifacts") == tmp_path / "other-artifacts"
    assert folder_beside(open_storage(None), "artifacts") is None
    assert folder_beside(open_storage("sqlite:///:memory:"), "artifacts") is None


def test_locks_lie_beside_the_file_too(tmp_path: Path) -> None:
    """A study in memory has none: nobody can continue it."""
    database = open_storage(f"sqlite:///{tmp_path}/nas.db")
    assert lock_folder(database) == tmp_path / "nas-running"
    assert lock_folder(open_storage(None)) is None
    assert lock_folder(open_storage("sqlite:///:memory:")) is None


class Server:
    """Stands for the storage of a database server: it has no file."""


@pytest.mark.parametrize("name", ["XDG_CACHE_HOME", "HOME"])
def test_locks_of_a_server_s_trials_outlive_a_restart(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They lie in the user's cache folder, not in the temporary one."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(name, str(tmp_path))
    inner = tmp_path if name == "XDG_CACHE_HOME" else tmp_path / ".cache"
    assert lock_folder(Server()) == inner / "surrogate_nas" / "running"  # type: ignore[arg-type]
