"""Tasks from folders of images: one sub-folder a class, or a table of files and labels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Unpack, get_args

from surrogate_nas.domains.given import enumerated
from surrogate_nas.domains.images.file_stores import (
    ImageFiles,
    Stores,
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

    The folder has one sub-folder of images a class, or a table ``labels.csv`` of images and
    labels. It may instead hold a folder for each split, each with one sub-folder a class:
    ``train`` or ``training``, and optional ``val``, ``valid``, ``validation`` or ``dev``, and
    ``test`` or ``testing``. A missing split is drawn from the training images, which the log says.

    Images become grey if all of them are, else red, green and blue. 16 bits a pixel become 8, and
    pixels of 32 bits are scaled by the range of all images. Transparency is dropped, photos are
    turned upright, and the first of several images in a file is taken. Above 33 million pixels
    only a JPEG photo is read, and only with `image_size`. One warning counts the files that are
    left out, by reason.

    Images of at most 64 MiB together are held in memory. Larger sets are decoded on demand, by
    worker processes, and each image once: a working copy keeps it on disk. The files must not
    change until the task is no longer used.

    Args:
        path: The folder.
        name: How past tasks and reports call the task; by default the folder's name.
        image_size: Height and width that all images get, or one number for both. By default all
            images must have one size already.
        fit: How they get it. With "crop" the shorter side is scaled to fit, and the center is
            cut out. With "pad" the longer side is scaled to fit, and black edges are added. With
            "stretch" each side is scaled on its own.
        labels: A table of images and labels, as CSV with a line of names. A column has paths
            below the folder. A column ``split`` may say train, val or test.
        target: Column of the labels, or several columns of numbers, or of 0 and 1.
        groups: Column of groups: all images of one group get into one split.
        times: Column of times. The latest images become the test split.
        on_unreadable: "refuse" raises where an image cannot be decoded. "skip" tries all at once.
        max_bytes: Bytes of memory that images may take together, at 3 bytes a pixel. It bounds
            all images held in memory, or 256 images where they are decoded when they are needed.
        working_copy: Folder of working copies. "auto" is the one that SURROGATE_NAS_CACHE in the
            environment names, or the user's folder of caches. None or "none" keeps no copy.
        **options: See :func:`from_arrays`.

    Raises:
        TaskError: The folder is missing or holds something else, or the data are unusable.
        MetricError: The metric is unknown or does not fit the data.
        MissingExtraError: Pillow is not installed.
    """
    root = _checked_root(path)
    size = checked_size(image_size)
    _check_options(fit, on_unreadable, max_bytes)
    require_pillow()
    left_out = LeftOut(root)
    columns = Columns(target, groups, times, checked_kind(options.get("kind")))
    found = _labeled(root, labels, columns)
    missing = [] if found is None else [f"no file {one}" for one in found.missing]
    if on_unreadable == "refuse":
        refuse_unreadable(missing)
    rows = class_rows(root, left_out) if found is None else found.rows
    files = ImageFiles(root, rows, size, fit)
    files.leave_out(left_out)
    left_out.warn()
    is_skipping = on_unreadable == "skip"
    if _fits_memory(files, max_bytes):
        kept, stores, bad = in_memory(files, is_skipping=is_skipping)
    else:
        kept, stores, bad = on_demand(files, place_of(working_copy), is_skipping=is_skipping)
    _warn([*missing, *bad])
    _require_all_classes(rows, kept, found)
    making = _making(name or root.name, kept, columns, found, fit)
    return make_task(_parts(kept, stores), making, options)


def _making(
    name: str,
    rows: Sequence[ImageRow],
    columns: Columns,
    found: LabeledFiles | None,
    fit: FitName,
) -> Making:
    """Return how a folder's images become a task."""
    return Making(
        name=name,
        classes=None if found is None else found.outputs,
        groups=_values(rows, "group") if columns.groups else None,
        times=_values(rows, "time") if columns.times else None,
        fit=fit,
        says_drawn=found is None and len({row.part for row in rows}) > 1,
    )


def _warn(unreadable: list[str]) -> None:
    """Warn of files that are skipped, if there are any."""
    if unreadable:
        words = f"Images left out, {unreadable_words(unreadable)}."
        warnings.warn(visible(words), UserWarning, stacklevel=3)


def _checked_root(path: str | os.PathLike[str]) -> Path:
    """Return the folder of a data set.

    Raises:
        TaskError: There is none.
    """
    root = as_path(path, _EXPECTED).resolve()
    if root.is_file():
        raise other_kind(Path(path), _EXPECTED)
    if not root.is_dir():
        raise TaskError(expected=_EXPECTED, got=f"no folder at {path}", fix="check the path")
    return root


def _fits_memory(files: ImageFiles, max_bytes: int | None) -> bool:
    """Whether all images are to be held in memory.

    Raises:
        TaskError: Even the images of a few batches do not fit.
    """
    sizes = files.sizes()
    bound = IN_MEMORY_BYTES if max_bytes is None else max_bytes
    if sum(3 * h * w for h, w in sizes.values()) <= bound:
        return True
    require_memory(sizes, MAX_BYTES if max_bytes is None else max_bytes, _HELD_IMAGES)
    return False


def _parts(rows: Sequence[ImageRow], stores: Stores) -> dict[str, Part]:
    """Return the parts of a data set, with the labels of their images."""
    return {
        part: Part(
            *stores[part],
            [row.label for row in rows if row.part == part],
            "y" if part == "train" else f"y_{part}",
        )
        for part in dict.fromkeys(row.part for row in rows)
    }


def _labeled(
    root: Path, labels: str | os.PathLike[str] | None, columns: Columns
) -> LabeledFiles | None:
    """Return the images of the table that is given, or that lies in the folder; None if none is.

    Raises:
        TaskError: The table is unusable.
    """
    path = usual_table(root) if labels is None else Path(labels)
    if path is None:
        _require_table(columns)
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
    """Refuse a class if none of its images can be read."""
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


def checked_size(image_size: int | tuple[int, int] | None) -> Size | None:
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


def require_fit_name(fit: str) -> None:
    """Refuse a way to another size that there is not.

    Raises:
        TaskError: There is none of this name.
    """
    _require_word("fit", fit, get_args(FitName))


def _require_word(argument: str, given: str, words: Sequence[str]) -> None:
    if given not in words:
        raise TaskError(
            expected=f"{argument} of {', '.join(map(repr, words[:-1]))} or {words[-1]!r}",
            got=repr(given),
            fix="choose one of them",
        )


def _check_options(fit: str, on_unreadable: str, max_bytes: int | None) -> None:
    require_fit_name(fit)
    _require_word("on_unreadable", on_unreadable, ("refuse", "skip"))
    if max_bytes is not None and max_bytes < 1:
        raise TaskError(
            expected="max_bytes of at least 1",
            got=repr(max_bytes),
            fix=f"leave it out for {MAX_BYTES:,} bytes, or give a larger number",
        )
