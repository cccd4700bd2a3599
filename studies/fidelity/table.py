"""Print the tables of README.md from the raw values.

Run as ``python -m studies.fidelity.table`` from the top folder.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from studies import raw
from studies.fidelity.study import RAW

COSTS = (6, 9, 12)
Key = tuple[str, str, str]


def interval(values: list[float]) -> tuple[float, float]:
    """95 % interval of a mean, by resampling."""
    rng = np.random.default_rng(0)
    means = rng.choice(np.asarray(values), (2000, len(values))).mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def shown(values: list[float], base: list[float]) -> str:
    """A mean, and the mean difference from the base of the same seeds with its interval."""
    mean = float(np.mean(values))
    if values is base:
        return f"{mean:.3f}"
    apart = [x - y for x, y in zip(values, base, strict=True)]
    low, high = interval(apart)
    return f"{mean:.3f} ({np.mean(apart):+.3f} [{low:+.3f}, {high:+.3f}])"


def grouped(rows: list[raw.Row]) -> dict[Key, list[dict[str, Any]]]:
    """Rows by table, pruner and model, in the order of their seeds."""
    found: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: int(row["seed"])):
        found[row["table"], row["pruner"], row["model"]].append(row)
    return found


def main() -> None:
    """Print both tables; differences are from "thrown away" under the same pruner."""
    print("| table | pruner | curves | rank correlation | regret of the top 5 |")
    print("|---|---|---|---|---|")
    predictions = grouped(raw.read(RAW, "predictions"))
    for (table, pruner, model), found in predictions.items():
        base = predictions[table, pruner, "thrown away"]
        cells = [
            shown([row[name] for row in found], values)
            if found is not base
            else f"{np.mean(values):.3f}"
            for name in ("rank_correlation", "regret_of_top_5")
            for values in [[row[name] for row in base]]
        ]
        print(f"| {table} | {pruner} | {model} | {' | '.join(cells)} |")
    costs = " | ".join(f"after {cost}" for cost in COSTS)
    print(
        f"\n| table | pruner | curves | trials | {costs} |\n|---|---|---|---|"
        + "---|" * len(COSTS)
    )
    searches = grouped(raw.read(RAW, "search"))
    for (table, pruner, model), found in searches.items():
        base = searches[table, pruner, "thrown away"]
        cells = [f"{np.mean([row['n_trials'] for row in found]):.0f}"]
        for cost in COSTS:
            pairs = [
                (row["regret"][cost - 1], other["regret"][cost - 1])
                for row, other in zip(found, base, strict=True)
            ]
            pairs = [(x, y) for x, y in pairs if x is not None and y is not None]
            ours, theirs = [x for x, _ in pairs], [y for _, y in pairs]
            cells.append(f"{np.mean(ours):.3f}" if found is base else shown(ours, theirs))
        print(f"| {table} | {pruner} | {model} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
