"""Raw values: rows come back as they were written, from packed files and from stopped runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies import raw

A, B, C = {"seed": 0, "values": [1.5, None]}, {"seed": 1}, {"seed": 2}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "raw.jsonl.gz"


def test_without_a_file_there_are_no_rows(file: Path) -> None:
    assert raw.read(file) == []


def test_a_run_that_goes_on_reads_packed_rows_first(file: Path) -> None:
    raw.write(file, [A])
    raw.append(file, [B])
    raw.append(file, [C])

    assert raw.read(file) == [A, B, C]


def test_an_unfinished_line_is_left_out_and_replaced(file: Path) -> None:
    raw.append(file, [A])
    with file.with_suffix("").open("a") as plain:
        plain.write('{"seed": 1, "val')

    assert raw.read(file) == [A]

    raw.append(file, [B])

    assert raw.read(file) == [A, B]


def test_packing_leaves_one_file_of_the_same_rows(file: Path) -> None:
    raw.write(file, [A])
    raw.append(file, [B])

    raw.pack(file)

    assert raw.read(file) == [A, B]
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_packing_nothing_changes_nothing(file: Path) -> None:
    raw.write(file, [A])
    before = file.read_bytes()

    raw.pack(file)

    assert file.read_bytes() == before


def test_a_part_is_read_and_replaced_alone(file: Path) -> None:
    raw.write(file, [A], "runs")
    raw.write(file, [B], "accuracy")
    raw.write(file, [C], "runs")

    assert raw.read(file, "runs") == [C]
    assert raw.read(file, "accuracy") == [B]
    assert raw.read(file) == [{"part": "accuracy", **B}, {"part": "runs", **C}]


def test_the_same_rows_are_the_same_bytes(file: Path) -> None:
    raw.write(file, [A, B])
    other = file.with_name("other.jsonl.gz")
    raw.write(other, [A, B])

    assert file.read_bytes() == other.read_bytes()
