"""A file's kind is told by its first bytes, else by its ending."""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from surrogate_nas.files.kinds import kind_of_file


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.png"))
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.arange(3))
    return buffer.getvalue()


KINDS = {
    "a CSV file": ("a.npz", b"pixel_1,label\n3,cat\n"),
    "a TSV file": ("a", b"pixel\tlabel\n"),
    "a JSON file": ("a.data", b'[{"a": 1}]'),
    "a JSON Lines file": ("a.jsonl", b'{"a": 1}\n'),
    "a Parquet file": ("a.csv", b"PAR1...."),
    "an Excel file": ("a.zip", zipped("xl/workbook.xml")),
    "a .npy file of one array": ("a.npz", array()),
    "a NumPy archive": ("a", zipped("x.npy", "y.npy")),
    "a PyTorch file": ("a.npz", zipped("net/data.pkl")),
    "a zip archive": ("a.npz", zipped("cats/1.png")),
    "a tar archive": ("a.tar", tarred()),
    "a gzip archive": ("a.tar.gz", b"\x1f\x8b\x08"),
    "a pickle file": ("a.npz", pickle.dumps([1])),
    "a single image": ("a", b"\x89PNG\r\n"),
    "an HDF5 file": ("a", b"\x89HDF\r\n"),
    "a SQLite database": ("a.db", b"SQLite format 3\x00"),
    "a text file": ("a.npy", "Wörter".encode()),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_file_s_kind(name: str, tmp_path: Path) -> None:
    ending, content = KINDS[name]
    (tmp_path / ending).write_bytes(content)

    kind = kind_of_file(tmp_path / ending)

    assert kind is not None
    assert kind.name == name


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02\x03", b"PK\x03\x04"])
def test_what_nobody_can_tell(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)

    assert kind_of_file(tmp_path / "a") is None
