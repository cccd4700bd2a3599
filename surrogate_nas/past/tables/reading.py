"""Tables in any form -> named columns: CSV files, data frames, dicts or lists."""

from __future__ import annotations

import csv
import io
import os
import zipfile
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, final, runtime_checkable

import numpy as np

from surrogate_nas.errors import PastTaskError
from surrogate_nas.files.bounded import read_bounded
from surrogate_nas.files.kinds import kind_of_file
from surrogate_nas.past.tables.cells import plain_number

TablePath: TypeAlias = "str | os.PathLike[str]"

MAX_BYTES = 128 * 2**20
"""Size of a file, in bytes. It is looked at before the file is read."""
_MOST_CELLS = 5_000_000
_MOST_ROWS = 500_000
"""Number of lines of a file. Past results become a dict a row, which takes some 400 bytes."""
_MOST_COLUMNS = 10_000

_TEXTS = ("a CSV file", "a TSV file")
"""Names of the kinds of tables that are read here."""

_DELIMITERS = (",", ";", "\t")


@runtime_checkable
class DataFrame(Protocol):
    """The interface of a data frame that is needed. Data frames of pandas and Polars have it."""

    @property
    def columns(self) -> Any:
        """Names of the columns."""

    def __getitem__(self, name: Any, /) -> Any:
        """A column, which can be iterated."""

    def __len__(self) -> int:
        """Number of rows."""


TableLike: TypeAlias = "DataFrame | Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]"


@final
@dataclass(frozen=True)
class Table:
    """Columns of equal length, and the place of each row in its source.

    Args:
        source: Name of the table in messages.
        columns: Cells of each column, by its name. They are text if `is_text`, else anything.
        lines: Number of each row as its reader counts: the line of a file, or the row from 1.
        is_text: Whether every cell is text.
    """

    source: str
    columns: Mapping[str, Sequence[Any]]
    lines: Sequence[int]
    is_text: bool = False

    def __len__(self) -> int:
        return len(self.lines)

    def at(self, row: int, column: str | None = None) -> str:
        """Return the place of a row or a cell in words."""
        unit = "line" if self.is_text else "row"
        where = f"{unit} {self.lines[row]} of {self.source}"
        return where if column is None else f"column {column!r}, {where}"


def read_csv(path: TablePath) -> Table:
    """Read a CSV file in UTF-8 whose cells are separated by commas, semicolons or tabs.

    Args:
        path: Path of the file.

    Raises:
        PastTaskError: The file cannot be read, is too large, or is no text in UTF-8. Or it has no
            rows, a column twice, or a row of another length than the header.
    """
    source = os.path.basename(os.fspath(path)) or repr(os.fspath(path))
    data = _data(path)
    # NOTE: decoded piece by piece, as the whole as text would need four times as much memory.
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")
    start = 1
    header: list[str] | None = None
    columns: list[list[str]] = []
    numbers = array("q")
    known: dict[str, str] = {}
    try:
        reader = csv.reader(lines, delimiter=_delimiter(data), strict=True)
        for row in reader:
            if any(cell.strip() for cell in row):
                if header is None:
                    header = _header(source, row)
                    columns = [[] for _ in header]
                else:
                    _check_length(source, row, header, start)
                    # NOTE: most cells of a table are equal to others, and are kept once.
                    for column, cell in zip(columns, row, strict=True):
                        column.append(known.setdefault(cell, cell))
                    numbers.append(start)
            # A quoted cell may span lines, so rows are not counted but asked for their place.
            start = reader.line_num + 1
    except UnicodeDecodeError as error:
        raise _unusable(source, f"{error}", "save the file as CSV in UTF-8") from error
    except csv.Error as error:
        raise _unusable(source, f"{error} in line {start}", "write it as CSV again") from error
    if header is None or not numbers:
        n = 0 if header is None else 1
        raise _unusable(source, f"{n} lines with text", "give a header and rows")
    return Table(source, dict(zip(header, columns, strict=True)), numbers, is_text=True)


def _header(source: str, row: Sequence[str]) -> list[str]:
    """Return the names of the columns, from a table's first line."""
    header = [name.strip() for name in row]
    if len(header) > _MOST_COLUMNS:
        raise _unusable(
            source, f"{len(header):,} columns", f"keep at most {_MOST_COLUMNS:,} of them"
        )
    _check_names(source, header)
    return header


def _check_length(source: str, row: Sequence[str], header: Sequence[str], line: int) -> None:
    """Refuse a row of another length than the header."""
    if len(row) != len(header):
        raise _unusable(
            source,
            f"{len(row)} cells in line {line} under a header of {len(header)}",
            "quote cells that contain the separator, and write numbers with a decimal point",
        )


def as_table(table: TableLike, source: str = "the table") -> Table:
    """Take a table that is in memory already.

    Args:
        table: A data frame, a dict of columns or a list of dicts.
        source: Name of the table in messages.

    Raises:
        PastTaskError: It is no table, has no rows, a column twice, or columns of unequal length.
    """
    columns: dict[str, Sequence[Any]]
    if isinstance(table, Mapping):
        columns = {
            str(name): _cells(source, name, partial(table.__getitem__, name)) for name in table
        }
    elif isinstance(table, DataFrame):
        keys = list(table.columns)
        names = [_name(key) for key in keys]
        _check_names(source, names)
        columns = {
            name: _cells(source, name, partial(table.__getitem__, key))
            for name, key in zip(names, keys, strict=True)
        }
    else:
        columns = _columns(table, source)
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise _unusable(source, f"columns of length {lengths}", "give columns of equal length")
    n = next(iter(lengths.values()))
    return Table(source, columns, range(1, n + 1))


def _cells(source: str, name: object, read: Callable[[], Any]) -> list[Any]:
    """Return the cells of a column.

    Args:
        source: Name of the table in messages.
        name: Name of the column.
        read: Gives the column. An archive of arrays reads it only then.

    Raises:
        PastTaskError: It is no column of cells: a single value, a text, a table, or unreadable.
    """
    fix = "give each column as a list or a one-dimensional array of numbers or text"
    try:
        column = read()
        dtype, n_axes = getattr(column, "dtype", None), getattr(column, "ndim", 1)
        is_record = isinstance(dtype, np.dtype) and dtype.kind == "V"
        if not is_record and n_axes == 1 and not isinstance(column, str | bytes | Mapping):
            return _plain_cells(column)
    except (TypeError, ValueError, OSError, zipfile.BadZipFile, zlib.error) as error:
        said = f"column {str(name)!r:.100}, which cannot be read ({error!s:.200})"
        raise _unusable(source, said, fix) from error
    what = f"an array of {n_axes} axes and type {dtype}" if dtype is not None else ""
    got = what or f"{column!r:.60} of type {type(column).__name__}"
    raise _unusable(source, f"{got} as column {str(name)!r:.100}", fix)


def _plain_cells(column: Any) -> list[Any]:
    """Return the cells of a column with plain numbers.

    A number of 16 or 32 bits becomes the number of fewest digits that it is the nearest to. So
    0.1 that was stored in 32 bits is 0.1 again, and not a little beyond a range that ends there.
    """
    if str(getattr(column, "dtype", "")).lower() in ("float16", "float32"):
        return [plain_number(cell) for cell in np.asarray(column)]
    return list(column)


def _columns(rows: Any, source: str) -> dict[str, Sequence[Any]]:
    """Return the columns of a list of dicts. A name that a dict lacks is an empty cell."""
    is_rows = isinstance(rows, Sequence) and not isinstance(rows, str | bytes)
    if not is_rows or not all(isinstance(row, Mapping) for row in rows):
        raise _unusable(
            source,
            f"a {type(rows).__name__}",
            "pass a data frame, a dict of columns or a list of dicts; read_table and "
            "PastTask.from_csv take the path of a CSV file",
        )
    names = dict.fromkeys(name for row in rows for name in row)
    return {str(name): [row.get(name, "") for row in rows] for name in names}


def _name(key: Any) -> str:
    """Return a column's name. Several levels of pandas become one, as Optuna writes them."""
    levels = key if isinstance(key, tuple) else (key,)
    return "_".join(str(level) for level in levels if level != "")


def _check_names(source: str, names: Sequence[str]) -> None:
    """Refuse two columns of one name."""
    # NOTE: index columns have no name, and nobody can mean one of them.
    twice = sorted(name for name, n in Counter(names).items() if name and n > 1)
    if twice:
        raise _unusable(source, f"column {twice[0]!r} twice", "give each column a name of its own")


def _delimiter(data: bytes) -> str:
    """Return the separator that splits the header into most cells."""
    # Only the header is asked, since cells may hold any of these signs.
    header = data.lstrip(b"\r\n").split(b"\n", 1)[0].decode("utf-8-sig")
    counts = {d: len(next(csv.reader([header], delimiter=d), [])) for d in _DELIMITERS}
    return max(_DELIMITERS, key=lambda d: counts[d])


def _data(path: TablePath) -> bytes:
    """Return the contents of a file, whose size and number of cells are bounded."""
    name = repr(os.fspath(path))
    fix = "give the path of a CSV file, or split a large table by task"
    kind = kind_of_file(Path(path))
    if kind is not None and kind.group == "table" and kind.name not in _TEXTS:
        fix = "read it by pandas, and pass the data frame to read_table or PastTask.from_table"
        raise _unusable(name, kind.name, fix)
    if kind is not None and kind.group in ("array", "arrays", "archive"):
        raise _unusable(name, kind.name, fix)
    data = read_bounded(path, MAX_BYTES, lambda got: _unusable(name, got, fix))
    # NOTE: counted in the bytes, which bounds rows and cells before any is made an object.
    if data.count(b"\n") > _MOST_ROWS:
        raise _unusable(name, f"more than {_MOST_ROWS:,} lines", "split the table by task")
    n_cells = sum(data.count(sign) for sign in (b"\n", *(d.encode() for d in _DELIMITERS)))
    if n_cells > _MOST_CELLS:
        raise _unusable(name, f"more than {_MOST_CELLS:,} cells", "split the table by task")
    return data


def _unusable(source: str, got: str, fix: str) -> PastTaskError:
    """Return the error of a table that cannot be used."""
    return PastTaskError(expected=f"a table with a header and rows in {source}", got=got, fix=fix)
