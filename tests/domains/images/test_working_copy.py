"""Decoded images on disk: shared by processes, bounded, and left out where that must be."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surrogate_nas.domains.images.working_copy import (
    CopySpec,
    WorkingCopy,
    open_copy,
    place_of,
    temporary_spec,
)

SHAPE = (6, 2, 3, 1)
IMAGES = np.arange(36, dtype=np.uint8).reshape(SHAPE)


def spec(place: Path, key: str = "a", **changes: Any) -> CopySpec:
    given = {"shape": SHAPE, "dtype": "uint8", "origin": "photos", "words": "pets", **changes}
    return CopySpec(str(place), key, **given)


def opened(place: Path, key: str = "a", **changes: Any) -> WorkingCopy:
    copy = open_copy(spec(place, key, **changes))
    assert copy is not None
    return copy


def read(copy: WorkingCopy, rows: list[int]) -> Any:
    found = np.empty((len(rows), *SHAPE[1:]), dtype=copy.spec.dtype)
    assert copy.read(np.array(rows), found)
    return found


def test_what_is_written_is_read_and_nothing_else_is_there(tmp_path: Path) -> None:
    copy = opened(tmp_path)
    for row in (4, 1, 2):
        assert copy.write(row, IMAGES[row])
    assert copy.has(np.arange(6)).tolist() == [False, True, True, False, True, False]
    assert np.array_equal(read(copy, [4, 1, 2, 1]), IMAGES[[4, 1, 2, 1]])


def test_another_object_and_another_process_see_it(tmp_path: Path) -> None:
    copy, beside = opened(tmp_path), opened(tmp_path)
    copy.write(3, IMAGES[3])
    assert beside.has(np.array([3])).all()
    sent = pickle.loads(pickle.dumps(copy))
    assert np.array_equal(read(sent, [3]), IMAGES[[3]])
    fork = multiprocessing.get_context("fork").Process(target=copy.write, args=(5, IMAGES[5]))
    fork.start()
    fork.join()
    assert np.array_equal(read(copy, [5]), IMAGES[[5]])
    assert copy.has(np.array([5])).all()


def test_it_is_there_in_the_next_session_and_numpy_can_map_it(tmp_path: Path) -> None:
    copy = opened(tmp_path)
    for row in range(6):
        copy.write(row, IMAGES[row])
    del copy
    assert opened(tmp_path).has(np.arange(6)).all()
    mapped = np.load(tmp_path / "a" / "pixels.npy", mmap_mode="r", allow_pickle=False)
    assert np.array_equal(mapped, IMAGES)


def test_wide_pixels_are_kept_as_they_are(tmp_path: Path) -> None:
    copy = opened(tmp_path, dtype="float32")
    copy.write(0, IMAGES[0] / np.float32(7))
    assert np.array_equal(read(copy, [0])[0], IMAGES[0] / np.float32(7))


# Copies that cannot be used


def cut(folder: Path) -> None:
    os.truncate(folder / "pixels.npy", 140)


def other_state(folder: Path) -> None:
    (folder / "state").write_bytes(b"\1" * 5)


def no_words(folder: Path) -> None:
    (folder / "about.json").write_text("{")


def another_form(folder: Path) -> None:
    np.save(folder / "pixels.npy", IMAGES.reshape(6, 3, 2, 1))


def an_object(folder: Path) -> None:
    np.save(folder / "pixels.npy", np.array([None] * 36), allow_pickle=True)


def another_start(folder: Path) -> None:
    about = json.loads((folder / "about.json").read_text())
    (folder / "about.json").write_text(json.dumps({**about, "boot": "another"}))


@pytest.mark.parametrize(
    "damage", [cut, other_state, no_words, another_form, an_object, another_start, shutil.rmtree]
)
def test_a_damaged_copy_begins_afresh(tmp_path: Path, damage: Any) -> None:
    opened(tmp_path).write(0, IMAGES[0])
    damage(tmp_path / "a")
    copy = opened(tmp_path)
    assert not copy.has(np.arange(6)).any()
    assert copy.write(0, IMAGES[0])


def test_a_whole_copy_outlasts_the_machine_s_start(tmp_path: Path) -> None:
    """It has reached the disk by the time that it is opened again."""
    copy = opened(tmp_path)
    for row in range(6):
        copy.write(row, IMAGES[row])
    opened(tmp_path)
    another_start(tmp_path / "a")
    assert opened(tmp_path).has(np.arange(6)).all()


def test_a_file_that_is_cut_off_meanwhile_is_noticed(tmp_path: Path) -> None:
    copy = opened(tmp_path)
    copy.write(5, IMAGES[5])
    cut(tmp_path / "a")
    assert not copy.read(np.array([5]), np.empty((1, *SHAPE[1:]), dtype=np.uint8))


# Disks


def test_a_disk_that_is_too_small_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=4 * IMAGES.nbytes - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert open_copy(spec(tmp_path)) is None
    assert "No working copy of 'pets'" in caplog.text
    assert "36 of 143 free bytes, above a quarter" in caplog.text
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_ends_the_writing_and_not_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    copy = opened(tmp_path)
    copy.write(0, IMAGES[0])

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert not copy.write(1, IMAGES[1])
    assert not copy.write(2, IMAGES[2])
    assert copy.has(np.arange(3)).tolist() == [True, False, False]
    assert len(caplog.records) == 1
    assert "No space left on device" in caplog.text


def test_a_place_that_cannot_be_written_to_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    assert open_copy(spec(tmp_path / "file" / "below")) is None
    assert "again in each epoch" in caplog.text


def test_a_system_without_reading_at_positions_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(os, "preadv")
    assert open_copy(spec(tmp_path)) is None
    assert "this system" in caplog.text


# Copies that are of no more use


def test_a_copy_replaces_others_of_its_origin_and_no_others(tmp_path: Path) -> None:
    for key, origin in (("old", "photos"), ("other", "more photos"), ("new", "photos")):
        opened(tmp_path, key, origin=origin)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "other"]


def test_forgotten_copies_are_deleted(tmp_path: Path) -> None:
    opened(tmp_path, "old", origin="one")
    opened(tmp_path, "used", origin="two")
    for key in ("old", "used"):
        os.utime(tmp_path / key / "about.json", (0, 0))
    opened(tmp_path, "used", origin="two")
    opened(tmp_path, "new", origin="three")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "used"]


def test_what_is_no_copy_is_let_be(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "about.json").write_text('{"origin": "photos"}')
    opened(tmp_path)
    assert (tmp_path / "mine").exists()


def test_a_temporary_copy_is_deleted_with_its_last_reader(tmp_path: Path) -> None:
    given = temporary_spec(str(tmp_path), SHAPE, "uint8", "pets")
    copy = open_copy(given)
    assert copy is not None
    copy.write(0, IMAGES[0])
    assert given.folder.exists()
    del copy
    assert not given.folder.exists()


def test_temporary_copies_of_processes_that_are_gone_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = multiprocessing.get_context("fork").Process()
    gone.start()
    gone.join()
    opened(tmp_path, "left", owner=gone.pid, origin="one")
    opened(tmp_path, "in use", owner=os.getppid(), origin="two")
    opened(tmp_path, "new", origin="three")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in use", "new"]


def test_a_copy_is_for_its_user_alone(tmp_path: Path) -> None:
    opened(tmp_path / "cache")
    assert (tmp_path / "cache").stat().st_mode & 0o077 == 0
    assert (tmp_path / "cache" / "a").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("given", [None, "none"])
def test_no_copy_is_kept_where_none_is_wanted(given: str | None) -> None:
    assert place_of(given) is None


def test_places_are_the_cache_or_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SURROGATE_NAS_CACHE", str(tmp_path))
    assert place_of("auto") == str(tmp_path / "images")
    assert place_of(tmp_path / "here") == str(tmp_path / "here")
