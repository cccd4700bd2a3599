"""What kind of file something is, by its first bytes and its ending; nothing is opened."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

Group: TypeAlias = Literal["arrays", "array", "table", "archive", "objects", "image", "other"]


class FileKind(NamedTuple):
    """A kind of file.

    Args:
        name: What it is, as a noun phrase.
        group: What can be done with it: ``arrays`` is a NumPy archive, ``array`` a single array,
            and ``objects`` are files that could run code when they are read.
    """

    name: str
    group: Group


_HEAD_BYTES = 512

_SIGNS: Final[Mapping[bytes, FileKind]] = {
    b"\x93NUMPY": FileKind("a .npy file of one array", "array"),
    b"PAR1": FileKind("a Parquet file", "table"),
    b"ARROW1": FileKind("a Feather file", "table"),
    b"\xd0\xcf\x11\xe0": FileKind("an Excel file", "table"),
    b"\x1f\x8b": FileKind("a gzip archive", "archive"),
    b"BZh": FileKind("a bzip2 archive", "archive"),
    b"\xfd7zXZ": FileKind("an xz archive", "archive"),
    b"7z\xbc\xaf": FileKind("a 7z archive", "archive"),
    b"Rar!": FileKind("a RAR archive", "archive"),
    b"\x89HDF": FileKind("an HDF5 file", "other"),
    b"MATLAB": FileKind("a MATLAB file", "other"),
    b"SQLite format 3": FileKind("a SQLite database", "other"),
    b"%PDF": FileKind("a PDF file", "other"),
    b"\x89PNG": FileKind("a single image", "image"),
    b"\xff\xd8\xff": FileKind("a single image", "image"),
    b"GIF8": FileKind("a single image", "image"),
    b"II*\x00": FileKind("a single image", "image"),
    b"MM\x00*": FileKind("a single image", "image"),
}
_PICKLE = FileKind("a pickle file", "objects")
_ENDINGS: Final[Mapping[str, FileKind]] = {
    ".csv": FileKind("a CSV file", "table"),
    ".tsv": FileKind("a TSV file", "table"),
    ".jsonl": FileKind("a JSON Lines file", "table"),
    ".json": FileKind("a JSON file", "table"),
    ".parquet": FileKind("a Parquet file", "table"),
    ".feather": FileKind("a Feather file", "table"),
    ".xlsx": FileKind("an Excel file", "table"),
    ".xls": FileKind("an Excel file", "table"),
    ".npy": FileKind("a .npy file of one array", "array"),
    ".npz": FileKind("a NumPy archive", "arrays"),
    ".zip": FileKind("a zip archive", "archive"),
    ".tar": FileKind("a tar archive", "archive"),
    ".tgz": FileKind("a tar archive", "archive"),
    ".gz": FileKind("a gzip archive", "archive"),
    ".pkl": _PICKLE,
    ".pickle": _PICKLE,
    ".pt": FileKind("a PyTorch file", "objects"),
    ".pth": FileKind("a PyTorch file", "objects"),
    ".h5": FileKind("an HDF5 file", "other"),
    ".hdf5": FileKind("an HDF5 file", "other"),
    ".mat": FileKind("a MATLAB file", "other"),
    ".txt": FileKind("a text file", "other"),
    ".safetensors": FileKind("a safetensors file", "other"),
}


def kind_of_file(path: Path) -> FileKind | None:
    """Return what kind of file is at a path; None if nobody can tell.

    Args:
        path: A file. If it cannot be read, its ending decides.
    """
    by_ending = _ENDINGS.get(path.suffix.lower())
    try:
        if not path.is_file():
            return by_ending  # NOTE: a pipe would be waited for
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, ValueError):  # a path may be none at all
        return by_ending
    for sign, kind in _SIGNS.items():
        if head.startswith(sign):
            return kind
    if head[:4] == b"PK\x03\x04":
        return _zipped(path) or by_ending
    if head[257:262] == b"ustar":
        return FileKind("a tar archive", "archive")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return FileKind("a single image", "image")
    if head[:1] == b"\x80" and head[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        return _PICKLE
    if by_ending is not None and by_ending.group not in ("array", "arrays"):
        return by_ending
    return _text(head) if head else None


def _zipped(path: Path) -> FileKind | None:
    """Return what kind of file in the form of a zip archive it is; None if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return None
    if any(name.startswith("xl/") for name in names):
        return _ENDINGS[".xlsx"]
    if any(name.endswith("data.pkl") for name in names):
        return _ENDINGS[".pt"]
    if names and all(name.endswith(".npy") for name in names):
        return _ENDINGS[".npz"]
    return _ENDINGS[".zip"]


def _text(head: bytes) -> FileKind | None:
    """Return what kind of text begins so; None if it is no text."""
    try:
        first = head.decode("utf-8-sig").lstrip()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:
            return None  # NOTE: only the last letter may be cut off
        first = head[: error.start].decode("utf-8-sig").lstrip()
    if any(ord(sign) < 9 for sign in first):
        return None
    line = first.splitlines()[0] if first else ""
    if line[:1] in ("{", "["):
        return _ENDINGS[".json"]
    if "\t" in line:
        return _ENDINGS[".tsv"]
    return _ENDINGS[".csv"] if "," in line or ";" in line else _ENDINGS[".txt"]
