import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surrogate_nas.errors import MissingExtraError, TaskError
from surrogate_nas.tasks import from_folder, load
from tests.domains.images.test_arrays import pixels

Image = pytest.importorskip("PIL.Image")

Change = Callable[[Path], Any]


def save(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(content).save(path)


def fill(folder: Path, n: int = 12, shape: tuple[int, ...] = (6, 5), value: int = 0) -> Path:
    """Write two classes of n images each; "cat" is darker than "dog"."""
    for index in range(n):
        noise = pixels(*shape, seed=index + value) // 4
        save(folder / "cat" / f"{index:03}.png", noise)
        save(folder / "dog" / f"{index:03}.png", noise + 128)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fill(tmp_path / "pets")


def test_sub_folders_are_classes(folder: Path) -> None:
    task = from_folder(folder, metric="f1")
    assert task.classes == ("cat", "dog")
    assert task.name == "pets"
    assert task.metric.name == "f1"
    assert task.input_shape == (1, 6, 5)
    assert len(task.train) + len(task.validation) + len(task.test) == 24
    assert torch.equal((task.train.inputs.amax((1, 2, 3)) > 100).long(), task.train.targets)
    assert load(folder, metric="f1").fingerprint == task.fingerprint


def test_the_split_is_the_same_whatever_order_the_disk_lists(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for file in reversed(sorted(folder.rglob("*.png"))):
        target = copy / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    assert from_folder(copy).fingerprint == from_folder(folder).fingerprint


def test_train_test_and_val_folders_are_splits(tmp_path: Path) -> None:
    for part, n in (("train", 10), ("test", 4), ("val", 3)):
        fill(tmp_path / part, n)
    task = from_folder(tmp_path, name="pets")
    assert (len(task.train), len(task.validation), len(task.test)) == (20, 6, 8)
    assert task.name == "pets"


def test_train_and_test_may_be_classes(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "cat").rename(tmp_path / "test")
    (tmp_path / "dog").rename(tmp_path / "train")
    assert from_folder(tmp_path).classes == ("test", "train")


def test_test_classes_unknown_to_training_are_refused(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    save(tmp_path / "test" / "bird" / "0.png", pixels(6, 5))
    with pytest.raises(TaskError, match="unknown 'bird'"):
        from_folder(tmp_path)


def test_one_colored_image_makes_all_colored(folder: Path) -> None:
    grey = from_folder(folder)
    save(folder / "dog" / "zzz.png", pixels(6, 5, 3))
    task = from_folder(folder)
    assert grey.input_shape == (1, 6, 5)
    assert task.input_shape == (3, 6, 5)
    parts = torch.cat([p.inputs for p in (task.train, task.validation, task.test)])
    is_grey = (parts == parts[:, :1]).all(3).all(2).all(1)
    assert is_grey.sum() == 24


def test_narrow_colored_images_keep_their_axes(tmp_path: Path) -> None:
    assert from_folder(fill(tmp_path, shape=(3, 9, 3))).input_shape == (3, 3, 9)


@pytest.mark.parametrize(
    ("mode", "channels"),
    [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("RGB", 3), ("RGBA", 3), ("I;16", 1)],
)
def test_modes(tmp_path: Path, mode: str, channels: int) -> None:
    for index in range(12):
        for name, level in (("dark", 0), ("light", 1)):
            path = tmp_path / name / f"{index}.png"
            path.parent.mkdir(exist_ok=True)
            if mode == "I;16":
                image = Image.fromarray(np.full((4, 4), 65535 * level, dtype=np.uint16))
            else:
                image = Image.new("RGB", (4, 4), (255 * level,) * 3).convert(mode)
            options = {"transparency": b"\x00\xff"} if mode == "P" else {}
            image.save(path, **options)
    task = from_folder(tmp_path)
    assert task.input_shape == (channels, 4, 4)
    assert torch.equal(task.train.inputs.amax((1, 2, 3)).long(), 255 * task.train.targets)
    assert torch.equal(task.train.inputs.amin((1, 2, 3)).long(), 255 * task.train.targets)


def test_sixteen_bits_keep_their_middle(tmp_path: Path) -> None:
    fill(tmp_path)
    save(tmp_path / "cat" / "zzz.png", np.full((6, 5), 128 * 257, dtype=np.uint16))
    task = from_folder(tmp_path)
    parts = torch.cat([p.inputs for p in (task.train, task.validation, task.test)])
    assert (parts == 128).all(3).all(2).sum() == 1


def test_sixteen_bits_become_the_nearest_eight(tmp_path: Path) -> None:
    wide = np.arange(2**16, dtype=np.uint16).reshape(256, 256)
    fill(tmp_path, shape=(256, 256))
    save(tmp_path / "cat" / "zzz.png", wide)
    task = from_folder(tmp_path)
    nearest = torch.from_numpy(np.rint(wide / 257.0).astype(np.uint8))
    parts = torch.cat([p.inputs for p in (task.train, task.validation, task.test)])
    assert (parts[:, 0] == nearest).all(2).all(1).sum() == 1


def test_photos_are_turned_upright(tmp_path: Path) -> None:
    fill(tmp_path, shape=(6, 5))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(pixels(5, 6)).save(tmp_path / "cat" / "photo.jpg", exif=exif)
    assert from_folder(tmp_path).input_shape == (1, 6, 5)


# Files that are left out


def hidden(folder: Path) -> None:
    (folder / "cat" / ".000.png").write_text("broken")
    (folder / ".cache").mkdir()


def other_endings(folder: Path) -> None:
    (folder / "cat" / "notes.txt").write_text("about cats")
    (folder / "labels.csv").write_text("a,b")


def links_outside(folder: Path) -> None:
    outside = fill(folder.parent / "outside", value=99)
    (folder / "cat" / "link.png").symlink_to(outside / "cat" / "000.png")
    (folder / "wolf").symlink_to(outside / "dog")


def broken_link(folder: Path) -> None:
    (folder / "cat" / "link.png").symlink_to(folder / "nothing.png")


def folder_named_like_an_image(folder: Path) -> None:
    (folder / "cat" / "more.png").mkdir()


@pytest.mark.parametrize(
    "change", [hidden, other_endings, links_outside, broken_link, folder_named_like_an_image]
)
def test_what_is_no_image_of_the_folder_is_ignored(folder: Path, change: Change) -> None:
    before = from_folder(folder).fingerprint
    change(folder)
    assert from_folder(folder).fingerprint == before


def test_links_inside_the_folder_are_followed(folder: Path) -> None:
    os.symlink(folder / "cat" / "000.png", folder / "cat" / "again.png")
    task = from_folder(folder)
    assert len(task.train) + len(task.validation) + len(task.test) == 25


# Unreadable files


def spoil(folder: Path, n: int) -> None:
    whole = (folder / "cat" / "000.png").read_bytes()
    contents = [b"", b"no image", whole[: len(whole) // 2], whole[:20]]
    for index in range(n):
        (folder / "dog" / f"bad{index}.png").write_bytes(contents[index % 4])


def test_unreadable_files_are_refused_by_name(folder: Path) -> None:
    spoil(folder, 4)
    with pytest.raises(TaskError, match=r"4 unreadable: dog.bad0.png, .*bad3.png") as error:
        from_folder(folder)
    assert "on_unreadable='skip'" in error.value.fix


def test_unreadable_files_are_skipped_with_a_warning_that_names_five(folder: Path) -> None:
    before = from_folder(folder).fingerprint
    spoil(folder, 7)
    with pytest.warns(UserWarning, match=r"7 unreadable: .*bad4.png and 2 more"):
        task = from_folder(folder, on_unreadable="skip")
    assert task.fingerprint == before


def test_a_class_without_any_readable_image_is_refused(folder: Path) -> None:
    (folder / "bird").mkdir()
    (folder / "bird" / "0.png").write_text("broken")
    with (
        pytest.warns(UserWarning, match="1 unreadable"),
        pytest.raises(TaskError, match="none in bird"),
    ):
        from_folder(folder, on_unreadable="skip")


def test_images_as_large_as_a_bomb_are_unreadable(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    save(folder / "cat" / "large.png", pixels(30, 30))
    with pytest.raises(TaskError, match=r"1 unreadable: cat.large.png"):
        from_folder(folder)


@pytest.mark.parametrize(
    ("ending", "is_read"), [("png", False), ("jpg", True)], ids=["png", "photo"]
)
def test_beyond_the_most_pixels_only_a_photo_is_read_and_only_to_be_made_smaller(
    folder: Path, monkeypatch: pytest.MonkeyPatch, ending: str, is_read: bool
) -> None:
    monkeypatch.setattr("surrogate_nas.domains.images.folder._MOST_PIXELS", 100 * 100)
    Image.new("RGB", (160, 160), "white").save(folder / "cat" / f"large.{ending}")
    with pytest.raises(TaskError, match=rf"1 unreadable: cat.large.{ending}"):
        from_folder(folder)
    if is_read:
        task = from_folder(folder, image_size=(9, 8))
        parts = torch.cat([p.inputs for p in (task.train, task.validation, task.test)])
        assert (parts == 255).flatten(1).all(1).sum() == 1
    else:
        with pytest.raises(TaskError, match=r"1 unreadable: cat.large.png"):
            from_folder(folder, image_size=(9, 8))


# Sizes


def test_several_sizes_are_refused_with_the_sizes(folder: Path) -> None:
    save(folder / "cat" / "large.png", pixels(9, 8))
    save(folder / "cat" / "wide.png", pixels(6, 8, 3))
    with pytest.raises(TaskError, match=r"3 sizes .*\(6, 5\), \(6, 8\), \(9, 8\)") as error:
        from_folder(folder)
    assert "image_size" in error.value.fix


def test_images_are_resized_on_request(folder: Path) -> None:
    save(folder / "cat" / "flat.png", np.full((9, 8), 7, dtype=np.uint8))
    task = from_folder(folder, image_size=(4, 10))
    assert task.input_shape == (1, 4, 10)
    parts = torch.cat([p.inputs for p in (task.train, task.validation, task.test)])
    assert (parts == 7).all(3).all(2).sum() == 1


# Folders and options that are refused


def nothing(folder: Path) -> None:
    for file in folder.rglob("*.png"):
        file.unlink()


def no_sub_folders(folder: Path) -> None:
    nothing(folder)
    (folder / "cat").rmdir()
    (folder / "dog").rmdir()


def one_empty_class(folder: Path) -> None:
    (folder / "bird").mkdir()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (nothing, "none in cat, dog"),
        (no_sub_folders, "no sub-folder"),
        (one_empty_class, "none in bird"),
    ],
)
def test_folders_without_images_are_refused(folder: Path, change: Change, message: str) -> None:
    change(folder)
    with pytest.raises(TaskError, match=message) as error:
        from_folder(folder)
    assert "a sub-folder of its own" in error.value.fix


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_unreadable": "ignore"}, "'refuse' or 'skip'"),
        ({"image_size": (0, 5)}, r"\(height, width\)"),
        ({"image_size": (5,)}, r"\(height, width\)"),
    ],
)
def test_unknown_options_are_refused(folder: Path, options: Any, message: str) -> None:
    with pytest.raises(TaskError, match=message):
        from_folder(folder, **options)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no folder at"):
        from_folder(tmp_path / "nothing")


def test_without_pillow_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"surrogate-nas\[images\]"):
        from_folder(folder)
