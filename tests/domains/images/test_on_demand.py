"""Folders that are larger than memory: decoded when needed, to the same pixels, and only once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import surrogate_nas as sn
from surrogate_nas.domains.images import image_files
from surrogate_nas.errors import TaskError
from surrogate_nas.task import DatasetSplit, Split
from surrogate_nas.task.decoding import decoded
from surrogate_nas.tasks import from_folder
from tests.helpers.photos import on_demand, photo, photos, save

TRAINER = sn.Trainer(epochs=2, batch_size=8, device="cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return photos(tmp_path / "pets")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows with each image that is decoded in this process."""
    calls: list[int] = []
    usual = image_files.fitted

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return usual(*arguments)

    monkeypatch.setattr(image_files, "fitted", counted)
    return calls


def whole(split: Any) -> torch.Tensor:
    images: torch.Tensor = split.take(torch.arange(len(split)))[0]
    return images


def test_a_folder_on_demand_is_the_folder_in_memory(folder: Path) -> None:
    memory, demand = from_folder(folder, image_size=8), on_demand(folder)
    assert isinstance(memory.train, Split)
    for name in ("train", "validation", "test"):
        one, other = getattr(memory, name), getattr(demand, name)
        assert isinstance(other, DatasetSplit)
        assert torch.equal(whole(one), whole(other))
        assert torch.equal(one.targets, other.targets)
    assert demand.classes == ("cat", "dog")
    assert demand.input_shape == (3, 8, 8)
    torch.testing.assert_close(demand.example(3), memory.example(3))


def test_each_image_is_decoded_once_whatever_reads_it(folder: Path, reads: list[int]) -> None:
    task = on_demand(folder)
    for _ in range(2):
        for split in (task.train, task.validation, task.test):
            whole(split)
        assert task.meta_features
        task.prepare(whole(task.train))
    assert len(reads) == 20
    assert task.train.is_at_hand
    again = on_demand(folder)
    assert torch.equal(whole(again.train), whole(task.train))
    assert len(reads) == 20


def test_without_a_working_copy_images_are_decoded_each_time(
    folder: Path, reads: list[int]
) -> None:
    task = on_demand(folder, working_copy=None)
    before = len(reads)
    assert torch.equal(whole(task.train), whole(task.train))
    assert len(reads) == before + 2 * len(task.train)
    assert not task.train.is_at_hand


def test_another_size_fit_or_file_has_another_copy(folder: Path, reads: list[int]) -> None:
    whole(on_demand(folder).train)
    n = len(reads)
    whole(on_demand(folder, fit="pad").train)
    assert len(reads) == 2 * n
    changed = folder / "cat" / "000.jpg"
    save(changed, photo(90))
    os.utime(changed, ns=(1, 1))
    whole(on_demand(folder).train)
    assert len(reads) == 3 * n


def test_processes_fill_the_copy_for_the_one_that_trains(folder: Path, reads: list[int]) -> None:
    task = on_demand(folder)
    task.train.n_workers = 2
    n, rows = len(reads), torch.arange(len(task.train)).flip(0)
    found = torch.cat([x for x, _ in decoded(task.train, list(torch.split(rows, 5)))])
    assert len(reads) == n
    assert torch.equal(found, whole(from_folder(folder, image_size=8).train)[rows])
    assert len(reads) > n  # those of the folder in memory
    assert task.train.is_at_hand


def test_a_training_on_demand_is_the_training_in_memory(folder: Path) -> None:
    def losses(task: Any) -> Any:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
        return TRAINER.train(network, task).losses

    demand = on_demand(folder)
    demand.train.n_workers = 2  # in the first epoch, as the second one finds all in the copy
    assert losses(demand) == losses(from_folder(folder, image_size=8))


def test_a_merged_task_has_both_splits_and_the_same_normalization(folder: Path) -> None:
    task = on_demand(folder)
    merged = task.merged()
    assert len(merged.train) == len(task.train) + len(task.validation)
    assert torch.equal(merged.train.targets[-4:], task.validation.targets)
    assert torch.equal(whole(merged.train)[-4:], whole(task.validation))
    some = whole(task.test)
    assert torch.equal(merged.prepare(some), task.prepare(some))
    assert merged.fingerprint != task.fingerprint == on_demand(folder).fingerprint


def test_grey_files_stay_grey_and_one_colored_file_makes_all_colored(tmp_path: Path) -> None:
    for number in range(20):
        grey = photo(9 * number, seed=number).convert("L")
        save(tmp_path / "ab"[number % 2] / f"{number}.png", grey)
    assert on_demand(tmp_path).input_shape == (1, 8, 8)
    save(tmp_path / "b" / "zz.png", photo(40))
    colored = on_demand(tmp_path)
    assert colored.input_shape == (3, 8, 8)
    images = all_images(colored)
    assert (images == images[:, :1]).flatten(1).all(1).sum() == 20


def wide_files(folder: Path) -> Path:
    for number in range(20):
        wide = np.full((9, 9), number / 10, dtype=np.float32)
        save(folder / "ab"[number % 2] / f"{number}.tif", Image.fromarray(wide))
    return folder


def test_pixels_of_32_bits_are_scaled_by_the_range_of_all_files(tmp_path: Path) -> None:
    task = on_demand(wide_files(tmp_path))
    found = sorted(all_images(task)[:, 0, 0, 0].tolist())
    assert found == [round(255 * number / 19) for number in range(20)]


def test_wide_and_narrow_files_together_are_refused(tmp_path: Path) -> None:
    save(wide_files(tmp_path) / "a" / "narrow.png", photo(3).convert("L"))
    with pytest.raises(TaskError, match=r"32 bits a pixel in a.0.tif, a byte .* in a.narrow.png"):
        on_demand(tmp_path)


def all_images(task: Any) -> torch.Tensor:
    return torch.cat([whole(s) for s in (task.train, task.validation, task.test)])


# Folders that change, and files that cannot be read


def another(file: Path) -> None:
    save(file, photo(77))
    os.utime(file, ns=(1, 1))


def narrower(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("change", "got"), [(another, "another file"), (narrower, "another"), (Path.unlink, "nothing")]
)
def test_a_file_that_changes_while_the_task_is_used_is_named(
    folder: Path, change: Any, got: str
) -> None:
    task = on_demand(folder, seed=1)
    for file in sorted(folder.rglob("*.jpg")):
        change(file)
    with pytest.raises(TaskError, match=rf"got {got}.*at (cat|dog).\d+.jpg.*Make the task again"):
        whole(task.train)


def test_what_has_been_decoded_before_a_change_is_kept(folder: Path) -> None:
    task = on_demand(folder)
    before = whole(task.train)
    for file in folder.rglob("*.jpg"):
        another(file)
    assert torch.equal(whole(task.train), before)


def spoiled(folder: Path) -> Path:
    """Cut one file off, empty another one, and put text into a third."""
    half = (folder / "cat" / "000.jpg").read_bytes()[:300]
    for number, content in enumerate([half, b"", b"x"]):
        (folder / "cat" / f"00{number}.jpg").write_bytes(content)
    return folder


def test_an_unreadable_file_is_named_when_it_is_decoded(folder: Path) -> None:
    task = on_demand(spoiled(folder), validation_share=0.1, test_share=0.1)
    with pytest.raises(TaskError, match=r"1 unreadable: cat.00\d.jpg.*on_unreadable='skip'"):
        all_images(task)


def test_unreadable_files_are_skipped_if_that_is_wanted(folder: Path) -> None:
    with pytest.warns(
        UserWarning, match=r"3 unreadable: cat.000.jpg, cat.001.jpg, cat.002"
    ) as one:
        task = on_demand(spoiled(folder), on_unreadable="skip")
    assert one[0].filename.endswith("photos.py")
    assert sum(map(len, (task.train, task.validation, task.test))) == 17
    assert len(all_images(task)) == 17


def test_a_training_names_the_file_that_ends_it(folder: Path) -> None:
    task = on_demand(spoiled(folder), validation_share=0.1, test_share=0.1)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    task.train.n_workers = 1
    with pytest.raises(TaskError, match="1 unreadable: cat"):
        TRAINER.train(network, task)


# Memory


def test_more_than_a_few_batches_must_fit(folder: Path) -> None:
    with pytest.raises(TaskError, match="20 images that unfold to 3,840 bytes"):
        from_folder(folder, image_size=8, max_bytes=3 * 8 * 8 * 20 - 1)
    photos(folder, 150)
    bound = 3 * 8 * 8 * 256
    assert isinstance(from_folder(folder, image_size=8, max_bytes=bound).train, DatasetSplit)
    with pytest.raises(TaskError, match="256 images that unfold to 49,152 bytes"):
        from_folder(folder, image_size=8, max_bytes=bound - 1)


def test_images_keep_their_size_where_they_have_one(tmp_path: Path) -> None:
    for number in range(20):
        save(tmp_path / "ab"[number % 2] / f"{number}.png", photo(number, (7, 5), number))
    task = on_demand(tmp_path, image_size=None)
    assert task.input_shape == (3, 5, 7)
