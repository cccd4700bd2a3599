"""Tasks from folders of images: one sub-folder a class, or a table of files and labels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

from surrogate_nas.domains.given import enumerated
from surrogate_nas.domains.images.file_stores import (
    ImageFiles,
    in_memory,
    on_demand,
    refuse_unreadable,
    unreadable_words,
)
from surrogate_nas.domains.images.image_files import (
    FitName,
    Size,
    require_memory,
    require_pillow,
)
from surrogate_nas.domains.images.label_file import (
    Columns,
    LabeledFiles,
    labeled_files,
    read_table,
    usual_table,
)
from surrogate_nas.domains.images.listing import ImageRow, LeftOut, class_rows
from surrogate_nas.domains.images.making import Making, Options, Part, make_task
from surrogate_nas.domains.images.other_files import as_path, other_kind
from surrogate_nas.domains.images.stores import IN_MEMORY_BYTES
from surrogate_nas.domains.images.working_copy import place_of
from surrogate_nas.domains.kinds import checked_kind
from surrogate_nas.errors import TaskError, visible
from surrogate_nas.task import Task

_EXPECTED = "a folder with one sub-folder of images a class"
MAX_BYTES = 2**30
"""Bytes that the images of a folder may take in memory at once unless the user says otherwise."""
_HELD_IMAGES = 256
"""Images that are in memory at once where they are decoded on demand, at most about."""
_FITS = ("crop", "pad", "stretch")


def from_folder(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    fit: FitName = "crop",
    labels: str | os.PathLike[str] | None = None,
    target: str | Sequence[str] | None = None,
    groups: str | None = None,
    times: str | None = None,
    on_unreadable: Literal["refuse", "skip"] = "refuse",
    max_bytes: int | None = None,
    working_copy: str | os.PathLike[str] | None = "auto",
    **options: Unpack[Options],
) -> Task:
    """Make a task from a folder of images of any size.

    The folder has one sub-folder of images a class, or a table ``labels.csv`` that lists images
    and labels. It may instead hold a folder for each split, each with one sub-folder a class. The
    training split is called ``train`` or ``training``; the others are optional and called ``val``,
    ``valid``, ``validation`` or ``dev``, and ``test`` or ``testing``, in capitals or not. A split
    without a folder is drawn from the training images, and the log says so.

    Images become grey if all of them are, else red, green and blue. 16 bits a pixel become 8, and
    pixels of 32 bits are scaled by the range of all images. Transparency is dropped, photos are
    turned upright, and of several images in one file the first one is taken. Of more than 33
    million pixels only a JPEG photo is read, if `image_size` says how much of it is wanted. Hidden
    files are ignored. One warning counts the other files that are left out, by reason.

    Images that take at most 64 MiB at their working size are held in memory. Larger sets are
    decoded when they are needed, by worker processes, and each image once: a working copy keeps
    it on disk. The files must not change until the task is no longer used.

    Args:
        path: The folder.
        name: How past tasks and reports call the task; by default the folder's name.
        image_size: Height and width that all images get, or one number for both. By default all
            images must have one size already.
        fit: How they get it. "crop" scales an image until its shorter side fits and cuts out the
            center. "pad" scales it until its longer side fits and adds black edges. "stretch"
            scales both sides on their own.
        labels: A table of images and labels, as CSV with a line of names. A column has paths of
            images below the folder. A column ``split`` may say train, val or test.
        target: Column of the labels, or several columns of numbers, or of 0 and 1.
        groups: Column of groups: all images of one group get into one split.
        times: Column of times. The latest images become the test split.
        on_unreadable: "refuse" raises if an image cannot be read, when it is decoded. "skip" reads
            all images at once, warns and goes on.
        max_bytes: Bytes of memory that images may take together, at 3 bytes a pixel. It bounds
            all images held in memory, or 256 of those that are decoded when they are needed.
        working_copy: Folder of working copies. "auto" is the user's folder of caches, or the
            folder that the environment's SURROGATE_NAS_CACHE names. None or "none" keeps no copy.
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
        raise TaskError(expected=_EXPECTED, got=f"no folder at {path}", fix="check the path")
    size = _checked_size(image_size)
    _check_options(fit, on_unreadable, max_bytes)
    require_pillow()
    left_out = LeftOut(root)
    columns = Columns(target, groups, times, checked_kind(options.get("kind")))
    found = _labeled(root, labels, columns)
    missing = [] if found is None else [f"no file {name}" for name in found.missing]
    is_skipping = on_unreadable == "skip"
    if found is None:
        _require_table(columns)
    if not is_skipping:
        refuse_unreadable(missing)
    rows = class_rows(root, left_out) if found is None else found.rows
    files = ImageFiles(root, rows, size, fit)
    for row in files.moving():
        left_out.add("animated or of several pages, beyond their first image", root / row.name)
    left_out.warn()
    bound = IN_MEMORY_BYTES if max_bytes is None else max_bytes
    if sum(3 * h * w for h, w in files.sizes().values()) <= bound:
        kept, stores, bad = in_memory(files, is_skipping=is_skipping)
    else:
        held = MAX_BYTES if max_bytes is None else max_bytes
        require_memory(files.sizes(), held, _HELD_IMAGES)
        place = place_of(working_copy)
        kept, stores, bad = on_demand(files, place, is_skipping=is_skipping)
    if missing or bad:
        words = f"Images left out, {unreadable_words([*missing, *bad])}."
        warnings.warn(visible(words), UserWarning, stacklevel=2)
    _require_all_classes(rows, kept, found)
    making = Making(
        name=name or root.name,
        classes=None if found is None else found.outputs,
        groups=_values(kept, "group") if groups else None,
        times=_values(kept, "time") if times else None,
        fit=fit,
        says_drawn=found is None and len({row.part for row in rows}) > 1,
    )
    parts = {
        part: Part(
            stores[part][0],
            stores[part][1],
            [row.label for row in kept if row.part == part],
            "y" if part == "train" else f"y_{part}",
        )
        for part in dict.fromkeys(row.part for row in kept)
    }
    return make_task(parts, making, options)


def _labeled(
    root: Path, labels: str | os.PathLike[str] | None, columns: Columns
) -> LabeledFiles | None:
    """Return the images of the table that is given, or that lies in the folder; None if none is.

    Raises:
        TaskError: The table is unusable.
    """
    path = usual_table(root) if labels is None else Path(labels)
    if path is None:
        return None
    if labels is not None and not path.exists():
        path = root / path
    return labeled_files(root, read_table(path), columns, path.resolve().parent)


def _require_table(columns: Columns) -> None:
    """Refuse names of columns where there is no table."""
    for argument in ("target", "groups", "times"):
        if getattr(columns, argument) is not None:
            raise TaskError(
                expected=f"a table of images and labels, which has the column of {argument}",
                got="a folder without labels.csv",
                fix="name the table, as in labels='labels.csv'",
            )


def _require_all_classes(
    rows: Sequence[ImageRow], kept: Sequence[ImageRow], found: LabeledFiles | None
) -> None:
    """Refuse a folder of a class of which no image can be read."""
    # NOTE: where unreadable images are skipped, a class may lose all of its images.
    lost = {(row.part, row.label) for row in rows if found is None}
    lost -= {(row.part, row.label) for row in kept if found is None}
    if lost or not kept:
        raise TaskError(
            expected="at least one readable image in each class",
            got=f"none in {enumerated(sorted({label for _, label in lost})) or 'the table'}",
            fix="repair the images, or remove the sub-folder",
        )


def _values(rows: Sequence[ImageRow], name: str) -> list[Any]:
    """Return an attribute of all training images."""
    return [getattr(row, name) for row in rows if row.part == "train"]


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


def _check_options(fit: str, on_unreadable: str, max_bytes: int | None) -> None:
    allowed = {"fit": (fit, _FITS), "on_unreadable": (on_unreadable, ("refuse", "skip"))}
    for name, (value, words) in allowed.items():
        if value not in words:
            raise TaskError(
                expected=f"{name} of {', '.join(map(repr, words[:-1]))} or {words[-1]!r}",
                got=repr(value),
                fix="choose one of them",
            )
    if max_bytes is not None and max_bytes < 1:
        raise TaskError(
            expected="max_bytes of at least 1",
            got=repr(max_bytes),
            fix=f"leave it out for {MAX_BYTES:,} bytes, or give a larger number",
        )
