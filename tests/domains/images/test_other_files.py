"""Whatever is given in place of images is named, with the call that takes it."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from surrogate_nas import tasks
from surrogate_nas.errors import TaskError


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("cats/1.png", b"x")
    return buffer.getvalue()


def array() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((3, 4, 4)))
    return buffer.getvalue()


FILES = {
    "a CSV file": ("pets.csv", b"path,label\na.png,cat\n", "one folder a class"),
    "a Parquet file": ("pets.parquet", b"PAR1....", "one folder a class"),
    "a JSON Lines file": ("pets.jsonl", b'{"label": 1}\n', "one folder a class"),
    "an Excel file": ("pets.xlsx", b"PK\x03\x04", "one folder a class"),
    "a .npy file": ("pets.npy", array(), r"from_arrays\(images, labels"),
    "a zip archive": ("pets.zip", zipped(), "Unpack it"),
    "a pickle file": ("pets.pkl", pickle.dumps([1]), "can run code"),
    "a single image": ("cat.png", b"\x89PNG\r\n", "the folder above it"),
    "an HDF5 file": ("pets.h5", b"\x89HDF\r\n", r"numpy\.savez"),
}


@pytest.mark.parametrize("call", ["load", "from_npz", "from_folder"])
@pytest.mark.parametrize("kind", FILES)
def test_files_of_other_kinds_are_named(kind: str, call: str, tmp_path: Path) -> None:
    name, content, fix = FILES[kind]
    (tmp_path / name).write_bytes(content)

    with pytest.raises(TaskError, match=f"got {kind}.*{fix}") as caught:
        getattr(tasks, call)(tmp_path / name)

    assert "allow_pickle" not in str(caught.value)


def test_the_other_loader_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 2, 2)), y=np.zeros(4))
    with pytest.raises(TaskError, match=r"a NumPy archive.*from_npz"):
        tasks.from_folder(tmp_path / "a.npz")
    with pytest.raises(TaskError, match=r"a folder at.*from_folder"):
        tasks.from_npz(tmp_path)


@pytest.mark.parametrize("call", ["load", "from_npz", "from_folder"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("https://me:secret@example.org/pets.zip", r"got a URL, https://\.\.\.\. Download"),
        ([1, 2], "a list of 2 items.*from_arrays"),
        (pd.DataFrame({"a": [1]}), "a DataFrame of 1 items.*from_arrays"),
        (np.zeros((3, 4, 4)), "a ndarray of 3 items.*from_arrays"),
        (None, "a NoneType.*from_arrays"),
    ],
)
def test_what_is_no_path_is_named(given: Any, words: str, call: str) -> None:
    with pytest.raises(TaskError, match=words):
        getattr(tasks, call)(given)


def forms(folder: Path) -> dict[str, tuple[Any, str]]:
    """Name -> what is given as images, and a part of the error."""
    np.savez(folder / "a.npz", x=np.zeros(2), y=np.zeros(2))
    paths = {"file": ["a.png", "b.png"], "label": [0, 1]}
    return {
        "table of numbers": (np.zeros((2, 13)), "a table of numbers, 2 rows by 13 columns.*Task"),
        "flat images": (np.zeros((2, 784)), r"reshape it to \(2, 28, 28\)"),
        "frame of numbers": (pd.DataFrame(np.zeros((2, 4))), "a data frame, whose rows"),
        "frame of paths": (
            pd.DataFrame(paths),
            "paths of files in column 'file', such as 'a.png'",
        ),
        "series of paths": (pd.DataFrame(paths)["file"], "paths of files, such as 'a.png'"),
        "table of pyarrow": (pa.table(paths), "a data frame"),
        "url": ("https://me:secret@example.org/x.npy", r"got a URL, https://\.\.\.\. Download it"),
        "archive": (np.load(folder / "a.npz"), "an open .npz archive with x, y"),
        "dict": ({"x": [1], "y": [2]}, "a dict of 'x', 'y'"),
        "bytes": (b"\x89PNG", "got bytes"),
    }


NAMES = (
    *("table of numbers", "flat images", "frame of numbers", "frame of paths", "series of paths"),
    *("table of pyarrow", "url", "archive", "dict", "bytes"),
)


@pytest.mark.parametrize("name", NAMES)
def test_other_forms_of_images_are_named(name: str, tmp_path: Path) -> None:
    x, words = forms(tmp_path)[name]

    with pytest.raises(TaskError, match=f"(?i){words}"):
        tasks.from_arrays(x, [0, 1], name="t")


@pytest.mark.parametrize(
    ("y", "words"),
    [
        ("labels.csv", "the text 'labels.csv'.*read the labels"),
        (Path("labels.csv"), "the text 'labels.csv'.*read the labels"),
        (pd.DataFrame({"a": [0], "label": [1]}), r"y=table\['label'\]"),
        ({"label": [0, 1]}, r"a dict with 'label'.*y=table\['label'\]"),
    ],
)
def test_other_forms_of_labels_are_named(y: Any, words: str) -> None:
    with pytest.raises(TaskError, match=f"(?i){words}"):
        tasks.from_arrays(np.zeros((2, 4, 4)), y, name="t")


def test_one_column_of_a_frame_is_taken() -> None:
    y = pd.DataFrame({"label": [0, 1] * 10})
    assert tasks.from_arrays(np.zeros((20, 4, 4)), y, name="t").n_outputs == 2
