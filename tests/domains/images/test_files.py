import contextlib
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from surrogate_nas.errors import TaskError
from surrogate_nas.tasks import digits, from_arrays, from_npz, load
from tests.helpers.images import labels, pixels


@pytest.mark.parametrize("keys", [("x_train", "y_train"), ("x", "y"), ("images", "labels")])
def test_an_archive_makes_the_same_task_as_its_arrays(
    tmp_path: Path, keys: tuple[str, str]
) -> None:
    x, y = pixels(60, 6, 5), labels(60)
    arrays: dict[str, Any] = {keys[0]: x, keys[1]: y, "extra": np.zeros(3)}
    np.savez(tmp_path / "toy.npz", **arrays)
    task = from_npz(tmp_path / "toy.npz", metric="f1", seed=3)
    assert task.name == "toy"
    assert task.fingerprint == from_arrays(x, y, name="toy", metric="f1", seed=3).fingerprint


def test_splits_and_class_names_are_read(tmp_path: Path) -> None:
    path = tmp_path / "toy.npz"
    parts: dict[str, Any] = {}
    for part, n in (("train", 30), ("val", 8), ("test", 6)):
        parts |= {f"x_{part}": pixels(n, 6, 5), f"y_{part}": labels(n)}
    np.savez_compressed(path, classes=np.array(["no", "yes"]), **parts)
    task = load(str(path), name="another")
    assert (len(task.train), len(task.validation), len(task.test)) == (30, 8, 6)
    assert task.classes == ("no", "yes")
    assert task.name == "another"


def test_other_keys_are_refused_with_the_keys_found(tmp_path: Path) -> None:
    np.savez(tmp_path / "toy.npz", data=pixels(9, 2, 2), y=labels(9))
    with pytest.raises(TaskError, match=r"x_train and y_train.*data, y in") as error:
        from_npz(tmp_path / "toy.npz")
    assert "numpy.savez" in error.value.fix


def test_an_archive_without_arrays_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "toy.npz")
    with pytest.raises(TaskError, match="no arrays"):
        from_npz(tmp_path / "toy.npz")


@pytest.mark.parametrize("member", ["x.npy", "y.npy", "classes.npy", "x_test.npy"])
@pytest.mark.parametrize("content", [b"", b"[1, 2, 3]", b"PK\x03\x04"])
def test_a_member_that_is_no_array_is_refused(tmp_path: Path, member: str, content: bytes) -> None:
    """NumPy hands its bytes out instead."""
    with zipfile.ZipFile(tmp_path / "toy.npz", "w") as archive:
        for name, array in (("x.npy", pixels(30, 6, 5)), ("y.npy", labels(30))):
            buffer = io.BytesIO()
            np.save(buffer, array)
            archive.writestr(name, content if name == member else buffer.getvalue())
        if member not in ("x.npy", "y.npy"):
            archive.writestr(member, content)
    with pytest.raises(
        TaskError, match=r"npz file of plain arrays; .*Save it again by numpy.savez"
    ):
        from_npz(tmp_path / "toy.npz")


def objects() -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.array([{}, None], dtype=object), y=labels(2))
    return buffer.getvalue()


def whole() -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=pixels(60, 6, 5), y=labels(60))
    return buffer.getvalue()


def single() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, pixels(60, 6, 5))
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"hello",
        objects(),
        whole()[:-100],
        whole()[: len(whole()) // 2],
        single(),
    ],
    ids=["empty", "start", "text", "objects", "end cut off", "half", "npy"],
)
def test_files_that_cannot_be_read_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "toy.npz"
    path.write_bytes(content)
    with pytest.raises(TaskError, match=r"cannot be read|which is no \.npz file") as error:
        from_npz(path)
    assert "numpy.savez" in error.value.fix


@pytest.mark.parametrize("position", range(0, len(whole()), len(whole()) // 60))
def test_a_damaged_byte_is_harmless_or_refused(tmp_path: Path, position: int) -> None:
    content = bytearray(whole())
    content[position] ^= 0xFF
    path = tmp_path / "toy.npz"
    path.write_bytes(content)
    # A checksum guards the arrays, so what is read at all is what was written.
    with contextlib.suppress(TaskError):
        task = from_npz(path)
        assert task.fingerprint == from_arrays(pixels(60, 6, 5), labels(60), name="t").fingerprint


def test_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no file at"):
        from_npz(tmp_path / "nothing.npz")
    with pytest.raises(TaskError, match="nothing at"):
        load(tmp_path / "nothing")


def test_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "toy.csv"
    path.write_text("a,b")
    with pytest.raises(TaskError, match=r"a \.npz file or a folder.*toy\.csv"):
        load(path)


def test_digits_survive_the_way_through_a_file(tmp_path: Path) -> None:
    task = digits()
    names = {"train": task.train, "val": task.validation, "test": task.test}
    arrays: dict[str, Any] = {}
    for part, split in names.items():
        arrays |= {f"x_{part}": split.inputs.numpy(), f"y_{part}": split.targets.numpy()}
    np.savez(tmp_path / "digits.npz", **arrays)
    assert load(tmp_path / "digits.npz").fingerprint == task.fingerprint
