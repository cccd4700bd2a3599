"""Images read by their numbers: mapped arrays stay on disk, decoded ones are decoded once."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surrogate_nas.domains.images import stores
from surrogate_nas.domains.images.stores import ArrayStore, DecodedStore, Decoder, ImageStore
from surrogate_nas.domains.images.working_copy import open_copy, temporary_spec
from surrogate_nas.errors import TaskError
from surrogate_nas.task import DatasetSplit, Split
from tests.helpers.images import pixels

ROWS = np.array([4, 0, 9])


@pytest.fixture
def mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> np.memmap[Any, Any]:
    """Images with channels last, in a file that counts as large."""
    monkeypatch.setattr(stores, "IN_MEMORY_BYTES", 100)
    np.save(tmp_path / "x.npy", pixels(10, 6, 5, 3))
    found = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert isinstance(found, np.memmap)
    return found


def test_a_mapped_array_stays_on_disk_whatever_view_it_is(mapped: np.memmap[Any, Any]) -> None:
    for view in (np.moveaxis(np.asarray(mapped), 3, 1), np.moveaxis(mapped[2:], 3, 1)[:, ::-1]):
        store = ArrayStore(view, "uint8")
        assert not store.is_in_memory
        split = store.split(np.arange(len(view)), torch.zeros(len(view)))
        assert isinstance(split, DatasetSplit)
        assert split.is_at_hand
        rows = torch.tensor([3, 1])
        assert np.array_equal(split.take(rows)[0].numpy(), view[[3, 1]])


def test_a_mapped_array_is_sent_as_the_name_of_its_file(mapped: np.memmap[Any, Any]) -> None:
    view = np.moveaxis(mapped[3:, 1:], 3, 1)
    sent = pickle.dumps(ArrayStore(view, "float32"))
    assert len(sent) < 500
    again = pickle.loads(sent)
    assert np.array_equal(again.read(np.arange(7)).numpy(), view)
    assert again.pixel_type == "float32"


def test_a_mapped_file_that_is_gone_is_named(mapped: np.memmap[Any, Any]) -> None:
    sent = pickle.dumps(ArrayStore(np.moveaxis(mapped, 3, 1), "uint8"))
    Path(str(mapped.filename)).unlink()
    with pytest.raises(TaskError, match=r"the mapped file .*x\.npy"):
        pickle.loads(sent)


def test_small_and_ordinary_arrays_are_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", pixels(10, 3, 6, 5))
    for images in (pixels(10, 3, 6, 5), np.load(tmp_path / "x.npy", mmap_mode="r")):
        split = ArrayStore(images, "uint8").split(ROWS, torch.zeros(3))
        assert isinstance(split, Split)
        assert np.array_equal(split.inputs.numpy(), images[ROWS])


class Shades(Decoder):
    """Images of one shade each, counted as they are decoded; the last one cannot be read."""

    shape = (12, 2, 3, 1)
    pixel_type = "uint8"

    def __init__(self) -> None:
        self.decoded: list[int] = []

    def decode(self, row: int) -> Any:
        if row == 11:
            raise TaskError(expected="a shade", got="none", fix="leave it out")
        self.decoded.append(row)
        return np.full(self.shape[1:], row, dtype=np.uint8)


def store_of(decoder: Decoder, place: Path | None) -> DecodedStore:
    if place is None:
        return DecodedStore(decoder, None)
    copy = open_copy(temporary_spec(str(place), decoder.shape, "uint8", "shades"))
    assert copy is not None
    return DecodedStore(decoder, copy)


def shades(store: ImageStore, rows: Any) -> list[int]:
    found = store.read(np.asarray(rows))
    assert found.shape == (len(rows), 1, 2, 3)
    return [int(shade) for shade in found[:, 0, 0, 0]]


def test_with_a_working_copy_an_image_is_decoded_once(tmp_path: Path) -> None:
    decoder = Shades()
    store = store_of(decoder, tmp_path)
    assert shades(store, [4, 0]) == [4, 0]
    assert not store.has(ROWS)
    assert shades(store, ROWS) == [4, 0, 9]
    assert shades(store, ROWS) == [4, 0, 9]
    assert decoder.decoded == [4, 0, 9]
    assert store.has(ROWS)


def test_without_a_copy_an_image_is_decoded_each_time() -> None:
    decoder = Shades()
    store = store_of(decoder, None)
    assert shades(store, ROWS) == shades(store, ROWS) == [4, 0, 9]
    assert len(decoder.decoded) == 6
    assert not store.has(ROWS)
    found = store.decode(ROWS)
    assert found is not None
    assert torch.equal(found, store.read(ROWS))


def test_a_process_that_decodes_sends_nothing_where_a_copy_has_it(tmp_path: Path) -> None:
    decoder = Shades()
    store = store_of(decoder, tmp_path)
    assert store.decode(ROWS) is None
    assert store.decode(np.array([4, 5])) is None
    assert decoder.decoded == [4, 0, 9, 5]


def test_a_copy_that_takes_no_more_is_decoded_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(Shades(), tmp_path)
    store.decode(np.array([4]))

    def full(*_: Any) -> int:
        raise OSError("no space")

    monkeypatch.setattr("os.pwrite", full)
    found = store.decode(ROWS)
    assert found is not None
    assert found[:, 0, 0, 0].tolist() == [4, 0, 9]
    assert shades(store, ROWS) == [4, 0, 9]


def test_a_damaged_copy_is_decoded_beside(tmp_path: Path) -> None:
    store = store_of(Shades(), tmp_path)
    store.read(np.arange(11))
    (folder,) = tmp_path.iterdir()
    with (folder / "pixels.npy").open("rb+") as file:
        file.truncate(150)
    assert shades(store, ROWS) == [4, 0, 9]


def test_the_image_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for place in (None, tmp_path):
        store = store_of(Shades(), place)
        for read in (store.read, store.decode):
            with pytest.raises(TaskError, match="got none"):
                read(np.array([0, 11]))
