"""Tasks from files: a NumPy archive, or the file or folder at a path."""

from __future__ import annotations

import lzma
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias, Unpack

import numpy as np

from surrogate_nas.arrays import Array
from surrogate_nas.domains.images.arrays import digits_with, from_arrays
from surrogate_nas.domains.images.folder import from_folder
from surrogate_nas.domains.images.making import Options
from surrogate_nas.domains.images.other_files import as_path, other_kind
from surrogate_nas.errors import TaskError
from surrogate_nas.files.kinds import FileKind, kind_of_file
from surrogate_nas.task import Task

PathLike: TypeAlias = str | os.PathLike[str]

_KEYS = (("x_train", "y_train"), ("x", "y"), ("images", "labels"))
_OPTIONAL_KEYS = ("x_test", "y_test", "x_val", "y_val", "classes")
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,  # of arrays of objects, too
    MemoryError,  # a damaged header may ask for any size
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    RuntimeError,  # members that need a password
    SyntaxError,
    tokenize.TokenError,  # headers that NumPy's parser gives up on
    Warning,
)
_EXPECTED = "a .npz file or a folder with one sub-folder of images a class"
_MOST_CLASSES = 1_000_000
_PLAIN_BYTES = 256 * 2**20
_MOST_UNFOLDED = 100
"""Largest ratio of the arrays' bytes to the archive's, for arrays above _PLAIN_BYTES."""


def from_npz(
    path: PathLike,
    *,
    name: str | None = None,
    groups: str | None = None,
    times: str | None = None,
    **options: Unpack[Options],
) -> Task:
    """Make a task from a NumPy archive; no pickled objects are read.

    Args:
        path: A ``.npz`` file with the arrays ``x_train`` and ``y_train``, or ``x`` and ``y``, or
            ``images`` and ``labels``. It may also have ``x_test`` and ``y_test``, ``x_val`` and
            ``y_val``, and names of classes as ``classes``. Other arrays are ignored.
        name: How past tasks and reports call the task; by default the file's name.
        groups: Name of the array of groups, see :func:`from_arrays`.
        times: Name of the array of times, see :func:`from_arrays`.
        **options: See :func:`from_arrays`.

    Raises:
        TaskError: The file is missing, damaged or holds other arrays, or the data are unusable.
        MetricError: The metric is unknown or does not fit the data.
    """
    path = as_path(path, "a .npz file")
    if path.is_dir():
        raise other_kind(path, "a .npz file")
    if not path.is_file():
        raise TaskError(expected="a .npz file", got=f"no file at {path}", fix="check the path")
    wanted = [key for key in (groups, times) if key is not None]
    arrays = _read_arrays(path, wanted)
    absent = [key for key in wanted if key not in arrays]
    if absent:
        raise TaskError(
            expected=f"arrays among {', '.join(sorted(arrays))}",
            got=repr(absent[0]),
            fix="name the arrays of groups and times as the file does",
        )
    keys = next((pair for pair in _KEYS if set(pair) <= set(arrays)), None)
    if keys is None:
        raise TaskError(
            expected="arrays named x_train and y_train, x and y, or images and labels",
            got=f"{', '.join(sorted(arrays)) or 'no arrays'} in {path}",
            fix="save them by numpy.savez(path, x_train=..., y_train=...)",
        )
    others: dict[str, Any] = {key: arrays.get(key) for key in _OPTIONAL_KEYS}
    if others["classes"] is not None:
        others["classes"] = _names(others["classes"], path)
    others["groups"], others["times"] = (key and arrays[key] for key in (groups, times))
    x, y = (arrays[key] for key in keys)
    return from_arrays(x, y, name=name or path.stem, **others, **options)


def _read_arrays(path: Path, wanted: Sequence[str]) -> dict[str, Array]:
    """Return the known and wanted arrays of an archive, and an empty array for each other name."""
    known = {*_OPTIONAL_KEYS, *(key for pair in _KEYS for key in pair), *wanted}
    kind = kind_of_file(path)
    if kind is not None and kind.group != "arrays":
        found = FileKind(f"{kind.name}, which is no .npz file,", kind.group)
        raise other_kind(path, "a .npz file of plain arrays", found)
    try:
        # NOTE: given a path, NumPy leaves the file open if the archive is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            found = archive.files
            _require_plausible_size(archive.zip, path)
            # NOTE: other arrays stay unread, but an error lists their names.
            return {key: _member(archive, key) if key in known else np.empty(0) for key in found}
    except (*_DAMAGE, AttributeError, TypeError) as error:
        raise TaskError(
            expected="a .npz file of plain arrays",
            got=f"{path}, which cannot be read ({error})",
            fix="save it again by numpy.savez, with arrays of numbers or strings only",
        ) from error


def _member(archive: Any, key: str) -> Array:
    """Return an array of an archive; NumPy gives the bytes of a member that is none."""
    member = archive[key]
    if not isinstance(member, np.ndarray):
        raise ValueError(f"{key} is no array")
    return member


def _require_plausible_size(archive: Any, path: Path) -> None:
    """Refuse an archive whose arrays are far larger than images would be."""
    # NOTE: zeros compress a thousandfold, so a small archive may ask for any amount of memory.
    unfolded = sum(member.file_size for member in archive.infolist())
    if unfolded > max(_PLAIN_BYTES, _MOST_UNFOLDED * path.stat().st_size):
        raise ValueError(f"it unfolds to {unfolded:,} bytes")


def _names(classes: Array, path: Path) -> list[str]:
    """Return the names of the classes as text."""
    if classes.size > _MOST_CLASSES:
        raise TaskError(
            expected=f"at most {_MOST_CLASSES:,} names of classes",
            got=f"{classes.size:,} in {path}",
            fix="save a name for each class",
        )
    try:
        return [str(name) for name in classes.astype(str).ravel().tolist()]
    except (TypeError, ValueError) as error:
        raise TaskError(
            expected="names of classes as an array of text or numbers",
            got=f"an array of {classes.dtype} in {path}",
            fix="save them as text",
        ) from error


_OF_FOLDERS = (
    *("image_size", "fit", "labels", "target", "on_unreadable", "max_bytes", "working_copy"),
)


def load(path: PathLike, *, name: str | None = None, **options: Any) -> Task:
    """Make a task from the ``.npz`` file or the folder of images at a path.

    Args:
        path: See :func:`from_npz` and :func:`from_folder`. The text "digits" is the task of that
            name, unless there is a file or folder that is called so.
        name: How past tasks and reports call the task; by default the file's or folder's name.
        **options: See :func:`from_folder` for a folder, and :func:`from_npz` for a file, which
            leaves options of folders out.

    Raises:
        TaskError: The path leads to neither, or the data are unusable.
        MetricError: The metric is unknown or does not fit the data.
        MissingExtraError: The path leads to a folder, and Pillow is not installed.
    """
    path = as_path(path, _EXPECTED)
    if path.is_dir():
        return from_folder(path, name=name, **options)
    kept = {key: value for key, value in options.items() if key not in _OF_FOLDERS}
    if str(path) == "digits" and not path.exists():
        return digits_with(**kept)
    kind = kind_of_file(path)
    if path.suffix.lower() == ".npz" or (kind is not None and kind.group == "arrays"):
        return from_npz(path, name=name, **kept)
    if path.exists():
        raise other_kind(path, _EXPECTED, kind)
    raise TaskError(expected=_EXPECTED, got=f"nothing at {path}", fix="check the path")
