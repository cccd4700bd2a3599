"""A table of image files and their labels -> the images of a data set."""

from __future__ import annotations

import csv
import io
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from surrogate_nas.domains.given import enumerated
from surrogate_nas.domains.images.image_files import endings
from surrogate_nas.domains.images.listing import ImageRow, part_named
from surrogate_nas.domains.kinds import KindName
from surrogate_nas.errors import TaskError
from surrogate_nas.files.bounded import read_bounded

Table = Mapping[str, Sequence[str]]
"""Columns of texts by name, all of one length."""

USUAL_FILES = ("labels.csv", "metadata.csv")
"""Names of tables that are read without being named."""
_MOST_BYTES = 2**28
_FILE_COLUMNS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path"),
    *("img", "image_name", "image_id", "name", "id"),
)
_TARGET_COLUMNS = ("label", "labels", "target", "class", "category", "tags", "y")
_SPLIT_COLUMN = "split"
_SEPARATORS = "|;,"


@final
@dataclass(frozen=True)
class Columns:
    """Which columns of a table mean what.

    Args:
        target: Column of the labels, or several; None finds it.
        groups: Column of groups that stay together.
        times: Column of times that order the rows.
        kind: What the labels are; None leaves that to them.
    """

    target: str | Sequence[str] | None = None
    groups: str | None = None
    times: str | None = None
    kind: KindName | None = None


@final
@dataclass(frozen=True)
class LabeledFiles:
    """Images of a table.

    Args:
        rows: The images.
        missing: Names of files that are not there.
        outputs: Names of several columns of labels; None if there is one.
        has_splits: Whether the table names the splits.
    """

    rows: list[ImageRow]
    missing: list[str]
    outputs: list[str] | None
    has_splits: bool


def usual_table(root: Path) -> Path | None:
    """Return the table beside the images of a folder, if there is one that lists them."""
    for name in USUAL_FILES:
        path = root / name
        if path.is_file():
            try:
                table = read_table(path)
            except TaskError:
                continue  # another kind of file, which nobody has named
            known = [column for column in table if column.strip().lower() in _FILE_COLUMNS]
            if any(_Finder(root).find(value) for column in known for value in table[column][:1]):
                return path
    return None


def read_table(path: Path) -> Table:
    """Read a table of texts with a line of names: comma, semicolon or tab separated.

    Raises:
        TaskError: The file is missing, too large, or no such table.
    """

    def refused(got: str) -> TaskError:
        return TaskError(
            expected=f"a CSV file of images and labels at {path}",
            got=got,
            fix="write a line of names, then a line for each image, such as path,label",
        )

    try:
        text = read_bounded(path, _MOST_BYTES, refused).decode("utf-8-sig")
        head = text.partition("\n")[0]
        delimiter = max(",;\t", key=head.count)
        lines = [line for line in csv.reader(io.StringIO(text), delimiter=delimiter) if line]
    except UnicodeDecodeError as error:
        raise refused(f"bytes that are no UTF-8: {error}") from error
    except csv.Error as error:
        raise refused(f"{error}") from error
    if len(lines) < 2:
        raise refused(f"{len(lines)} lines")
    names = [name.strip() for name in lines[0]]
    if len(set(names)) < len(names):
        raise refused(f"columns of one name: {', '.join(names)[:200]}")
    odd = next((n for n, line in enumerate(lines) if len(line) != len(names)), None)
    if odd is not None:
        raise refused(f"{len(lines[odd])} values in line {odd + 1} for {len(names)} names")
    columns = zip(*lines[1:], strict=True)
    return dict(zip(names, columns, strict=True))


def labeled_files(root: Path, table: Table, columns: Columns, beside: Path) -> LabeledFiles:
    """Return the images that a table lists.

    Args:
        root: Folder that all images lie in.
        table: The table.
        columns: Which columns mean what.
        beside: Folder of the table's file, whose paths may be relative to it.

    Raises:
        TaskError: A column is missing, no column names files, or a file is listed twice.
    """
    find = _Finder(root, beside).find
    of_files = _file_column(table, find)
    splits = _splits(table)
    taken = {of_files, columns.groups, columns.times, splits and _SPLIT_COLUMN}
    targets = _target_columns(table, columns, [name for name in table if name not in taken])
    labels = _labels(table, targets, columns.kind)
    groups, times = (
        [None] * len(labels) if name is None else _column(table, name)
        for name in (columns.groups, columns.times)
    )
    found = [find(name) for name in table[of_files]]
    parts = splits or _parts_of_paths(found) or ["train"] * len(found)
    rows = [
        ImageRow(parts[n], name, labels[n], groups[n], times[n])
        for n, name in enumerate(found)
        if name is not None
    ]
    twice = [name for name, count in Counter(row.name for row in rows).items() if count > 1]
    if twice:
        raise TaskError(
            expected="each image once in the table of labels",
            got=f"{len(twice)} files several times: {enumerated(twice)}",
            fix="put all labels of an image into one line",
        )
    missing = [table[of_files][n] for n, name in enumerate(found) if name is None]
    has_splits = len(set(parts)) > 1
    return LabeledFiles(rows, missing, targets if len(targets) > 1 else None, has_splits)


@final
class _Finder:
    """Finds files below a folder by what a table calls them.

    Args:
        root: The folder.
        beside: Folder that paths may be relative to, too.
    """

    def __init__(self, root: Path, beside: Path | None = None) -> None:
        self._root = os.path.realpath(root)
        self._starts = dict.fromkeys((self._root, os.path.realpath(beside or root)))
        self._inside: dict[str, bool] = {}
        self._by_name: dict[str, str | None] | None = None

    def find(self, value: str) -> str | None:
        """Return a file's path below the folder; None if it is not there."""
        value = value.strip()
        for start in self._starts:
            path = os.path.join(start, value)
            if value and self._is_inside(path) and os.path.isfile(path):
                return os.path.relpath(path, self._root)
        return self._named(value)

    def _is_inside(self, path: str) -> bool:
        """Whether a path leads to a place below the folder, links followed."""
        # NOTE: a data set from a stranger may name any file of this machine.
        folder = os.path.dirname(path)
        if os.path.islink(path):
            return self._holds(os.path.realpath(path))
        if folder not in self._inside:
            self._inside[folder] = self._holds(os.path.realpath(folder))
        return self._inside[folder]

    def _holds(self, real: str) -> bool:
        return Path(real).is_relative_to(self._root)

    def _named(self, value: str) -> str | None:
        """Return the only file whose name is the value, with an ending or without."""
        if self._by_name is None:
            self._by_name = {}
            for folder, _, names in os.walk(self._root):
                for name in names:
                    stem, ending = os.path.splitext(name)
                    if ending.lower() in endings() and not os.path.islink(f"{folder}/{name}"):
                        path = os.path.relpath(os.path.join(folder, name), self._root)
                        for key in {name, stem}:
                            # None stands for several files of one name.
                            self._by_name[key] = None if key in self._by_name else path
        return self._by_name.get(value)


def _file_column(table: Table, find: Callable[[str], str | None]) -> str:
    """Return the column that names files: a usual one, else the first that does."""
    usual = sorted(
        (name for name in table if name.lower() in _FILE_COLUMNS),
        key=lambda name: _FILE_COLUMNS.index(name.lower()),
    )
    for name in dict.fromkeys([*usual, *table]):
        if any(find(value) for value in table[name][:20]):
            return name
    raise TaskError(
        expected="a column of paths of images below the folder, such as 'path'",
        got=f"none among {enumerated(list(table))}",
        fix="give paths relative to the folder, or to the table's own folder",
    )


def _column(table: Table, name: str) -> Sequence[str]:
    """Return a column by its name.

    Raises:
        TaskError: There is none.
    """
    if name not in table:
        raise TaskError(
            expected=f"a column among {enumerated(list(table), 20)}",
            got=repr(name),
            fix="choose one of these names",
        )
    return table[name]


def _target_columns(table: Table, columns: Columns, others: Sequence[str]) -> list[str]:
    """Return the columns of the labels: the given ones, the usual one, or all others."""
    given = [columns.target] if isinstance(columns.target, str) else list(columns.target or ())
    if len(given) == 1 and given[0] not in table and "," in given[0]:
        given = [name.strip() for name in given[0].split(",")]  # as the command line has several
    for name in given:
        _column(table, name)
    if given:
        return given
    usual = [name for name in others if name.lower() in _TARGET_COLUMNS]
    if len(usual) == 1:
        return usual
    if others and (len(others) == 1 or columns.kind in ("regression", "multilabel")):
        return list(others)
    raise TaskError(
        expected="one column of labels, such as 'label'",
        got=f"{enumerated(list(others), 20) or 'no other column'}",
        fix="name it, as in target='label'",
    )


def _labels(table: Table, targets: Sequence[str], kind: KindName | None) -> list[Any]:
    """Return the label of each row: a text or number, a list of names, or a list of numbers."""
    if len(targets) > 1:
        return [list(row) for row in zip(*(_floats(table, name) for name in targets), strict=True)]
    (name,) = targets
    values = [value.strip() for value in table[name]]
    if kind == "multilabel":
        return [_several(value) for value in values]
    if kind == "regression":
        return _floats(table, name)
    numbers = [_number(value) for value in values]
    if any(number is None for number in numbers) or kind == "classification":
        return [value or None for value in values]
    # NOTE: classes that are numbers are sorted as numbers: 9 comes before 10.
    whole = all(number == round(number) for number in numbers if number is not None)
    return [int(number) if whole else number for number in numbers if number is not None]


def _several(value: str) -> list[str]:
    """Return the names of labels in one text, separated by a stroke, semicolon, comma or blank."""
    mark = next((mark for mark in _SEPARATORS if mark in value), None)
    return [name.strip() for name in value.split(mark) if name.strip()]


def _floats(table: Table, name: str) -> list[float]:
    """Return a column of numbers.

    Raises:
        TaskError: A value is none.
    """
    numbers = [_number(value.strip()) for value in table[name]]
    bad = next((row for row, number in enumerate(numbers) if number is None), None)
    if bad is not None:
        raise TaskError(
            expected=f"numbers in column {name!r}",
            got=f"{table[name][bad]!r} in row {bad + 1}",
            fix="fill it in, drop the row, or name another column, as in target='label'",
        )
    return [number for number in numbers if number is not None]


def _number(value: str) -> float | None:
    try:
        found = float(value)
    except ValueError:
        return None
    return found if np.isfinite(found) else None


def _splits(table: Table) -> list[str] | None:
    """Return the split of each row, if a column says so.

    Raises:
        TaskError: The column has other values than the usual names, or none for training.
    """
    if _SPLIT_COLUMN not in table:
        return None
    parts = [part_named(value) for value in table[_SPLIT_COLUMN]]
    unknown = sorted({v for v, p in zip(table[_SPLIT_COLUMN], parts, strict=True) if p is None})
    if unknown or "train" not in parts:
        raise TaskError(
            expected="train, val or test in each row of the column 'split', and rows for train",
            got=enumerated([repr(value) for value in unknown]) or "no row for train",
            fix="correct the column, or rename it if it means something else",
        )
    return [part for part in parts if part is not None]


def _parts_of_paths(names: Sequence[str | None]) -> list[str] | None:
    """Return the split of each file, where the first folders of all paths name one."""
    parts = [part_named(name.split(os.sep)[0]) if name else "train" for name in names]
    known = [part for part in parts if part is not None]
    is_split = len(known) == len(parts) and "train" in known and len(set(known)) > 1
    return known if is_split else None
