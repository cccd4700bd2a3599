"""Folders of classes -> the images in them, each with its split and its class."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from surrogate_nas.domains.given import enumerated
from surrogate_nas.domains.images.image_files import endings
from surrogate_nas.errors import TaskError, visible

SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""Usual names of each split, in lower case."""
_SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini"})
"""Files that systems write by themselves; nobody misses them."""


def part_named(name: str) -> str | None:
    """Return the split that a folder or a label names: "train", "val" or "test"."""
    usual = (part for part, names in SPLIT_NAMES.items() if name.strip().lower() in names)
    return next(usual, None)


@final
@dataclass(frozen=True, eq=False)
class ImageRow:
    """One image of a data set.

    Args:
        part: The split that it belongs to: "train", "val" or "test".
        name: Path of its file below the data set's folder.
        label: Its class, or another label.
        group: Group that it stays together with, if there are groups.
        time: Time that orders it, if there are times.
    """

    part: str
    name: str
    label: Any
    group: Any = None
    time: Any = None


@final
@dataclass
class LeftOut:
    """Files of a data set's folder that are not read, counted by reason."""

    root: Path
    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, path: Path | str) -> None:
        """Count a file, and remember the first one of its reason."""
        self.counts[reason] += 1
        self.examples.setdefault(reason, os.path.relpath(path, self.root))

    def warn(self) -> None:
        """Say once how many files are left out and why, with one example a reason."""
        reasons = [f"{n:,} {why} (such as {self.examples[why]})" for why, n in self.counts.items()]
        if reasons:
            text = f"Files left out of {self.root.name}: {'; '.join(reasons)}."
            warnings.warn(visible(text), UserWarning, stacklevel=3)


def class_rows(root: Path, left_out: LeftOut) -> list[ImageRow]:
    """Return the images of a folder with one sub-folder a class, or with one a split above these.

    Raises:
        TaskError: The folder holds something else.
    """
    return [
        ImageRow(part, os.path.relpath(file, root), label)
        for part, folder in _part_folders(root, left_out).items()
        for file, label in _listed(folder, left_out)
    ]


def _visible(folder: Path) -> list[os.DirEntry[str]]:
    """Return what lies in a folder, sorted, without hidden files and those of systems."""
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if not entry.name.startswith(".")]
    kept = (entry for entry in found if entry.name.lower() not in _SYSTEM_FILES)
    return sorted(kept, key=lambda entry: entry.name)


def _leads_out(entry: os.DirEntry[str], root: Path) -> bool:
    """Whether an entry is a link out of a folder."""
    # NOTE: what is no link lies where it is listed, and to resolve each path would take long.
    return entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(root)


def _sub_folders(folder: Path, left_out: LeftOut) -> list[Path]:
    return [
        Path(entry.path)
        for entry in _visible(folder)
        if entry.is_dir() and not _leads_out(entry, left_out.root)
    ]


def is_image(name: str) -> bool:
    """Whether a file's name ends like an image that is read."""
    return os.path.splitext(name)[1].lower() in endings()


def _holds_images(folder: Path) -> bool:
    """Whether an image lies anywhere below a folder."""
    return any(is_image(name) for _, _, names in os.walk(folder) for name in names)


def _images(folder: Path, left_out: LeftOut) -> list[str]:
    """Return the images of one class; count what else lies there."""
    images = []
    for entry in _visible(folder):
        if _leads_out(entry, left_out.root):
            # NOTE: a data set from a stranger may link to any file of this machine.
            left_out.add("links that lead out of the folder or nowhere", entry.path)
        elif entry.is_dir():
            if _holds_images(Path(entry.path)):
                left_out.add("folders of images inside the folder of a class", entry.path)
        elif not is_image(entry.name):
            left_out.add("without the ending of an image format that is read", entry.path)
        elif entry.is_file():
            images.append(entry.path)
        else:
            left_out.add("links that lead out of the folder or nowhere", entry.path)
    return images


def _part_folders(root: Path, left_out: LeftOut) -> dict[str, Path]:
    """Return the folders of the splits; all of it is "train" unless sub-folders say otherwise.

    Raises:
        TaskError: A split has two folders, or folders of images lie beside those of the splits.
    """
    splits: dict[str, list[Path]] = {}
    others = []
    for path in _sub_folders(root, left_out):
        part = part_named(path.name)
        if part is None:
            others.append(path)
        else:
            splits.setdefault(part, []).append(path)
    # NOTE: classes may be called so, too: of vehicles, say. Splits hold folders, classes images.
    if "train" not in splits or not _holds_classes(splits["train"][0], left_out):
        _require_training_folder(root, splits, left_out)
        return {"train": root}
    twice = [path.name for paths in splits.values() if len(paths) > 1 for path in paths]
    strange = [path.name for path in others if _holds_images(path)]
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


def _holds_classes(folder: Path, left_out: LeftOut) -> bool:
    """Whether a folder holds folders of images, as a split does."""
    classes = _sub_folders(folder, left_out)
    return any(is_image(name) for path in classes for name in os.listdir(path))


def _require_training_folder(root: Path, splits: dict[str, list[Path]], left_out: LeftOut) -> None:
    """Refuse folders of splits among which the training split is missing."""
    found = [path for paths in splits.values() for path in paths]
    held = [path.name for path in found if _holds_classes(path, left_out)]
    if held and "train" not in splits:
        raise TaskError(
            expected=f"a folder of the training split in {root}, called train or training",
            got=f"folders of other splits only: {enumerated(sorted(held))}",
            fix="rename the folder of the training split to train",
        )


def _listed(folder: Path, left_out: LeftOut) -> list[tuple[str, str]]:
    """Return the images of all classes, each with the class it belongs to.

    Raises:
        TaskError: There is no class, or one without images.
    """
    for entry in _visible(folder):
        if not entry.is_dir() and is_image(entry.name):
            left_out.add("images outside the folders of the classes", entry.path)
    classes = {path.name: _images(path, left_out) for path in _sub_folders(folder, left_out)}
    empty = [name for name, images in classes.items() if not images]
    if not classes or empty:
        raise TaskError(
            expected=f"sub-folders of {folder} with images ({', '.join(sorted(endings()))})",
            got=f"none in {enumerated(empty)}" if classes else "no sub-folder",
            fix="put the images of each class into a sub-folder of its own",
        )
    return [(image, name) for name, images in classes.items() for image in images]
