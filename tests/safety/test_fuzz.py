"""Spoilt files of every kind, read in a process of their own; ``studies/fuzz`` reads many more."""

from __future__ import annotations

import sys

import pytest

from tests.safety.fuzz.study import HARMLESS, READERS, STRUCTURED, kind_of, run

pytestmark = pytest.mark.slow

_EACH = 45
_STRUCTURES = {
    **{"arrays": 500, "warm weights": 400, "checkpoint": 350, "table": 250, "final network": 180},
    **{"journal": 110, "stored attributes": 70, "surrogate": 70, "attached surrogate": 60},
    **{"image folder": 60, "database": 50},
}
"""Number of files of each reader: some readers take a millisecond for one, some a hundred."""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and processor time")
def test_spoilt_files_are_refused_or_read() -> None:
    """No crash, no hang, no flood of memory, no error but the reader's own."""
    counts, failures = run(list(READERS), _EACH, seed=1)

    assert failures == []
    assert sum(counts.values()) == _EACH * len(READERS)
    assert {outcome for _, _, outcome in counts} == HARMLESS


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory and processor time")
def test_files_of_another_structure_are_refused_or_read() -> None:
    """Some two thousand of them: the format is right, and what it holds is not."""
    # NOTE: one process reads them all, as most of the time would go into imports.
    wanted = {f"{name}: structure": n for name, n in _STRUCTURES.items()}
    n = sum(wanted.values())
    counts, failures = run(wanted, 0, seed=2, batch=n)

    assert failures == []
    assert sum(counts.values()) == n >= 2000
    assert wanted.keys() == STRUCTURED.keys()
    for reader in STRUCTURED:
        assert {outcome for name, _, outcome in counts if name == reader} == HARMLESS


def test_every_reader_has_each_kind_of_mutation_tried() -> None:
    """So many files of a reader meet all its mutations."""
    for reader in READERS.values():
        made = reader()
        assert {kind_of(made, index) for index in range(_EACH)} == set(made.mutations)
