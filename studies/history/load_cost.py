"""What ``surrogate="pretrained"`` adds to ``create_study``.

Run as ``python -m studies.history.load_cost`` from the top folder; writes the raw values.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import optuna

import surrogate_nas as sn
from studies import raw

REPEATS = 9
RAW = Path(__file__).parent / "raw.jsonl.gz"
SPACES = {
    "CellSpace()": sn.spaces.CellSpace(),
    "ConvNetSpace()": sn.spaces.ConvNetSpace(),
    "CellSpace(search_training=True)": sn.spaces.CellSpace(search_training=True),
    "ConvNetSpace(search_training=True)": sn.spaces.ConvNetSpace(search_training=True),
}


def seconds(task: sn.Task, space: sn.SearchSpace, surrogate: str | None) -> float:
    """Time one call, of a study in memory."""
    began = time.perf_counter()
    sn.create_study(task, space, surrogate=surrogate, seed=0)
    return time.perf_counter() - began


def main() -> None:
    """Measure in turns, write the raw values, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", action="store_true", help="print the table of the raw values")
    if parser.parse_args().table:
        print_table(raw.read(RAW))
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task = sn.tasks.digits()
    seconds(task, sn.spaces.CellSpace(), None)  # computes the task's meta-features
    rows = []
    for name, space in SPACES.items():
        added = [
            seconds(task, space, "pretrained") - seconds(task, space, None) for _ in range(REPEATS)
        ]
        rows.append({"space": name, "added_seconds": [round(one, 4) for one in added]})
    raw.write(RAW, rows)
    print_table(rows)


def print_table(rows: Sequence[raw.Row]) -> None:
    """Print the table of README.md."""
    print("| space | added, s (median) | lowest to highest |\n|---|---|---|")
    for row in rows:
        added = row["added_seconds"]
        middle = statistics.median(added)
        print(f"| `{row['space']}` | {middle:.3f} | {min(added):.3f} to {max(added):.3f} |")


if __name__ == "__main__":
    main()
