from __future__ import annotations

import pytest
from optuna.storages import InMemoryStorage

from surrogate_nas.storage.passwords import masked


@pytest.mark.parametrize(
    ("storage", "words"),
    [
        (None, "memory"),
        (InMemoryStorage(), "InMemoryStorage"),
        ("nas.journal", "nas.journal"),
        ("sqlite:///nas.db", "sqlite:///nas.db"),
        ("sqlite:////a:b/c@d.db", "sqlite:////a:b/c@d.db"),
        ("sqlite:///nas.db?timeout=5", "sqlite:///nas.db?timeout=5"),
        ("mysql://me@host/db", "mysql://me@host/db"),
        ("mysql://me:secret@host/db", "mysql://me:***@host/db"),
        ("mysql://me:se@cret@host/db", "mysql://me:***@host/db"),
        ("postgresql:///db?user=me&password=secret", "postgresql:///db?user=me&password=***"),
        ("://nothing", "://nothing"),
    ],
)
def test_a_storage_is_named_without_its_password(
    storage: str | InMemoryStorage | None, words: str
) -> None:
    assert masked(storage) == words
