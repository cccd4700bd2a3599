"""The tables of README.md beside this file, from the recorded runs.

Run as ``python -m studies.warm_start.table`` from the top folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from studies import raw
from studies.history.study import SPACES
from studies.warm_start.study import N_TRIALS, RAW, RUNS, SEEDS, TASKS, labelled

FloatArray = npt.NDArray[np.float64]

BEFORE = ("warm_1008", "warm_1520")
"""Warm runs with the smaller histories that shipped before, of so many trainings."""
N_STARTUP = 10
"""TPE's own start-up trials, which are random."""
SHOWN = (1, 5, 10, 12, 20, 30)
FIRST = 5
"""Trainings that the typical one is not taken of."""


def values_of(runs: list[dict[str, Any]], method: str) -> FloatArray:
    """What each seed's trainings reached, in order, (seeds, trainings)."""
    rows = sorted((r for r in runs if r["method"] == method), key=lambda r: r["seed"])
    return np.array([row["values"] for row in rows], dtype=float)


def random_values(runs: list[dict[str, Any]]) -> FloatArray:
    """The same for random search: draws without replacement from TPE's start-up trials."""
    pool = np.array([r["values"][:N_STARTUP] for r in runs if r["method"] == "tpe"]).ravel()
    rng = np.random.default_rng(0)
    return np.array([rng.permutation(pool)[:N_TRIALS] for _ in SEEDS])


def needed(best: FloatArray, level: float) -> FloatArray:
    """Trainings until each seed reaches a level; one more than there are if it never does."""
    reached = best >= level - 1e-12
    first = reached.argmax(axis=1) + 1
    return np.asarray(np.where(reached.any(axis=1), first, best.shape[1] + 1), dtype=float)


def interval(values: FloatArray) -> str:
    """The median and the 95 % interval of it by bootstrap over seeds."""
    rng = np.random.default_rng(0)
    medians = np.median(values[rng.integers(len(values), size=(4000, len(values)))], axis=1)
    low, high = np.quantile(medians, [0.025, 0.975])
    return f"{np.median(values):g} ({low:g} to {high:g})"


def main() -> None:
    """Print the tables of all tasks and spaces that are recorded."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", type=Path, default=RAW, metavar="FILE")
    recorded = raw.read(parser.parse_args().out, RUNS)
    head = [f"best after {n}" for n in SHOWN]
    for name in TASKS:
        in_all: dict[str, list[FloatArray]] = {}
        for kind in sorted(SPACES):
            runs = labelled(recorded, {"task": name, "space": kind})
            if sum(row["method"] == "tpe" for row in runs) < len(SEEDS):
                continue
            found = {"random": random_values(runs)}
            found |= {m: values_of(runs, m) for m in ("tpe", "cold", *BEFORE, "warm")}
            for method in (*BEFORE[1:], "warm"):
                n = len(found[method])
                if 0 < n < len(SEEDS):  # whether seeds are equally lucky shows on the same ones
                    found[f"{BEFORE[0]}, {n} seeds"] = found[BEFORE[0]][:n]
                    found[f"{method}, {n} seeds"] = found.pop(method)
            level = float(found["tpe"].max(axis=1).mean())
            print(f"\n{name}, {kind}: TPE reaches {level:.4f} after {N_TRIALS} trainings (mean)\n")
            print(f"| method | {' | '.join(head)} | typical | to TPE's level | mean curve |")
            print("|---|" + "---|" * (len(head) + 3))
            for method, values in found.items():
                if len(values):
                    print(f"| {method} | {_cells(values, level)} |")
                    best = np.maximum.accumulate(values, axis=1)
                    in_all.setdefault(method, []).append(needed(best, level))
        print(f"\n{name}, both spaces: trainings to TPE's level, median over all seeds\n")
        for method, parts in in_all.items():
            if len(parts) == len(SPACES):
                print(f"- {method}: {interval(np.concatenate(parts))}")


def _cells(values: FloatArray, level: float) -> str:
    """A method's line: means over seeds, and how soon it reaches a level."""
    best = np.maximum.accumulate(values, axis=1)
    mean = needed(best.mean(axis=0, keepdims=True), level)[0]
    return " | ".join(
        [
            *(f"{best[:, n - 1].mean():.4f}" for n in SHOWN),
            f"{np.median(values[:, FIRST:], axis=1).mean():.4f}",
            interval(needed(best, level)),
            f"{mean:g}" if mean <= N_TRIALS else f"over {N_TRIALS}",
        ]
    )


if __name__ == "__main__":
    main()
