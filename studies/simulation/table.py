"""The tables and the picture of README.md beside this file, from the recorded runs.

Run as ``python -m studies.simulation.table`` from the top folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from studies import raw
from studies.simulation.study import HERE, RAW
from studies.transfer_benchmark.tables import FloatArray, Table, folder, regret

matplotlib.use("agg")
AT = (20, 50, 100, 200, 512, 1024)
_COLORS = {"ours": "#c8541b", "ours_past": "#1f4e79", "tpe": "#555555", "random": "#b0b0b0"}
_NAMES = {
    **{"ours": "surrogate_nas", "ours_past": "surrogate_nas, with past tasks"},
    **{"tpe": "Optuna's TPE", "random": "random"},
}
_DASHES: dict[int, tuple[float, ...]] = {1: (), 8: (6, 2), 64: (2, 2), 512: (1, 1)}
_HOUR = 3600.0


class Group(NamedTuple):
    """Runs that differ in target and seed alone."""

    table: str
    method: str
    workers: int
    belief: str


class Run(NamedTuple):
    """A run's regret after each training, when each ended in hours, and what suggestions cost."""

    curve: FloatArray
    hours: FloatArray
    ask_seconds: float
    n_distinct: int


def groups(rows: Sequence[raw.Row], bench: Path) -> dict[Group, list[Run]]:
    """Group recorded runs."""

    @cache
    def table(name: str) -> Table:
        return Table(name, bench / "tables")

    found: dict[Group, list[Run]] = {}
    for line in rows:
        values: FloatArray = table(line["table"]).values[line["target"]]
        run = Run(
            regret(values, line["rows"]),
            np.array(line["ended"]) / _HOUR,
            line["ask_cpu_s"]["median"],
            len(set(line["rows"])),
        )
        group = Group(line["table"], line["method"], line["workers"], line["belief"])
        found.setdefault(group, []).append(run)
    return found


def mean(runs: Sequence[Run]) -> FloatArray:
    """Mean regret after each training."""
    return np.asarray(np.mean([run.curve for run in runs], axis=0))


def line(group: Group, runs: Sequence[Run], name: str) -> str:
    """One row of a table: mean regret, and its standard error at the last training."""
    curve = mean(runs)
    cells = [f"{curve[n - 1]:.3f}" if n <= len(curve) else "" for n in AT]
    last = np.array([run.curve[-1] for run in runs])
    error = f"{last.std(ddof=1) / np.sqrt(len(last)):.3f}" if len(last) > 1 else "–"
    hours = np.mean([run.hours[-1] for run in runs])
    ask = np.median([run.ask_seconds for run in runs])
    return (
        f"| {name} | {group.workers} | {len(runs)} | {' | '.join(cells)} | {error} | "
        f"{hours:,.0f} | {ask:.3f} |"
    )


def _head(first: str) -> str:
    names = (first, "workers", "runs", *(f"n={n}" for n in AT), "±", "hours", "ask, s")
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def print_tables(found: dict[Group, list[Run]]) -> None:
    """Print all methods, a table of the benchmark after the other."""
    for table in dict.fromkeys(group.table for group in found):
        print(f"\n**{table}**\n\n{_head('method')}")
        for group, runs in sorted(found.items(), key=lambda item: (item[0].workers, item[0])):
            if group.table == table:
                print(line(group, runs, _NAMES[group.method]))


def print_beliefs(found: dict[Group, list[Run]]) -> None:
    """Print what running trainings were taken for."""
    print(f"\n{_head('running trainings count')}")
    for group, runs in sorted(found.items(), key=lambda item: (item[0].method, item[0].belief)):
        if group.method.startswith("ours"):
            past = " (past tasks)" if group.method == "ours_past" else ""
            belief = group.belief if group.workers > 1 else "one worker"
            print(line(group, runs, belief + past))


def draw(found: dict[Group, list[Run]], path: Path) -> None:
    """Draw mean regret against trainings, and against the clock."""
    tables = list(dict.fromkeys(group.table for group in found))
    figure = Figure(figsize=(11, 4.2 * len(tables)), layout="constrained")
    for row, table in enumerate(tables):
        sides: list[Any] = [figure.add_subplot(len(tables), 2, 2 * row + k + 1) for k in (0, 1)]
        for group, runs in sorted(found.items(), key=lambda item: item[0].workers):
            if group.table != table or group.method == "random":
                continue
            style = {"color": _COLORS[group.method], "dashes": _DASHES[group.workers]}
            plural = "s" if group.workers > 1 else ""
            name = f"{_NAMES[group.method]}, {group.workers} worker{plural}"
            curve = np.maximum(mean(runs), 1e-3)
            sides[0].plot(np.arange(1, len(curve) + 1), curve, label=name, **style)
            sides[1].plot(np.mean([run.hours for run in runs], axis=0), curve, **style)
        for axis, words in zip(sides, ("trainings", "hours, simulated"), strict=True):
            axis.set_xscale("log")
            axis.set_yscale("log")
            axis.set_xlabel(words)
            axis.set_title(table)
            axis.set_ylabel("normalized regret, mean")
            axis.spines[["top", "right"]].set_visible(False)
        sides[0].legend(frameon=False, fontsize=7)
    figure.savefig(path, dpi=100)


def main(argv: Sequence[str] | None = None) -> None:
    """Print the tables and draw the picture of what is recorded."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--bench", metavar="FOLDER", help="holds tables/")
    parser.add_argument("--raw", type=Path, default=RAW, metavar="FILE")
    parser.add_argument("--pictures", type=Path, default=HERE, metavar="FOLDER")
    arguments = parser.parse_args(argv)
    bench = folder(arguments.bench)
    found = groups(raw.read(arguments.raw, "workers"), bench)
    print_tables(found)
    print_beliefs(groups(raw.read(arguments.raw, "beliefs"), bench))
    draw(found, arguments.pictures / "regret.png")


if __name__ == "__main__":
    main()
