import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from surrogate_nas.domains.images import image_files
from surrogate_nas.errors import MissingExtraError, TaskError
from surrogate_nas.tasks import from_folder, load
from tests.helpers.images import pixels

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


def files_of_systems(folder: Path) -> None:
    (folder / "cat" / "Thumbs.db").write_text("written by a system")
    (folder / "labels.csv").write_text("a,b")


def other_endings(folder: Path) -> None:
    (folder / "cat" / "notes.txt").write_text("about cats")
    (folder / "dog" / "0.svg").write_text("<svg/>")


def links_outside(folder: Path) -> None:
    outside = fill(folder.parent / "outside", value=99)
    (folder / "cat" / "link.png").symlink_to(outside / "cat" / "000.png")
    (folder / "wolf").symlink_to(outside / "dog")


def broken_link(folder: Path) -> None:
    (folder / "cat" / "link.png").symlink_to(folder / "nothing.png")


def folder_named_like_an_image(folder: Path) -> None:
    (folder / "cat" / "more.png").mkdir()


def images_outside_of_classes(folder: Path) -> None:
    save(folder / "preview.png", pixels(6, 5))


def images_too_deep(folder: Path) -> None:
    save(folder / "cat" / "blurred" / "0.png", pixels(6, 5))


@pytest.mark.parametrize("change", [hidden, files_of_systems, folder_named_like_an_image])
def test_what_is_no_image_of_the_folder_is_ignored(folder: Path, change: Change) -> None:
    before = from_folder(folder).fingerprint
    change(folder)
    assert from_folder(folder).fingerprint == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_endings, r"2 without the ending .* \(such as cat.notes.txt\)"),
        (links_outside, r"1 links that lead out .* \(such as cat.link.png\)"),
        (broken_link, r"1 links that lead out of the folder or nowhere"),
        (images_outside_of_classes, r"1 images outside .* \(such as preview.png\)"),
        (images_too_deep, r"1 folders of images inside .* \(such as cat.blurred\)"),
    ],
)
def test_one_warning_counts_the_files_that_are_left_out(
    folder: Path, change: Change, message: str
) -> None:
    before = from_folder(folder).fingerprint
    change(folder)
    with pytest.warns(UserWarning, match=message) as caught:
        assert from_folder(folder).fingerprint == before
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize("ending", ["jfif", "jpe", "JPG", "jp2", "avif", "tga"])
def test_every_ending_of_a_format_is_read(folder: Path, ending: str) -> None:
    kind = {"jp2": "JPEG2000", "avif": "AVIF", "tga": "TGA"}.get(ending, "JPEG")
    if kind not in Image.SAVE and kind not in (Image.init() or Image.SAVE):
        pytest.skip(f"Pillow here cannot write {kind}")
    Image.fromarray(pixels(6, 5)).save(folder / "cat" / f"zzz.{ending}", format=kind)
    task = from_folder(folder)
    assert len(task.train) + len(task.validation) + len(task.test) == 25


def test_a_format_that_starts_another_program_is_never_opened(folder: Path) -> None:
    (folder / "cat" / "zzz.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 5 6\n")
    with pytest.raises(TaskError, match=r"1 unreadable: cat.zzz.png"):
        from_folder(folder)


# Names of splits


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "valid", "test"),
        ("training", "validation", "testing"),
        ("Train", "Val", "Test"),
        ("TRAIN", "dev", "test"),
    ],
)
def test_usual_names_of_splits_are_known(tmp_path: Path, train: str, val: str, test: str) -> None:
    for part, n in ((train, 10), (val, 3), (test, 4)):
        fill(tmp_path / part, n)
    task = from_folder(tmp_path, name="pets")
    assert (len(task.train), len(task.validation), len(task.test)) == (20, 6, 8)


def test_folders_of_tools_beside_the_splits_are_left_out_with_a_warning(tmp_path: Path) -> None:
    for part, n in (("train", 10), ("test", 4)):
        fill(tmp_path / part, n)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "resize.py").write_text("pass")
    with pytest.warns(UserWarning, match=r"1 folders without images .* \(such as scripts\)"):
        assert len(from_folder(tmp_path).test) == 8


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("train", "val", "valid"), "two folders of one split: val, valid"),
        (("train", "test", "unlabeled"), "folders of images beside them: unlabeled"),
        (("val", "test"), "folders of other splits only: test, val"),
    ],
)
def test_ambiguous_folders_of_splits_are_refused_by_name(
    tmp_path: Path, folders: tuple[str, ...], message: str
) -> None:
    for part in folders:
        fill(tmp_path / part, 4)
    with pytest.raises(TaskError, match=message):
        from_folder(tmp_path)


# Pixels of 32 bits


@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1.0), ("int32", 70_000)])
def test_wide_pixels_are_scaled_by_the_range_of_all_images(
    tmp_path: Path, dtype: str, scale: float
) -> None:
    for name, level in (("dark", 0.25), ("bright", 0.75)):
        for index in range(10):
            wide = np.full((4, 4), level * scale, dtype=dtype)
            wide[0, 0] = (index == 0 and name == "bright") * scale
            path = tmp_path / name / f"{index}.tif"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(wide).save(path)
    task = from_folder(tmp_path)
    parts = torch.cat([p.inputs for p in (task.train, task.validation, task.test)])
    assert np.unique(parts.numpy()).tolist() == [0, 64, 191, 255]


def test_wide_and_narrow_pixels_together_are_refused(folder: Path) -> None:
    Image.fromarray(np.full((6, 5), 0.5, dtype=np.float32)).save(folder / "cat" / "wide.tif")
    with pytest.raises(TaskError, match=r"32 bits a pixel in cat.wide.tif, a byte .* in cat.000"):
        from_folder(folder)


def test_wide_pixels_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    for name in ("dark", "bright"):
        (tmp_path / name).mkdir()
        for index in range(10):
            value = np.nan if (name, index) == ("dark", 3) else 0.5
            wide = np.full((4, 4), value, dtype=np.float32)
            Image.fromarray(wide).save(tmp_path / name / f"{index}.tif")
    with pytest.raises(TaskError, match=r"NaN or infinite in dark.3.tif"):
        from_folder(tmp_path)


# Memory


def test_images_that_unfold_to_too_much_are_refused_before_any_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("an image was read"))
    with pytest.raises(TaskError, match="24 images that unfold to 2,160 bytes") as error:
        from_folder(folder, max_bytes=2159)
    assert "max_bytes" in error.value.fix


def test_the_bound_on_memory_counts_resized_images_and_can_be_raised(folder: Path) -> None:
    assert from_folder(folder, max_bytes=2160).input_shape == (1, 6, 5)
    assert from_folder(folder, image_size=2, max_bytes=24 * 12).input_shape == (1, 2, 2)


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
    monkeypatch.setattr("surrogate_nas.domains.images.image_files.MOST_PIXELS", 100 * 100)
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


def test_a_large_photo_is_decoded_at_a_fraction_of_its_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, int]] = []
    usual = image_files.fitted

    def watched(image: Any, *arguments: Any) -> Any:
        sizes.append(image.size)
        return usual(image, *arguments)

    monkeypatch.setattr(image_files, "fitted", watched)
    Image.new("L", (640, 480), 99).save(folder / "cat" / "photo.jpg")
    from_folder(folder, image_size=20)
    # Of the scales 1, 1/2, 1/4 and 1/8 the last one that leaves twice the wanted size.
    assert (80, 60) in sizes


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_photos_of_other_colors_become_red_green_and_blue(tmp_path: Path, mode: str) -> None:
    ending = {"LAB": "tif"}.get(mode, "jpg")
    for number in range(12):
        for name, color in (("red", (250, 10, 10)), ("blue", (10, 10, 250))):
            path = tmp_path / name / f"{number}.{ending}"
            path.parent.mkdir(exist_ok=True)
            image = Image.new("RGB", (8, 8), color)
            if mode == "LAB":
                image = Image.new("LAB", (8, 8), color)
            elif mode == "CMYK":
                image = image.convert(mode)
            image.save(path)
    task = from_folder(tmp_path)
    assert task.input_shape == (3, 8, 8)
    if mode != "LAB":
        brightest = task.train.inputs.float().mean((2, 3)).argmax(1)
        assert torch.equal(brightest == 0, task.train.targets == 1)


@pytest.mark.parametrize("kind", ["gif", "webp", "tiff"])
def test_the_first_of_several_images_is_taken_which_a_warning_counts(
    folder: Path, kind: str
) -> None:
    frames = [Image.fromarray(np.full((6, 5, 3), shade, dtype=np.uint8)) for shade in (9, 200)]
    path = folder / "cat" / f"zzz.{kind}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match=rf"1 animated or of several pages.*cat.zzz.{kind}"):
        task = from_folder(folder)
    parts = torch.cat([p.inputs for p in (task.train, task.validation, task.test)])
    assert ((parts.float() - 9).abs() < 3).flatten(1).all(1).sum() == 1


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
        ({"image_size": 0}, r"\(height, width\)"),
        ({"image_size": 4.5}, r"\(height, width\)"),
        ({"max_bytes": 0}, "max_bytes of at least 1"),
        ({"fit": "squash"}, "fit of 'crop', 'pad' or 'stretch'"),
        ({"kind": "labels"}, "'multilabel', or None"),
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
