"""Past tasks that mislead, made from a table's own: what the package must survive."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import surrogate_nas as sn
from studies.transfer_benchmark.tables import Table

Past = list[sn.PastTask]
_FEW = 30
_HUGE = 2_000
_BAD = 20


def negated(table: Table, target: str, past: Past, rng: np.random.Generator) -> Past:
    """All values with the other sign: the past tasks agree with each other, and on the worst."""
    return [_task(task.name, task.params, [-v for v in task.values]) for task in past]


def shuffled(table: Table, target: str, past: Past, rng: np.random.Generator) -> Past:
    """All values dealt to other architectures of the same task: nothing can be learned."""
    return [_task(task.name, task.params, rng.permutation(task.values).tolist()) for task in past]


def unrelated(table: Table, target: str, past: Past, rng: np.random.Generator) -> Past:
    """Values of renamed architectures: tasks that agree with each other on another function."""
    rename = _renaming(table, rng)
    return [_renamed(table, task, rename) for task in past]


def good_among_bad(table: Table, target: str, past: Past, rng: np.random.Generator) -> Past:
    """One true past task among twenty: half shuffled, half each renamed in its own way."""
    good = past[int(rng.integers(len(past)))]
    bad = []
    for i in range(_BAD):
        task = past[i % len(past)]
        if i % 2:
            task = _renamed(table, task, _renaming(table, rng))
        else:
            task = _task(task.name, task.params, rng.permutation(task.values).tolist())
        bad.append(_task(f"bad {i}", task.params, task.values))
    return [good, *bad]


def huge_among_small(table: Table, target: str, past: Past, rng: np.random.Generator) -> Past:
    """True past tasks of 30 pairs each beside a renamed one of 2,000."""
    small = [_task(t.name, t.params[:_FEW], list(t.values)[:_FEW]) for t in past]
    values = table.values[past[0].name]
    rows = rng.permutation(np.flatnonzero(np.isfinite(values)))[:_HUGE]
    whole = _task("huge", [table.params(row) for row in rows], values[rows].tolist())
    return [*small, _renamed(table, whole, _renaming(table, rng))]


def noisy(table: Table, target: str, past: Past, rng: np.random.Generator) -> Past:
    """Noise of three standard deviations added to all values."""
    made = []
    for task in past:
        values = np.array(task.values)
        values = values + 3.0 * values.std() * rng.standard_normal(len(values))
        made.append(_task(task.name, task.params, values.tolist()))
    return made


HOSTILE: dict[str, Callable[[Table, str, Past, np.random.Generator], Past]] = {
    "negated": negated,
    "shuffled": shuffled,
    "unrelated": unrelated,
    "good_among_bad": good_among_bad,
    "huge_among_small": huge_among_small,
    "noisy": noisy,
}


def _task(name: str, params: Sequence[Mapping[str, Any]], values: Sequence[float]) -> sn.PastTask:
    return sn.PastTask(name, list(params), list(values), "maximize")


def _renaming(table: Table, rng: np.random.Generator) -> list[dict[Any, Any]]:
    """For each column another name for each of its choices."""
    renaming = []
    for column in zip(*table.rows, strict=True):
        levels = sorted(set(column))
        mixed = rng.permutation(len(levels))
        renaming.append({level: levels[int(i)] for level, i in zip(levels, mixed, strict=True)})
    return renaming


def _renamed(table: Table, task: sn.PastTask, renaming: list[dict[Any, Any]]) -> sn.PastTask:
    """A task's values at architectures whose choices are renamed."""
    names = table.layout.columns
    params = [
        {name: other[one[name]] for name, other in zip(names, renaming, strict=True)}
        for one in task.params
    ]
    return _task(task.name, params, list(task.values))
