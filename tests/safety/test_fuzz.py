"""Spoilt files of every kind, read in a process of their own; ``studies/fuzz`` reads many more."""

from __future__ import annotations

import sys

import pytest

from tests.safety.fuzz.study import HARMLESS, READERS, kind_of, run

pytestmark = pytest.mark.slow

_EACH = 45


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and processor time")
def test_spoilt_files_are_refused_or_read() -> None:
    """No crash, no hang, no flood of memory, no error but the reader's own."""
    counts, failures = run(list(READERS), _EACH, seed=1)

    assert failures == []
    assert sum(counts.values()) == _EACH * len(READERS)
    assert {outcome for _, _, outcome in counts} == HARMLESS


def test_every_reader_has_each_kind_of_mutation_tried() -> None:
    """So many files of a reader meet all its mutations."""
    for reader in READERS.values():
        made = reader()
        assert {kind_of(made, index) for index in range(_EACH)} == set(made.mutations)
