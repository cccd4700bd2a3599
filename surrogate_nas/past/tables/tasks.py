"""Tables of past results -> checked parameters and values, task by task."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from surrogate_nas.errors import PastTaskError
from surrogate_nas.past.tables.cells import as_number, is_empty
from surrogate_nas.past.tables.checks import (
    Check,
    Direction,
    Duplicates,
    check_options,
    check_units,
    merge_rows,
    resolve_direction,
)
from surrogate_nas.past.tables.reading import Table
from surrogate_nas.past.tables.rows import Changes, listed, missing, number_fix, row_reader
from surrogate_nas.space import SpaceLike

# NOTE: an export of Optuna is recognized by these names: the columns that trials_dataframe and
# optuna-dashboard write beside parameters and metrics.
_PREFIXES = ("params_", "Param ")
_OPTUNA = re.compile(
    r"number|state|value(_.*)?|values_.*|objective .*|duration|datetime_.*|params_.*|param .*|"
    r"user_attrs_.*|system_attrs_.*|userattribute .*|(unnamed: [0-9]+)?",
    re.IGNORECASE,
)
_NAMELESS = re.compile(r"(Unnamed: [0-9]+)?")


@final
@dataclass(frozen=True)
class TableOptions:
    """Options of reading a table: see :meth:`surrogate_nas.PastTask.from_csv`."""

    value: str
    task: str | None = None
    direction: Direction | None = None
    space: SpaceLike | None = None
    fill: Mapping[str, Any] | None = None
    duplicates: Duplicates = "refuse"
    allow: tuple[Check, ...] = ()


@final
@dataclass(frozen=True)
class TableTask:
    """The checked part of a table that belongs to one task: the arguments of a past task."""

    name: str
    params: list[dict[str, Any]]
    values: list[float]
    direction: Direction
    notes: tuple[str, ...]


def read_tasks(table: Table, name: str, options: TableOptions) -> list[TableTask]:
    """Read a table's tasks, in the order in which they first occur.

    Args:
        table: The table.
        name: Name of the task, where no column says it.
        options: Options; see :meth:`surrogate_nas.PastTask.from_csv`.

    Raises:
        PastTaskError: The table lacks a column, or a cell, unit, direction or repeated row is
            wrong. The message says where.
        SpaceError: The space has no parameters.
    """
    check_options(options.duplicates, options.allow)
    layout = _layout(table, options)
    direction = resolve_direction(options.direction, layout.value, table.source, options.allow)
    read = row_reader(table, layout.params, options.space, dict(options.fill or {}))
    parts: dict[str, _Part] = {}
    for row in range(len(table)):
        part = parts.setdefault(_task_name(table, layout, row, name), _Part())
        if layout.state is not None and not _is_complete(table.columns[layout.state][row]):
            part.unfinished += 1
            continue
        value = _value(table, layout.value, row)
        if value is None:
            part.failed += 1
            continue
        part.rows.append(row)
        part.values.append(value)
        part.params.append(read.params(row, part.changes))
    return [
        _finished(table, layout, task, part, direction, options) for task, part in parts.items()
    ]


@final
@dataclass
class _Part:
    """The rows of one task, collected while the table is read."""

    rows: list[int] = field(default_factory=list)
    params: list[dict[str, Any]] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    unfinished: int = 0
    failed: int = 0


@final
@dataclass(frozen=True)
class _Layout:
    """The purpose of each column.

    Args:
        value: Column of the values.
        task: Column of the tasks' names, or None.
        state: Column of the trials' states in an export of Optuna, or None.
        params: Column of each parameter, by its name.
    """

    value: str
    task: str | None
    state: str | None
    params: Mapping[str, str]


def _layout(table: Table, options: TableOptions) -> _Layout:
    """Return the purpose of each column; refuse a table without values or parameters."""
    names = [name for name in table.columns if name not in (options.value, options.task)]
    prefixed = {
        name.removeprefix(prefix): name
        for prefix in _PREFIXES
        for name in names
        if name.startswith(prefix) and name != prefix
    }
    lower = {name.lower(): name for name in names}
    # NOTE: one column may begin like an export's by chance. It is an export if the numbers and
    # states of trials are there, too, or if Optuna would name every other column so.
    is_export = bool(prefixed) and (
        {"number", "state"} <= lower.keys() or all(_OPTUNA.fullmatch(name) for name in names)
    )
    plain = {name: name for name in names if not _NAMELESS.fullmatch(name)}
    value = options.value
    if is_export and value not in table.columns:
        # Exports differ in capitals: optuna-dashboard writes "Value".
        value = _exported_value(names, value)
    for wanted in (value, options.task):
        if wanted is not None and wanted not in table.columns:
            raise missing([wanted], list(table.columns), table.source)
    state = lower.get("state") if is_export else None
    params = {n: c for n, c in (prefixed if is_export else plain).items() if c != value}
    if not params:
        raise PastTaskError(
            expected=f"at least one column of a parameter in {table.source}",
            got=f"columns {listed(list(table.columns))}",
            fix="give the parameters of each architecture a column each",
        )
    return _Layout(value, options.task, state, params)


def _exported_value(names: Sequence[str], value: str) -> str:
    """Return the column of an export that is meant by a name; the name itself if there is none."""
    # NOTE: where a study has a name for its metric, Optuna writes "value_accuracy" for "value".
    wanted = value.lower()
    named = [name for name in names if name.lower().startswith("value_")]
    found = [name for name in names if name.lower() in (wanted, f"value_{wanted}")]
    found += named if wanted == "value" and len(named) == 1 else []
    return found[0] if found else value


def _task_name(table: Table, layout: _Layout, row: int, name: str) -> str:
    """Return the name of a row's task."""
    if layout.task is None:
        return name
    cell = table.columns[layout.task][row]
    if is_empty(cell):
        raise PastTaskError(
            expected="the name of a task",
            got=f"an empty cell in {table.at(row, layout.task)}",
            fix="name the task of each row, or leave the row out",
        )
    return str(cell).strip()


def _is_complete(cell: Any) -> bool:
    """Whether a cell says that a trial is complete: "COMPLETE" or "TrialState.COMPLETE"."""
    return str(cell).rpartition(".")[2].strip().upper() == "COMPLETE"


def _value(table: Table, column: str, row: int) -> float | None:
    """Return a row's value, or None where its training failed."""
    cell = table.columns[column][row]
    if is_empty(cell):
        return None
    number = as_number(cell)
    if number is None:
        raise PastTaskError(
            expected="a number, or nothing for a failed training",
            got=f"{cell!r:.60} in {table.at(row, column)}",
            fix=number_fix(cell),
        )
    return float(number) if math.isfinite(number) else None


def _finished(
    table: Table,
    layout: _Layout,
    name: str,
    part: _Part,
    direction: Direction,
    options: TableOptions,
) -> TableTask:
    """Return a task with its rows checked against each other and merged.

    Args:
        table: The table.
        layout: The purpose of its columns.
        name: Name of the task.
        part: Its rows.
        direction: Which way is better.
        options: Options of reading.

    Raises:
        PastTaskError: No row has a value, units look mixed, or rows disagree.
    """
    if not part.rows:
        raise PastTaskError(
            expected=f"rows with a finite value in column {layout.value!r} of {table.source}",
            got=f"none of task {name!r}",
            fix="leave that task out, or check the column",
        )
    places = [table.at(row) for row in part.rows]
    check_units(part.values, places, layout.value, direction, options.allow)
    keys = [_key(params) for params in part.params]
    first, values, merged = merge_rows(keys, part.values, places, options.duplicates)
    notes = [
        f"Left out {_rows(part.unfinished)} of trials that did not complete."
        if part.unfinished
        else None,
        f"Left out {_rows(part.failed)} without a finite value." if part.failed else None,
        *(f"Filled in {setting} in {_rows(n)}." for setting, n in part.changes.filled.items()),
        f"Dropped values of inactive parameters in {_rows(part.changes.inactive)}."
        if part.changes.inactive
        else None,
        merged,
    ]
    return TableTask(
        name,
        [part.params[k] for k in first],
        values,
        direction,
        tuple(note for note in notes if note is not None),
    )


def _key(params: Mapping[str, Any]) -> Hashable:
    """Return the key of an architecture in a table."""
    # NOTE: the type counts, too, or True and 1 would be one choice.
    return frozenset((name, type(value), repr(value)) for name, value in params.items())


def _rows(n: int) -> str:
    """Return a number of rows in words."""
    return f"{n} row{'' if n == 1 else 's'}"
