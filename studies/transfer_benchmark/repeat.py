"""Do recorded searches repeat row by row? Twenty of them are run again and compared.

Run as ``python -m studies.transfer_benchmark.repeat`` from the top folder (three minutes of one
idle core). The cases are fixed, and spread over tables, targets, seeds and methods. A change of
the code that is not meant to change suggestions leaves all of them equal.

Sums that are rounded otherwise, on another processor, can change a row. Two checkouts are compared
on one machine by ``--write FILE`` in the one and ``--recorded FILE`` in the other.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from studies import raw
from studies.transfer_benchmark.study import run
from studies.transfer_benchmark.tables import LAYOUTS, folder

RAW = Path(__file__).parent / "raw.jsonl.gz"
RUNS = "runs"


class Case(NamedTuple):
    """A recorded search.

    Args:
        method: Name of the method.
        table: Name of the table.
        target: Index of the target among the table's tasks.
        seed: Seed of the search and of its past tasks.
        past: Kind of the past tasks.
        pairs: Pairs of each past task.
    """

    method: str
    table: str
    target: int
    seed: int
    past: str = "true"
    pairs: int = 100


CASES = (
    Case("ours", "transnas_micro", 0, 0),
    Case("ours", "transnas_micro", 3, 5),
    Case("ours", "transnas_micro", 6, 2, "unrelated"),
    Case("no_past", "transnas_micro", 1, 7),
    Case("no_control", "transnas_micro", 4, 9),
    Case("ours", "nas_bench_graph", 0, 1),
    Case("ours", "nas_bench_graph", 7, 6),
    Case("ours", "nas_bench_graph", 4, 3, "shuffled"),
    Case("no_past", "nas_bench_graph", 2, 8),
    Case("no_base", "nas_bench_graph", 5, 4),
    Case("ours", "hpobench_mlp", 0, 2),
    Case("ours", "hpobench_mlp", 5, 9, pairs=1000),
    Case("ours", "hpobench_mlp", 3, 4, "negated"),
    Case("no_past", "hpobench_mlp", 7, 0),
    Case("acquisition_ucb", "hpobench_mlp", 1, 6),
    Case("ours", "nb201", 0, 3),
    Case("ours", "nb201", 1, 8, "good_among_bad"),
    Case("no_past", "nb201", 2, 1),
    Case("cell", "nb201", 2, 5),
    Case("cell_no_past", "nb201", 0, 7),
)


def label(case: Case) -> dict[str, Any]:
    """Return what tells the line of a case from others."""
    target = LAYOUTS[case.table].tasks[case.target]
    return {**case._asdict(), "target": target}


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[int, float]:
    """Compare two lines of a case.

    Returns:
        The number of trainings until the first row that differs, and the largest relative
        difference of predictions among these.
    """
    pairs = list(zip(before["rows"], now["rows"], strict=True))
    same = next((n for n, (a, b) in enumerate(pairs) if a != b), len(pairs))
    apart = [
        abs(a - b) / max(abs(a), abs(b), 1e-12) if a is not None and b is not None else 1.0
        for a, b in zip(before["predicted"][:same], now["predicted"][:same], strict=True)
        if a != b
    ]
    return same, max(apart, default=0.0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases, print a line for each, and return 1 if any differs."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--bench", metavar="FOLDER", help="holds tables/ and peers/")
    parser.add_argument("--recorded", type=Path, default=RAW, metavar="FILE")
    parser.add_argument("--write", type=Path, metavar="FILE", help="keep these runs, *.jsonl.gz")
    arguments = parser.parse_args(argv)
    bench = folder(arguments.bench)
    recorded = raw.read(arguments.recorded, RUNS)
    n_equal = 0
    heads = ("method", "table", "target", "seed", "past tasks", "pairs", "equal rows", "apart")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for case in CASES:
        names = label(case)
        before = next(row for row in recorded if names.items() <= row.items())
        kind = (case.table, names["target"], case.seed, case.pairs, case.past, bench)
        now = run((case.method, kind))
        if arguments.write:
            raw.append(arguments.write, [now], RUNS)
        same, apart = compare(before, now)
        n_equal += same == len(before["rows"])
        cells = [*map(str, names.values()), f"{same} of {len(before['rows'])}", f"{apart:.1e}"]
        print(f"| {' | '.join(cells)} |", flush=True)
    if arguments.write:
        raw.pack(arguments.write)
    print(f"\n{n_equal} of {len(CASES)} searches repeat row by row.")
    return int(n_equal < len(CASES))


if __name__ == "__main__":
    sys.exit(main())
