"""Tasks from folders of images, one sub-folder a class."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Unpack, final

from surrogate_nas.domains.images.arrays import Options, from_arrays
from surrogate_nas.domains.images.image_files import (
    MOST_PIXELS,
    Pixels,
    Size,
    endings,
    in_bytes,
    pixels_of,
    require_memory,
    require_one_size,
    require_pillow,
    size_of,
    stacked,
)
from surrogate_nas.domains.images.other_files import as_path, other_kind
from surrogate_nas.domains.images.other_forms import enumerated
from surrogate_nas.errors import TaskError, visible
from surrogate_nas.task import Task

_SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Usual names of the folders of each split, in lower case."""
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})
"""Files that systems write by themselves; nobody misses them."""
_EXPECTED = "a folder with one sub-folder of images a class"
MAX_BYTES = 2**30
"""Bytes that all images of a folder may take together unless the user allows more."""


def from_folder(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    on_unreadable: Literal["refuse", "skip"] = "refuse",
    image_size: int | tuple[int, int] | None = None,
    max_bytes: int = MAX_BYTES,
    **options: Unpack[Options],
) -> Task:
    """Make a task from a folder with one sub-folder of images a class.

    The folder may instead hold a folder for each split, each with one sub-folder a class. The
    training split is called ``train`` or ``training``; the others are optional and called ``val``,
    ``valid``, ``validation`` or ``dev``, and ``test`` or ``testing``, in capitals or not.

    Images become grey if all of them are, else red, green and blue. 16 bits a pixel become 8, and
    pixels of 32 bits are scaled by the range of all images. Transparency is dropped, and photos
    are turned upright. Of more than 33 million pixels only a JPEG photo is read, if `image_size`
    says how much of it is wanted. Hidden files are ignored. One warning counts the other files
    that are left out, by reason.

    Args:
        path: The folder.
        name: How past tasks and reports call the task; by default the folder's name.
        on_unreadable: "refuse" raises if an image cannot be read; "skip" warns and goes on.
        image_size: Height and width that all images are resized to, or one number for both. By
            default all images must have one size already.
        max_bytes: Bytes of memory that all images may take together, at 3 bytes a pixel.
        **options: See :func:`from_arrays`.

    Raises:
        TaskError: The folder is missing or holds something else, or the data are unusable.
        MetricError: The metric is unknown or does not fit the data.
        MissingExtraError: Pillow is not installed.
    """
    root = as_path(path, _EXPECTED).resolve()
    if root.is_file():
        raise other_kind(Path(path), _EXPECTED)
    if not root.is_dir():
        raise TaskError(
            expected=_EXPECTED,
            got=f"no folder at {path}",
            fix="check the path",
        )
    size = _checked_size(image_size)
    _check_options(on_unreadable, max_bytes)
    require_pillow()
    left_out = _LeftOut(root)
    rows = [
        _Row(part, file, str(file.relative_to(root)), label)
        for part, folder in _part_folders(root, left_out).items()
        for file, label in _listed(folder, left_out)
    ]
    left_out.warn()
    # NOTE: sizes come from the files' headers. So images of different sizes, or too many of them,
    # are refused before the pixels of any are decoded.
    sizes = {row.name: found for row in rows if (found := size_of(row.file)) is not None}
    if size is None:
        require_one_size(sizes)
    require_memory(sizes, size, max_bytes)
    images = {row: pixels_of(row.file, size) for row in rows}
    unreadable = [row.name for row, pixels in images.items() if pixels is None]
    if unreadable:
        _report(unreadable, on_unreadable)
    kept = {row: pixels for row, pixels in images.items() if pixels is not None}
    return from_arrays(name=name or root.name, **_arrays(rows, kept), **options)


@final
@dataclass(frozen=True)
class _Row:
    """One image of a data set.

    Args:
        part: The split that it belongs to: "train", "val" or "test".
        file: Where it lies.
        name: Its path below the data set's folder.
        label: Its class.
    """

    part: str
    file: Path
    name: str
    label: str


def _arrays(rows: list[_Row], kept: dict[_Row, Pixels]) -> dict[str, Any]:
    """Return the arguments of ``from_arrays``: images and labels of each split."""
    # NOTE: where unreadable images are skipped, a class may lose all of its images.
    lost = {(row.part, row.label) for row in rows} - {(row.part, row.label) for row in kept}
    if lost:
        raise TaskError(
            expected="at least one readable image in each class",
            got=f"none in {enumerated(sorted({label for _, label in lost}))}",
            fix="repair the images, or remove the sub-folder",
        )
    # All splits at once, so that equal pixels stay equal across them.
    images = in_bytes(list(kept.values()), [row.name for row in kept])
    is_colored = any(image.ndim == 3 for image in images)
    arrays: dict[str, Any] = {}
    for part in dict.fromkeys(row.part for row in kept):
        suffix = "" if part == "train" else f"_{part}"
        own = [
            (image, row.label) for image, row in zip(images, kept, strict=True) if row.part == part
        ]
        arrays[f"x{suffix}"] = stacked([image for image, _ in own], is_colored=is_colored)
        arrays[f"y{suffix}"] = [label for _, label in own]
    return arrays


def _checked_size(image_size: int | tuple[int, int] | None) -> Size | None:
    """Return a wanted size as (height, width).

    Raises:
        TaskError: It is no size.
    """
    if image_size is None:
        return None
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    # NOTE: True is an int to Python. So the type itself is compared below.
    is_pair = isinstance(size, tuple | list) and len(size) == 2
    if not is_pair or not all(type(n) is int and n >= 1 for n in size):
        raise TaskError(
            expected="image_size as a whole number or (height, width), each at least 1",
            got=repr(image_size),
            fix="write for example image_size=64 or image_size=(48, 64)",
        )
    return (size[0], size[1])


def _check_options(on_unreadable: str, max_bytes: int) -> None:
    if on_unreadable not in ("refuse", "skip"):
        raise TaskError(
            expected="on_unreadable of 'refuse' or 'skip'",
            got=repr(on_unreadable),
            fix="choose one of the two",
        )
    if max_bytes < 1:
        raise TaskError(
            expected="max_bytes of at least 1",
            got=repr(max_bytes),
            fix=f"leave it out for {MAX_BYTES:,} bytes, or give a larger number",
        )


@final
@dataclass
class _LeftOut:
    """Files of a data set's folder that are not read, counted by reason."""

    root: Path
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, path: Path) -> None:
        """Count a file, and remember the first one of its reason."""
        self.counts[reason] += 1
        self.examples.setdefault(reason, str(path.relative_to(self.root)))

    def warn(self) -> None:
        """Say once how many files are left out and why, with one example a reason."""
        reasons = [f"{n:,} {why} (such as {self.examples[why]})" for why, n in self.counts.items()]
        if reasons:
            text = f"Files left out of {self.root.name}: {'; '.join(reasons)}."
            warnings.warn(visible(text), UserWarning, stacklevel=3)


def _visible(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted, without hidden files and those of systems."""
    return [
        path
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and path.name.lower() not in _SYSTEM_FILES
    ]


def _sub_folders(folder: Path, left_out: _LeftOut) -> list[Path]:
    found = [path for path in _visible(folder) if path.is_dir()]
    return [path for path in found if path.resolve().is_relative_to(left_out.root)]


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in endings()


def _images(folder: Path, left_out: _LeftOut) -> list[Path]:
    """Return the images of one class; count what else lies there."""
    images = []
    for path in _visible(folder):
        if not path.resolve().is_relative_to(left_out.root):
            # NOTE: a data set from a stranger may link to any file of this machine.
            left_out.add("links that lead out of the folder or nowhere", path)
        elif path.is_dir():
            if any(_is_image(file) for file in path.rglob("*")):
                left_out.add("folders of images inside the folder of a class", path)
        elif not _is_image(path):
            left_out.add("without the ending of an image format that is read", path)
        elif path.is_file():
            images.append(path)
        else:
            left_out.add("links that lead out of the folder or nowhere", path)
    return images


def _part_folders(root: Path, left_out: _LeftOut) -> dict[str, Path]:
    """Return the folders of the splits; all of it is "train" unless sub-folders say otherwise.

    Raises:
        TaskError: A split has two folders, or folders of images lie beside those of the splits.
    """
    splits: dict[str, list[Path]] = {}
    others = []
    for path in _sub_folders(root, left_out):
        usual = [split for split, names in _SPLIT_NAMES.items() if path.name.lower() in names]
        if usual:
            splits.setdefault(usual[0], []).append(path)
        else:
            others.append(path)
    # NOTE: classes may be called so, too: of vehicles, say. Splits hold folders, classes images.
    if "train" not in splits or not _holds_classes(splits["train"][0], left_out):
        _require_training_folder(root, splits, left_out)
        return {"train": root}
    twice = [path.name for paths in splits.values() if len(paths) > 1 for path in paths]
    strange = [path.name for path in others if any(_is_image(p) for p in path.rglob("*"))]
    if twice or strange:
        raise TaskError(
            expected="one folder a split, named train, val and test or one of their usual names",
            got=f"two folders of one split: {enumerated(twice)}"
            if twice
            else f"folders of images beside them: {enumerated(strange)}",
            fix="merge or rename these folders, or move them elsewhere",
        )
    for path in others:
        left_out.add("folders without images beside those of the splits", path)
    return {split: paths[0] for split, paths in splits.items()}


def _holds_classes(folder: Path, left_out: _LeftOut) -> bool:
    """Whether a folder holds folders of images, as a split does."""
    classes = _sub_folders(folder, left_out)
    return any(_is_image(file) for path in classes for file in path.iterdir())


def _require_training_folder(
    root: Path, splits: dict[str, list[Path]], left_out: _LeftOut
) -> None:
    """Refuse folders of splits among which the training split is missing."""
    found = [path for paths in splits.values() for path in paths]
    held = [path.name for path in found if _holds_classes(path, left_out)]
    if held and "train" not in splits:
        raise TaskError(
            expected=f"a folder of the training split in {root}, called train or training",
            got=f"folders of other splits only: {enumerated(sorted(held))}",
            fix="rename the folder of the training split to train",
        )


def _listed(folder: Path, left_out: _LeftOut) -> list[tuple[Path, str]]:
    """Return the images of all classes, each with the class it belongs to.

    Raises:
        TaskError: There is no class, or one without images.
    """
    for path in _visible(folder):
        if not path.is_dir() and _is_image(path):
            left_out.add("images outside the folders of the classes", path)
    classes = {path.name: _images(path, left_out) for path in _sub_folders(folder, left_out)}
    empty = [name for name, images in classes.items() if not images]
    if not classes or empty:
        raise TaskError(
            expected=f"sub-folders of {folder} with images ({', '.join(sorted(endings()))})",
            got=f"none in {enumerated(empty)}" if classes else "no sub-folder",
            fix="put the images of each class into a sub-folder of its own",
        )
    return [(image, name) for name, images in classes.items() for image in images]


def _report(unreadable: list[str], on_unreadable: str) -> None:
    """Raise for unreadable files, or warn of them."""
    found = f"{len(unreadable)} unreadable: {enumerated(unreadable)}"
    if on_unreadable == "refuse":
        raise TaskError(
            expected=f"images that Pillow can read, of at most {MOST_PIXELS:,} pixels",
            got=found,
            fix="repair or remove them, or pass on_unreadable='skip'",
        )
    warnings.warn(visible(f"Images left out, {found}."), UserWarning, stacklevel=3)
