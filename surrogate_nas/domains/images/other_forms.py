"""Errors for objects in the place of images, with the call that takes them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from surrogate_nas.domains.given import enumerated
from surrogate_nas.errors import TaskError


def refuse_other_forms(values: Any, what: str) -> None:
    """Refuse data sets that are no arrays, in the name of what they are."""
    kinds = {cls.__name__ for cls in type(values).__mro__}
    modules = {cls.__module__.partition(".")[0] for cls in type(values).__mro__}
    if kinds & {"Dataset", "IterableDataset", "DataLoader"}:
        library = "Hugging Face" if "datasets" in modules else "PyTorch"
        got = f"a {type(values).__name__} of {library}"
        fix = "collect its images into one array and its labels into another"
    elif "DataFrame" in kinds or ("Table" in kinds and "pyarrow" in modules):
        got, fix = _of_frame(values)
    elif isinstance(values, str | os.PathLike):
        got, fix = _of_text(os.fsdecode(values))
    elif "NpzFile" in kinds:
        got = f"an open .npz archive with {enumerated(sorted(values.files))}"
        fix = "pass the arrays in it, as in archive['x'], or its path to from_npz"
    elif isinstance(values, Mapping):
        got = f"a dict of {enumerated([repr(key) for key in values])}"
        fix = "pass the images and the labels in it one by one"
    elif isinstance(values, bytes | bytearray):
        got, fix = "bytes", "decode the images, and stack them by numpy.stack"
    else:
        return
    raise TaskError(expected=f"{what} as an array of pixels", got=got, fix=fix)


def _of_frame(frame: Any) -> tuple[str, str]:
    """Return what a data frame holds, and what to do with it."""
    for name in getattr(frame, "columns", ()):
        first = next(iter(frame[name]), None) if isinstance(name, str) else None
        if is_path(first):
            return (
                f"a data frame with paths of files in column {name!r}, such as {str(first)!r}",
                "read the files into one array, or put them into one folder a class and call "
                "from_folder",
            )
    return (
        "a data frame, whose rows are no images",
        "pass an array of shape (n, height, width), made for example by numpy.stack",
    )


def _of_text(text: str) -> tuple[str, str]:
    """Return what a text in the place of an array is, and what to do with it."""
    if url := url_words(text):
        return url, "download it first, then call from_folder or from_npz"
    return (
        f"the path {text!r}",
        "call from_folder for a folder of images, or from_npz for a .npz file",
    )


def url_words(text: str) -> str:
    """Return a URL in words, without what may be a password in it; empty for any other text."""
    scheme, found, _ = text.partition("://")
    return f"a URL, {scheme}://..." if found and scheme.isalnum() else ""


def is_path(value: Any) -> bool:
    """Whether a value is a text or path that ends like a file."""
    is_text = isinstance(value, str | os.PathLike)
    return is_text and bool(os.path.splitext(os.fspath(value))[1])


def table_of_numbers(shape: tuple[int, ...], what: str) -> TaskError:
    """Return the error for a table of numbers, one row an image or not."""
    n, columns = shape
    side = math.isqrt(columns)
    fix = "reshape each row to (height, width), if its numbers are pixels"
    if side > 1 and side * side == columns:
        fix = f"reshape it to ({n}, {side}, {side}), if each row is an image"
    return TaskError(
        expected=f"{what} of shape (n, height, width), or with 1, 3 or 4 channels",
        got=f"a table of numbers, {n:,} rows by {columns:,} columns: shape {shape}",
        fix=f"{fix}; data that are no images need a Task of your own",
    )
