"""Other tools' recorded runs on the same cases, and what curves are compared by."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from studies.transfer_benchmark.tables import FloatArray, Table, regret

Case: TypeAlias = tuple[str, int]
"""Target and seed."""
Curves: TypeAlias = dict[Case, FloatArray]
"""Normalized regret after each training, (budget,), by case."""

BUDGET = 50
LATE = 10
"""The first training that counts where past tasks mislead: before, nothing can tell."""
_DRAWS = 2000
TINY = 1e-9
"""Regret that is not divided by: where every case has found the best, it is zero."""


def curves(table: Table, runs: Iterable[Mapping[str, Any]]) -> Curves:
    """Return each recorded run's regret; runs of less than the budget are left out."""
    found = {}
    for run in runs:
        if run["table"] == table.name and len(run["rows"]) >= BUDGET:
            rows = run["rows"][:BUDGET]
            found[run["target"], run["seed"]] = regret(table.values[run["target"]], rows)
    return found


def read_peers(path: Path, table: Table) -> dict[str, Curves]:
    """Return all other methods' curves on a table, by method."""
    by_method: dict[str, list[dict[str, Any]]] = {}
    for run in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        if run["table"] == table.name:
            by_method.setdefault(run["method"], []).append(run)
    return {method: curves(table, runs) for method, runs in by_method.items()}


def mean_curve(found: Curves) -> FloatArray:
    """Mean over seeds inside a target, then over targets, (budget,)."""
    targets = sorted({target for target, _ in found})
    means = [
        np.mean([c for (t, _), c in found.items() if t == target], axis=0) for target in targets
    ]
    return np.asarray(np.mean(means, axis=0))


def trainings_to(found: Curves, level: float) -> int | None:
    """Return the smallest number of trainings whose mean regret is at or below a level."""
    hits = np.flatnonzero(mean_curve(found) <= level)
    return int(hits[0]) + 1 if len(hits) else None


def told(trainings: float | None) -> str:
    """Write a number of trainings; beyond the budget it is not known."""
    return f"over {BUDGET}" if trainings is None or trainings > BUDGET else f"{trainings:g}"


def median_to_best(found: Curves, target: str) -> float:
    """Median over seeds of the trainings to no regret at all; infinite unless most reach it."""
    own = [curve for (name, _), curve in found.items() if name == target]
    return float(np.median([np.argmin(c) + 1 if c.min() == 0.0 else np.inf for c in own]))


def worst(found: Curves, base: Curves) -> float:
    """Largest ratio of mean regret over another method's from the LATE-th training on."""
    common = found.keys() & base.keys()
    over, under = (mean_curve({c: side[c] for c in common}) for side in (found, base))
    return float((over / np.maximum(under, TINY))[LATE - 1 :].max())


def harm(found: Curves, baseline: Curves, n: int) -> float:
    """Share of common cases that are worse than the baseline's after n trainings."""
    common = found.keys() & baseline.keys()
    return float(np.mean([found[c][n - 1] > baseline[c][n - 1] + 1e-12 for c in common]))


def interval(found: Curves, n: int) -> tuple[float, float, float]:
    """Return mean regret after n trainings, with 95 % by a two-level bootstrap."""
    values = _by_target({case: curve[[n - 1]] for case, curve in found.items()})
    low, high = np.quantile(_resampled(values)[:, 0], [0.025, 0.975])
    return float(np.mean([v.mean() for v in values])), float(low), float(high)


def ratio(found: Curves, base: Curves, first: int) -> tuple[float, float, float]:
    """Return mean regret from the first-th training on over another method's, with 95 %.

    By the same bootstrap, on the cases that both have, which are drawn together.
    """
    late = slice(first - 1, None)
    values = _by_target(
        {
            case: np.array([found[case][late].mean(), base[case][late].mean()])
            for case in sorted(found.keys() & base.keys())
        }
    )
    mean = np.mean([v.mean(axis=0) for v in values], axis=0)
    drawn = _resampled(values)
    low, high = np.quantile(drawn[:, 0] / np.maximum(drawn[:, 1], TINY), [0.025, 0.975])
    return float(mean[0] / max(mean[1], TINY)), float(low), float(high)


def _by_target(values: Mapping[Case, FloatArray]) -> list[FloatArray]:
    """Stack the cases of each target, (n_seeds, n_values)."""
    targets = sorted({target for target, _ in values})
    return [np.stack([v for (t, _), v in values.items() if t == target]) for target in targets]


def _resampled(values: list[FloatArray]) -> FloatArray:
    """Means of targets drawn with replacement, then of seeds inside each, (draws, n_values)."""
    rng = np.random.default_rng(0)
    means = np.empty((_DRAWS, values[0].shape[1]))
    for draw in range(_DRAWS):
        chosen = [values[i] for i in rng.integers(len(values), size=len(values))]
        means[draw] = np.mean([v[rng.integers(len(v), size=len(v))].mean(0) for v in chosen], 0)
    return means
