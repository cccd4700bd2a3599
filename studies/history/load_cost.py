"""What ``surrogate="pretrained"`` adds to ``create_study``.

Run as ``python -m studies.history.load_cost`` from the top folder; writes ``load_cost.jsonl``.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import json
import statistics
import time
from pathlib import Path

import optuna

import surrogate_nas as sn

REPEATS = 9
RAW = Path(__file__).parent / "load_cost.jsonl"
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
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    task = sn.tasks.digits()
    seconds(task, sn.spaces.CellSpace(), None)  # computes the task's meta-features
    print("| space | added, s (median) | lowest to highest |\n|---|---|---|")
    with RAW.open("w") as file:
        for name, space in SPACES.items():
            added = [
                seconds(task, space, "pretrained") - seconds(task, space, None)
                for _ in range(REPEATS)
            ]
            rounded = [round(one, 4) for one in added]
            file.write(json.dumps({"space": name, "added_seconds": rounded}) + "\n")
            middle = statistics.median(added)
            print(f"| `{name}` | {middle:.3f} | {min(added):.3f} to {max(added):.3f} |")


if __name__ == "__main__":
    main()
