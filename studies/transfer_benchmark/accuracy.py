"""How well a surrogate ranks a table, and whether its intervals hold what they promise.

Run as ``python -m studies.transfer_benchmark.accuracy`` from the top folder. One raw row for each
table, target, seed, use of past tasks and number of labels, which are rows drawn at random;
of tables of cells also with the features of the cell's graph.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import multiprocessing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri
from scipy.stats import kendalltau

import surrogate_nas as sn
from studies import raw
from studies.transfer_benchmark.study import RAW
from studies.transfer_benchmark.tables import CELLS, LAYOUTS, Table, TableSpace, folder, table_of

PART = "accuracy"
LABELS = (10, 16, 20, 50, 78)
LEVELS = (0.5, 0.8, 0.95)
N_JUDGED = 2000
IndexArray = npt.NDArray[np.intp]
Job = tuple[str, str, int, bool, bool, Path]
"""Table, target, seed, with past tasks, with graph features, folder."""


def labelled(table: Table, target: str, seed: int) -> IndexArray:
    """Return the n rows with a value in random order, (n,): the first are given as labels."""
    rng = np.random.default_rng([seed, 10, table.layout.tasks.index(target)])
    return rng.permutation(np.flatnonzero(np.isfinite(table.values[target])))


def judge(job: Job) -> list[dict[str, Any]]:
    """Condition on rows drawn at random and judge what is predicted for other rows.

    Kendall's tau is over the whole table, as published predictors report it; coverage over at most
    N_JUDGED rows that were not given.
    """
    name, target, seed, is_warm, is_cell, bench = job
    table = table_of(name, bench)
    values, space = table.values[target], TableSpace(table, is_cell=is_cell)
    past = table.past(target, seed) if is_warm else []
    surrogate = sn.MetaSurrogate.fit(space, past, seed=seed)
    order = labelled(table, target, seed)
    params = [table.params(row) for row in order]
    lines = []
    for n in LABELS:
        target_model = surrogate.condition((params[:n], values[order[:n]].tolist()))
        mean, std = target_model.measured(params)
        measured = target_model.working_units(values[order])
        rest = slice(n, n + N_JUDGED)
        apart = np.abs(measured - mean)[rest] / std[rest]
        held = {p: float(np.mean(apart <= ndtri(0.5 + p / 2))) for p in LEVELS}
        coverage = {str(p): round(share, 4) for p, share in held.items()}
        tau = float(kendalltau(mean, values[order]).statistic)
        lines.append(
            {
                **{"table": name, "target": target, "seed": seed, "past": is_warm, "labels": n},
                **{"cell": is_cell, "kendall": round(tau, 4), "coverage": coverage},
            }
        )
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Judge what is not recorded yet and print means."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--bench", metavar="FOLDER", help="holds tables/ and peers/")
    parser.add_argument("--out", type=Path, default=RAW, metavar="FILE")
    parser.add_argument("--tables", nargs="+", choices=sorted(LAYOUTS), default=list(LAYOUTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args(argv)
    bench = folder(arguments.bench)
    done = {
        (r["table"], r["target"], r["seed"], r["past"], r.get("cell", False))
        for r in raw.read(arguments.out, PART)
    }
    jobs: list[Job] = [
        (name, target, seed, is_warm, is_cell, bench)
        for is_cell in (False, True)
        for name in (CELLS if is_cell else LAYOUTS)
        if name in arguments.tables
        for seed in arguments.seeds
        for target in LAYOUTS[name].tasks
        for is_warm in (True, False)
        if (name, target, seed, is_warm, is_cell) not in done
    ]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        for lines in pool.imap_unordered(judge, jobs):
            raw.append(arguments.out, lines, PART)
    raw.pack(arguments.out)
    print_table(raw.read(arguments.out, PART))


def print_table(lines: Sequence[dict[str, Any]]) -> None:
    """Print means over targets and seeds."""
    groups: dict[tuple[str, bool, bool, int], list[dict[str, Any]]] = {}
    for line in lines:
        key = line["table"], line.get("cell", False), line["past"], line["labels"]
        groups.setdefault(key, []).append(line)
    print("| table | past tasks | labels | Kendall's tau | in 50 % | in 80 % | in 95 % |")
    print("|---|---|---|---|---|---|---|")
    for (name, is_cell, is_warm, n), own in sorted(groups.items()):
        tau = np.mean([line["kendall"] for line in own])
        held = [np.mean([line["coverage"][str(p)] for line in own]) for p in LEVELS]
        cells = " | ".join(f"{100 * share:.0f} %" for share in held)
        where = f"{name}, as cells" if is_cell else name
        print(f"| {where} | {'yes' if is_warm else 'no'} | {n} | {tau:.3f} | {cells} |")


if __name__ == "__main__":
    main()
