"""Errors for files and objects that hold no images: what they are, and which call takes them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any

from surrogate_nas.domains.images.other_forms import url_words
from surrogate_nas.errors import TaskError
from surrogate_nas.files.kinds import FileKind, kind_of_file

_SAVE = "numpy.savez('data.npz', x=images, y=labels)"
_FIXES: Mapping[str, str] = {
    "array": "its labels are missing: call from_arrays(images, labels, name=...), or save both "
    f"by {_SAVE}",
    "arrays": "call from_npz, or load",
    "table": "if it lists image files, put these into one folder a class and pass the folder; if "
    f"its columns are pixels, reshape them to (n, height, width) and save them by {_SAVE}",
    "archive": "unpack it, and pass the folder that it holds",
    "objects": "it is not opened, as such files can run code; read it yourself and save plain "
    f"arrays by {_SAVE}",
    "image": "pass the folder above it, with one sub-folder of images a class",
    "other": f"read the images and labels out of it, and save them by {_SAVE}",
}


def as_path(path: Any, expected: str) -> Path:
    """Return what is given as a path.

    Args:
        path: Anything that a user passes in place of a path.
        expected: What is expected at the path.

    Raises:
        TaskError: It is no path, or a URL.
    """
    if not isinstance(path, str | os.PathLike):
        items = f" of {len(path)} items" if isinstance(path, Sized) else ""
        raise TaskError(
            expected=f"the path of {expected}",
            got=f"a {type(path).__name__}{items}",
            fix="call from_arrays for images and labels in memory",
        )
    text = os.fsdecode(path)
    if url := url_words(text):
        raise TaskError(
            expected=f"the path of {expected}",
            got=url,
            fix="download it first, and pass the path of what you have then",
        )
    return Path(text)


def other_kind(path: Path, expected: str, kind: FileKind | None = None) -> TaskError:
    """Return the error for a file or folder of another kind than is expected.

    Args:
        path: The file or folder.
        expected: What is expected at the path.
        kind: What kind of file it is, if that is known already.
    """
    kind = kind or kind_of_file(path)
    if path.is_dir():
        return TaskError(
            expected=expected, got=f"a folder at {path}", fix="call from_folder, or load"
        )
    if kind is None:
        fix = f"check the path, or save the data by {_SAVE}"
        return TaskError(expected=expected, got=f"{path}", fix=fix)
    return TaskError(expected=expected, got=f"{kind.name} at {path}", fix=_FIXES[kind.group])
