from __future__ import annotations

import time

import pytest
from optuna.storages import InMemoryStorage

from surrogate_nas.storage.passwords import masked, without_passwords


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


@pytest.mark.parametrize("text", ["x<&|", "a:/b: ", "a:/b:", "://", "?x=", "@", ":"])
def test_a_long_text_is_looked_through_at_once(text: str) -> None:
    """It may come from a storage, so its length must not cost its square."""
    long = text * (40_000 // len(text))
    began = time.process_time()
    assert len(without_passwords(long)) <= len(long) + 3
    assert time.process_time() - began < 5.0
