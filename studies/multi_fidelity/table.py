"""Print the table of README.md from the raw values.

Run as ``python -m studies.multi_fidelity.table`` from the top folder.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from studies import raw
from studies.multi_fidelity.study import METHODS, MOST, RAW

Runs = dict[tuple[str, int], float]
"""Trainings that a search needed, by table and seed."""


def ratio(runs: Runs, base: Runs) -> str:
    """Ratio of the medians over the same searches, with its 95 % interval by resampling."""
    keys = sorted(runs.keys() & base.keys())
    ours, theirs = (np.array([some[key] for key in keys]) for some in (runs, base))
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(keys), (2000, len(keys)))
    drawn = np.median(ours[rows], axis=1) / np.median(theirs[rows], axis=1)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"{np.median(ours) / np.median(theirs):.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Print a row for each family of tables and each method."""
    found: dict[tuple[str, str], Runs] = defaultdict(dict)
    trials: dict[tuple[str, str], list[int]] = defaultdict(list)
    reached: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for row in raw.read(RAW, "searches"):
        at = row["table"].split()[0], row["method"]
        found[at][row["table"], row["seed"]] = row["trainings"] if row["reached"] else float(MOST)
        trials[at].append(row["n_trials"])
        reached[at].append(row["reached"])
    print("| table | pruner | searches | reached | trials | whole trainings | ratio |")
    print("|---|---|---|---|---|---|---|")
    for family in sorted({family for family, _ in found}):
        base = found[family, "none"]
        for method in METHODS:
            runs = found.get((family, method), {})
            if runs and base:
                at = family, method
                cells = [
                    *(family, method, str(len(runs)), f"{np.mean(reached[at]):.0%}"),
                    *(f"{np.median(trials[at]):.0f}", f"{np.median([*runs.values()]):.1f}"),
                    "1" if method == "none" else ratio(runs, base),
                ]
                print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
