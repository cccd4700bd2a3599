from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from surrogate_nas.errors import StudyError
from surrogate_nas.files.bounded import bounded_size, read_bounded


def refuse(got: str) -> StudyError:
    return StudyError(expected="a file", got=got, fix="take another one")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"\r\n12345678")
    return path


def test_a_file_up_to_the_bound_is_read(file: Path) -> None:
    assert read_bounded(file, 10) == read_bounded(str(file), 10**9) == b"\r\n12345678"
    assert bounded_size(file, 10) == 10


@pytest.mark.parametrize("read", [read_bounded, bounded_size])
def test_a_larger_file_is_refused(file: Path, read: Any) -> None:
    with pytest.raises(OSError, match="it is larger than 9 bytes"):
        read(file, 9)
    with pytest.raises(StudyError, match="got it is larger than 9 bytes"):
        read(file, 9, refuse)


def test_a_bound_of_whole_mebibytes_is_told_in_these(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**20 + 1)
    with pytest.raises(OSError, match="it is larger than 1 MiB"):
        read_bounded(tmp_path / "large", 2**20)


def test_a_file_that_grows_while_it_is_read_is_read_whole_or_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fstat

    def smaller(descriptor: int) -> os.stat_result:
        found = list(real(descriptor))
        found[6] = 1
        return os.stat_result(found)

    monkeypatch.setattr("surrogate_nas.files.bounded.os.fstat", smaller)
    assert read_bounded(file, 10) == b"\r\n12345678"
    with pytest.raises(OSError, match="it is larger than 9 bytes"):
        read_bounded(file, 9)


@pytest.mark.parametrize("read", [read_bounded, bounded_size])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, read: Any) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StudyError, match="it is no regular file"):
        read(tmp_path / "pipe", 10, refuse)


@pytest.mark.parametrize("read", [read_bounded, bounded_size])
def test_a_folder_is_refused(tmp_path: Path, read: Any) -> None:
    with pytest.raises(StudyError, match="it is no regular file"):
        read(tmp_path, 10**9, refuse)


@pytest.mark.parametrize("read", [read_bounded, bounded_size])
def test_a_link_is_followed_only_where_that_is_wanted(file: Path, read: Any) -> None:
    link = file.with_name("link")
    link.symlink_to(file)
    assert read(link, 10)
    with pytest.raises(StudyError):
        read(link, 10, refuse, follow_links=False)
    assert read(file, 10, refuse, follow_links=False)


@pytest.mark.parametrize("read", [read_bounded, bounded_size])
@pytest.mark.parametrize(
    ("name", "got"), [("missing", "No such file"), ("a\0b", "null"), ("x" * 300, "too long")]
)
def test_what_is_not_there_is_told_in_the_systems_words(
    tmp_path: Path, read: Any, name: str, got: str
) -> None:
    with pytest.raises(StudyError, match=got):
        read(tmp_path / name, 10, refuse)


def test_without_an_error_of_the_callers_the_systems_is_raised(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "missing", 10)
