from __future__ import annotations

import io
import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from surrogate_nas.errors import PastTaskError
from surrogate_nas.past.past_task import PastTask
from surrogate_nas.past.tables import reading as table_reading
from surrogate_nas.past.tables.reading import as_table, read_csv
from tests.helpers.toys import ToySpace

COLUMNS = {"op": ["conv", "pool"], "accuracy": ["0.5", "0.75"]}


def written(tmp_path: Path, data: str | bytes) -> Path:
    path = tmp_path / "past.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize(
    "data",
    [
        "op,accuracy\nconv,0.5\npool,0.75\n",
        "op;accuracy\r\nconv;0.5\r\npool;0.75",
        "op\taccuracy\nconv\t0.5\npool\t0.75\n",
        "\ufeffop , accuracy\nconv,0.5\n\n,\npool,0.75\n",
        '"op","accuracy"\n"conv","0.5"\n"pool","0.75"\n',
    ],
    ids=["commas", "semicolons", "tabs", "byte order mark, blank lines", "quotes"],
)
def test_csv_files_are_read(tmp_path: Path, data: str) -> None:
    table = read_csv(written(tmp_path, data))
    assert dict(table.columns) == COLUMNS
    assert table.is_text
    assert len(table) == 2


def test_rows_are_named_by_their_line(tmp_path: Path) -> None:
    table = read_csv(written(tmp_path, 'op,v\n\n"a\nb",1\nc,2\n'))
    assert table.at(0) == "line 3 of past.csv"
    assert table.at(1, "v") == "column 'v', line 5 of past.csv"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "0 lines with text"),
        ("op,accuracy\n", "1 lines with text"),
        ("op,accuracy\nconv,0,5\n", "3 cells in line 2 under a header of 2.*decimal point"),
        ("op,accuracy\nconv\n", "1 cells in line 2"),
        ("op,op,accuracy\na,b,1\n", "column 'op' twice"),
        ('op,accuracy\n"conv,1\n', "unexpected end of data in line 2"),
        (b"op,accuracy\n\xff,1\n", "can't decode.*UTF-8"),
        ("op,accuracy\nconv,1\n".encode("utf-16"), "can't decode.*UTF-8"),
        (b"\x80\x04\x95\x10\x00\x00", "can't decode"),
        (f"op,accuracy\n{'x' * 200_000},1\n", "field larger than"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, data: str | bytes, message: str) -> None:
    with pytest.raises(PastTaskError, match=message):
        read_csv(written(tmp_path, data))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("past.parquet", b"PAR1", "a Parquet file.*by pandas.*from_table"),
        ("past.xlsx", b"PK\x03\x04", "an Excel file.*by pandas"),
        ("past.json", b'[{"op": "conv"}]', "a JSON file.*by pandas"),
        ("past.zip", b"PK\x03\x04", "a zip archive.*the path of a CSV file"),
        ("past.npy", b"\x93NUMPY", "a .npy file of one array.*the path of a CSV file"),
    ],
)
def test_files_of_other_kinds_are_named(
    name: str, data: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(PastTaskError, match=words):
        read_csv(tmp_path / name)


@pytest.mark.parametrize("path", ["missing.csv", "", "a\0b"])
def test_paths_without_a_file_are_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(PastTaskError, match="Give the path of a CSV file"):
        read_csv(os.path.join(tmp_path, path))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(PastTaskError, match="it is no regular file"):
        read_csv(tmp_path / "pipe")


def test_too_large_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_reading, "MAX_BYTES", 10)
    with pytest.raises(PastTaskError, match="it is larger than 10 bytes"):
        read_csv(written(tmp_path, "op,accuracy\nconv,1\n"))


@pytest.mark.parametrize(
    "table",
    [
        COLUMNS,
        pandas.DataFrame(COLUMNS),
        [{"op": "conv", "accuracy": "0.5"}, {"op": "pool", "accuracy": "0.75"}],
    ],
    ids=["dict of columns", "data frame", "list of dicts"],
)
def test_tables_in_memory_are_taken(table: Any) -> None:
    found = as_table(table)
    assert dict(found.columns) == COLUMNS
    assert found.at(1) == "row 2 of the table"


def test_names_that_a_dict_lacks_are_empty_cells() -> None:
    assert as_table([{"a": 1}, {"b": 2}]).columns == {"a": [1, ""], "b": ["", 2]}


def test_several_levels_of_a_data_frame_become_one() -> None:
    frame = pandas.DataFrame(
        [[1, 2]], columns=pandas.MultiIndex.from_tuples([("a", "b"), ("c", "")])
    )
    assert list(as_table(frame).columns) == ["a_b", "c"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "columns of length {}"),
        ({"a": [1, 2], "b": [1]}, "'a': 2, 'b': 1"),
        ({"a": []}, "'a': 0"),
        ([], "columns of length"),
        ([1, 2], "got a list.*dict of columns"),
        ("past.csv", "got a str.*from_csv"),
        (None, "got a NoneType"),
        (pandas.DataFrame([[1, 2]], columns=["a", "a"]), "column 'a' twice"),
    ],
)
def test_other_tables_are_refused(table: Any, message: str) -> None:
    with pytest.raises(PastTaskError, match=message):
        as_table(table)


def test_columns_of_few_bits_hold_the_numbers_that_were_meant() -> None:
    table = as_table(
        pandas.DataFrame({"rate": np.array([0.1, 0.01], "float32"), "accuracy": [0.5, 0.6]})
    )
    assert table.columns["rate"] == [0.1, 0.01]


def test_a_file_of_many_short_rows_is_refused_before_it_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table_reading, "_MOST_ROWS", 10)
    path = tmp_path / "long.csv"
    path.write_text("a,value\n" + "1,2\n" * 10)
    with pytest.raises(PastTaskError, match="more than 10 lines"):
        read_csv(path)


def test_memory_of_a_large_file_is_a_few_times_its_size(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    path.write_text("a,b,value\n" + "conv_3x3,32,0.5\n" * 200_000)
    tracemalloc.start()
    try:
        read_csv(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5 * path.stat().st_size


def archive(**members: Any) -> Any:
    """Arrays as NumPy hands them out of a file."""
    buffer = io.BytesIO()
    np.savez(buffer, **members)
    buffer.seek(0)
    return np.load(buffer, allow_pickle=False)


COLUMN = [0.5, 0.25]
STRANGE: dict[str, tuple[Any, str]] = {
    "a number": ({"w": 5, "value": 3}, r"column 'w', which cannot be read"),
    "a text": ({"w": "ab", "value": COLUMN}, r"'ab' of type str as column 'w'"),
    "a dict": ({"w": {"a": 1, "b": 2}, "value": COLUMN}, r"of type dict as column 'w'"),
    "nothing": ({"w": None, "value": COLUMN}, r"as column 'w', which cannot be read|column 'w'"),
    "no axis": ({"w": np.array(1), "value": COLUMN}, r"an array of 0 axes and type int64"),
    "two axes": ({"w": np.zeros((2, 3)), "value": COLUMN}, r"an array of 2 axes and type float64"),
    "records": (
        {"w": np.zeros(2, dtype="i4,f4"), "value": COLUMN},
        r"an array of 1 axes and type",
    ),
    "raw bytes": ({"w": np.zeros(2, dtype="V4"), "value": COLUMN}, r"an array of 1 axes and type"),
    "objects in an archive": (
        archive(w=np.array([1, None], dtype=object), value=np.array(COLUMN)),
        r"column 'w', which cannot be read \(Object arrays cannot be loaded",
    ),
    "no axis in an archive": (archive(w=np.array(1), value=np.array(2.0)), r"an array of 0 axes"),
}


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("space", [None, ToySpace()])
def test_a_strange_column_is_an_error_of_ours(name: str, space: Any) -> None:
    table, said = STRANGE[name]
    fix = "Give each column as a list or a one-dimensional array"
    with pytest.raises(PastTaskError, match=rf"(?s){said}.*{fix}"):
        PastTask.from_table(table, value="value", direction="maximize", space=space)


def test_an_archive_of_plain_columns_is_a_table() -> None:
    table = archive(width=np.array([2, 4]), value=np.array(COLUMN, dtype="f4"))
    task = PastTask.from_table(table, value="value", direction="maximize")
    assert [dict(one) for one in task.params] == [{"width": 2}, {"width": 4}]
    assert list(task.values) == COLUMN


@pytest.mark.parametrize("cell", [10**400, -(10**400)])
def test_a_number_beyond_the_largest_float_is_no_value(cell: int) -> None:
    with pytest.raises(PastTaskError, match=r"a number, or nothing for a failed training"):
        PastTask.from_table(
            {"w": [1, 2], "value": [0.5, cell]}, value="value", direction="maximize"
        )


def test_a_cell_that_cannot_be_looked_up_is_no_value_of_the_space() -> None:
    table: Any = {"width": [([1],), ([2],)], "value": COLUMN}
    with pytest.raises(PastTaskError):
        PastTask.from_table(table, value="value", direction="maximize", space=ToySpace())
