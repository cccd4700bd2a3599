from __future__ import annotations

import gc
import logging
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from surrogate_nas.arrays import Array
from surrogate_nas.domains.finetuning.store import ArrayStore

ARRAY = np.arange(6.0).reshape(2, 3)


class Maker:
    """Counts how often an array is made."""

    def __init__(self, array: Array = ARRAY) -> None:
        self.calls, self.array = 0, array

    def __call__(self) -> Array:
        self.calls += 1
        return self.array


def test_an_array_is_made_once(tmp_path: Path) -> None:
    store, make = ArrayStore(tmp_path / "new"), Maker()
    for _ in range(3):
        np.testing.assert_array_equal(store.get("a", make), ARRAY)
    # Another program finds it in the folder.
    np.testing.assert_array_equal(ArrayStore(tmp_path / "new").get("a", make), ARRAY)
    assert make.calls == 1
    store.get("b", make)
    assert make.calls == 2


def test_both_bounds_hold(tmp_path: Path) -> None:
    store = ArrayStore(tmp_path, memory_bytes=100, disk_bytes=400)
    for key in "abcdef":
        store.get(key, Maker())
    assert sum(file.stat().st_size for file in tmp_path.glob("*.npy")) <= 400
    assert sum(array.nbytes for array in store._kept.values()) <= 100
    big = Maker(np.zeros(1000))
    store.get("big", big)
    store.get("big", big)
    assert big.calls == 2


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    ArrayStore(tmp_path).get("a", Maker())
    (file,) = tmp_path.glob("*.npy")
    file.write_bytes(file.read_bytes()[:-8])
    make = Maker()
    np.testing.assert_array_equal(ArrayStore(tmp_path).get("a", make), ARRAY)
    assert make.calls == 1
    np.testing.assert_array_equal(ArrayStore(tmp_path).get("a", Maker(ARRAY + 1)), ARRAY)


def test_a_folder_that_cannot_be_written_is_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    store = ArrayStore(tmp_path / "file", memory_bytes=0)
    with caplog.at_level(logging.WARNING):
        store.get("a", Maker())
        store.get("b", Maker())
    assert len(caplog.records) == 1
    assert "are not kept on disk" in caplog.text


def test_a_temporary_folder_is_shared_and_deleted() -> None:
    store = ArrayStore()
    store.get("a", Maker())
    other, make = cloudpickle.loads(cloudpickle.dumps(store)), Maker()
    other.get("a", make)
    assert make.calls == 0
    folder = store._place()
    del other
    gc.collect()
    assert folder.is_dir()
    del store
    gc.collect()
    assert not folder.exists()
