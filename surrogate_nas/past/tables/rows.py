"""Rows of a table -> parameters: as a search space asks for them, or by their columns alone."""

from __future__ import annotations

import abc
import difflib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from optuna.distributions import BaseDistribution

from surrogate_nas.errors import PastTaskError
from surrogate_nas.past.tables.cells import (
    NO_VALUE,
    cell_value,
    checked_fill,
    has_decimal_comma,
    inferred,
    is_empty,
    is_hashable,
    same_text,
)
from surrogate_nas.past.tables.reading import Table
from surrogate_nas.space import SearchSpace, SpaceLike, as_space, distributions
from surrogate_nas.space.draw import Draw

_NAMED = 8


@final
@dataclass
class Changes:
    """Counts of the changes in the rows of one task.

    Args:
        filled: Number of rows where each value was filled in, by its description.
        inactive: Number of rows with values of inactive parameters, which were dropped.
    """

    filled: Counter[str] = field(default_factory=Counter)
    inactive: int = 0


class RowReader(abc.ABC):
    """Reads the parameters of a table's rows."""

    @abc.abstractmethod
    def params(self, row: int, changes: Changes) -> dict[str, Any]:
        """Return a row's parameters, and count the changes that they needed.

        Args:
            row: Index of the row.
            changes: Counts of the task's changes, which grow.

        Raises:
            PastTaskError: A cell has no value of its parameter.
        """


def row_reader(
    table: Table, columns: Mapping[str, str], space: SpaceLike | None, fill: dict[str, Any]
) -> RowReader:
    """Return the reader of a table: by the parameters of a space, or by the columns alone.

    Args:
        table: The table.
        columns: Column of each parameter.
        space: The search space, if it is known.
        fill: Values of parameters without a column or with an empty cell.

    Raises:
        PastTaskError: A value to fill in is not in the space, numbers have decimal commas, or two
            choices of a parameter cannot be told apart as text.
        SpaceError: The space has no parameters.
    """
    if space is not None:
        return _SpaceRows(table, columns, as_space(space), fill)
    return _TypedRows(table, columns, fill)


@final
class _TypedRows(RowReader):
    """Reads parameters by their columns alone. Each column has one type."""

    def __init__(self, table: Table, columns: Mapping[str, str], fill: dict[str, Any]) -> None:
        self._fill = fill
        self._cells: dict[str, list[Any]] = {}
        for name, column in columns.items():
            cells = table.columns[column]
            filled = [row for row, cell in enumerate(cells) if not is_empty(cell)]
            # NOTE: a column of "3,5" may be a list of kernels. One that has "0,5", too, is a
            # column of numbers with decimal commas.
            commas = all(has_decimal_comma(cells[row]) for row in filled)
            if commas and any(str(cells[row]).strip(" +-").startswith("0") for row in filled):
                raise PastTaskError(
                    expected="numbers with a decimal point",
                    got=f"{cells[filled[0]]!r} in {table.at(filled[0], column)}",
                    fix=number_fix(cells[filled[0]]),
                )
            self._cells[name] = inferred(cells)

    def params(self, row: int, changes: Changes) -> dict[str, Any]:
        """Return a row's parameters. Empty cells are inactive ones, or filled in where asked."""
        found = {n: cells[row] for n, cells in self._cells.items() if cells[row] is not NO_VALUE}
        for name, value in self._fill.items():
            if name not in found:
                found[name] = value
                changes.filled[f"{name} = {value!r}"] += 1
        return found


@final
class _SpaceRows(RowReader):
    """Reads parameters as a search space asks for them, each in its range and type."""

    def __init__(
        self, table: Table, columns: Mapping[str, str], space: SearchSpace, fill: dict[str, Any]
    ) -> None:
        self._table = table
        self._space = space
        self._found = distributions(space)
        self._fill = checked_fill(self._found, fill)
        self._columns = {n: c for n, c in columns.items() if n in self._found}
        self._read: dict[tuple[str, type, Any], Any] = {}
        self._check()

    def _check(self) -> None:
        """Refuse choices that a table of text cannot tell apart."""
        for name, distribution in self._found.items():
            alike = same_text(distribution)
            if self._table.is_text and alike is not None:
                raise PastTaskError(
                    expected=f"choices of {name!r} that differ as text",
                    got=f"{distribution}, of which two read {alike!r}",
                    fix="read the table yourself and pass it to PastTask.from_table",
                )

    def params(self, row: int, changes: Changes) -> dict[str, Any]:
        """Return a row's parameters, as far as the space asks for them."""

        def choose(name: str, distribution: BaseDistribution) -> Any:
            """Return the value in a parameter's cell, or the one to fill in."""
            column = self._columns.get(name)
            cell = "" if column is None else self._table.columns[column][row]
            value = NO_VALUE if column is None else self._own(name, distribution, cell)
            if value is NO_VALUE and is_empty(cell) and name in self._fill:
                value = self._fill[name]
                changes.filled[f"{name} = {value!r}"] += 1
            if value is NO_VALUE:
                raise self._refusal(row, name, column, distribution)
            return value

        # NOTE: the space itself asks for each value. So conditions hold, and cells of parameters
        # that are not active are never read.
        draw = Draw(choose)
        self._space.suggest(draw)
        params = draw.params
        idle = (column for name, column in self._columns.items() if name not in params)
        changes.inactive += any(not is_empty(self._table.columns[c][row]) for c in idle)
        return params

    def _own(self, name: str, distribution: BaseDistribution, cell: Any) -> Any:
        """Return the value that a cell stands for, looked up where it occurred before."""
        if not is_hashable(cell):
            return NO_VALUE
        at = (name, type(cell), cell)
        if at not in self._read:
            self._read[at] = cell_value(distribution, cell)
        return self._read[at]

    def _refusal(
        self, row: int, name: str, column: str | None, distribution: BaseDistribution
    ) -> PastTaskError:
        """Return the error of a cell or a column that is missing or has no value of the space."""
        if column is None:
            known = {*self._columns, *self._fill}
            wanted = [n for n in self._found if n not in known]
            present, taken = list(self._table.columns), set(self._columns.values())
            return missing(wanted, present, self._table.source, taken)
        cell = self._table.columns[column][row]
        got = "an empty cell" if is_empty(cell) else f"{cell!r:.60}"
        fix = "correct the cell; results of another search space can be read without space=, "
        return PastTaskError(
            expected=f"a value of {name!r} in {distribution}",
            got=f"{got} in {self._table.at(row, column)}",
            fix=number_fix(cell)
            if has_decimal_comma(cell)
            else f"{fix}and map_to_space or MetaSurrogate.fit will use what fits",
        )


def missing(
    wanted: Sequence[str], present: Sequence[str], source: str, taken: Collection[str] = ()
) -> PastTaskError:
    """Return the error of missing columns, which names columns that may be meant.

    Args:
        wanted: Names of the missing columns.
        present: Names of the columns that are there.
        source: Name of the table.
        taken: Names of columns whose purpose is known already.
    """
    # NOTE: a column in use is no hint, however alike its name is.
    free = {name.lower(): name for name in present if name not in taken}
    hints = []
    for name in wanted:
        close = difflib.get_close_matches(name.lower(), free, n=1)
        hints += [f"{free[close[0]]!r} to {name!r}"] if close else []
    renames = f"rename {', '.join(hints[:_NAMED])}" if hints else "name the columns so"
    return PastTaskError(
        expected=f"column(s) {listed(wanted)} in {source}",
        got=f"columns {listed(present)}",
        fix=f"{renames}; what is known of a parameter without a column can be passed as fill=",
    )


def number_fix(cell: Any) -> str:
    """Return the remedy for a cell that is no number."""
    if has_decimal_comma(cell):
        return (
            "write numbers with a decimal point; a file with decimal commas can be read with "
            "pandas.read_csv(path, sep=';', decimal=',') and PastTask.from_table"
        )
    return "write a plain number without unit or percent sign, or leave the cell empty"


def listed(names: Sequence[str]) -> str:
    """Return the first few names, quoted."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + more
