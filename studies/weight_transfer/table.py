"""Print the tables of README.md from the raw values.

Run as ``python -m studies.weight_transfer.table`` from the top folder.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import spearmanr

from studies import raw
from studies.weight_transfer.study import RAW

WAYS = ("scratch", "neighbour", "past task")
EPOCHS = ("3", "6", "12")


def interval(values: list[float]) -> str:
    """A median with its 95 % interval, by resampling."""
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(np.asarray(values), (2000, len(values))), axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return f"{np.median(values):.3f} [{low:.3f}, {high:.3f}]"


def reached(row: dict[str, Any], way: str, epochs: str) -> float:
    """The accuracy at the end of a training."""
    return float(row["runs"][way][epochs]["curve"][-1])


def epochs_needed(row: dict[str, Any], way: str) -> float:
    """The fewest epochs with what 12 from scratch reach, less half a percent; infinite if none."""
    goal = reached(row, "scratch", "12") - 0.005
    enough = [int(e) for e in EPOCHS if reached(row, way, e) >= goal]
    return min(enough, default=float("inf"))


def main() -> None:
    """Print both tables."""
    recorded = raw.read(RAW)
    names = sorted({row["set"] for row in recorded})
    sets = {name: [row for row in recorded if row["set"] == name] for name in names}
    after = " | ".join(f"after {e} epochs" for e in EPOCHS)
    print(f"| set (architectures) | start | {after} | share of the weights |")
    print("|---|---|---|---|---|---|")
    for name, rows in sets.items():
        for way in WAYS:
            cells = [interval([reached(row, way, e) for row in rows]) for e in EPOCHS]
            shares = [row["runs"][way]["12"]["share"] or 0.0 for row in rows]
            print(
                f"| {name} ({len(rows)}) | {way} | {' | '.join(cells)} | {np.median(shares):.2f} |"
            )
    gains = " | ".join(f"gain after {e}" for e in EPOCHS)
    print(f"\n| set | start | {gains} | epochs to scratch's 12 | ranks after 3 | ranks after 12 |")
    print("|---|---|---|---|---|---|---|---|")
    for name, rows in sets.items():
        final = [reached(row, "scratch", "12") for row in rows]
        for way in WAYS:
            cells = [
                interval([reached(row, way, e) - reached(row, "scratch", e) for row in rows])
                for e in EPOCHS
            ]
            needed = [epochs_needed(row, way) for row in rows]
            counts = ", ".join(f"{e}: {needed.count(float(e))}" for e in EPOCHS)
            counts += f", more: {needed.count(float('inf'))}"
            ranks = [
                spearmanr([reached(row, way, e) for row in rows], final)[0] for e in ("3", "12")
            ]
            cells += [counts, *(f"{rank:.2f}" for rank in ranks)]
            print(f"| {name} | {way} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
