"""Prints the tables of README.md beside this file from the raw values.

Run as ``python -m studies.scale.table`` from the top folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studies import raw
from studies.scale.study import COST, RAW

Line = dict[str, Any]
_BASE = {"space": "cell", "storage": "sqlite", "past": 1_000, "pool": 256, "running": 0}
_DRAWS = 4_000


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Slope of log y over log x by least squares: y grows as x to the power of it."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def _of(lines: Sequence[Line], varied: str, label: str = "now", **fixed: Any) -> list[Line]:
    """Suggestion cases that differ in one thing, in its order."""
    wanted = {**_BASE, **fixed, "label": label}
    wanted.pop(varied, None)
    if varied != "trials":
        wanted.setdefault("trials", 10_000)
    found = [
        line
        for line in lines
        if "ask_s" in line and all(line[name] == one for name, one in wanted.items())
    ]
    return sorted(found, key=lambda line: line[varied])


def _costs(title: str, found: Sequence[Line], varied: str) -> None:
    """One table, with the exponents of its upper half and of memory beyond the imports."""
    if not found:
        return
    print(f"\n{title}\n\n| {varied} | suggestion, s | 10 % to 90 % | first, s | peak, MB |")
    print("|---|---|---|---|---|")
    for line in found:
        low, middle, high = np.quantile(line["ask_s"], [0.1, 0.5, 0.9])
        print(
            f"| {line[varied]:,} | {middle:.2f} | {low:.2f} to {high:.2f} "
            f"| {line['first_s']:.1f} | {line['peak_mb']} |"
        )
    known = [line for line in found if line[varied]]
    if len(known) > 1:
        x = [line[varied] for line in known]
        seconds = exponent(x, [float(np.median(line["ask_s"])) for line in known])
        own = exponent(x, [line["peak_mb"] - line["imported_mb"] for line in known])
        print(f"\nexponents: seconds {seconds:.2f}, memory beyond the imports {own:.2f}")


def costs(lines: Sequence[Line]) -> None:
    """Tables of suggestions and fits."""
    fits = [line for line in lines if "fit_s" in line]
    print("| past tasks | fit, s | peak, MB | of it pairs | file, MB | load, s | predict, s |")
    print("|---|---|---|---|---|---|---|")
    for line in sorted(fits, key=lambda one: one["past"]):
        print(
            f"| {line['past']:,} | {line['fit_s']:.1f} | {line['peak_mb']:,} | {line['pairs_mb']} "
            f"| {line['file_mb']:.1f} | {line['load_s']:.2f} | {line['predict_1000_s']:.2f} |"
        )
    x = [line["past"] for line in fits]
    print(f"\nexponent of the fit's seconds: {exponent(x, [one['fit_s'] for one in fits]):.2f}")
    for label in ("before", "now"):
        for past in (0, 1_000):
            title = f"Trials, {past:,} past tasks, {label}"
            _costs(title, _of(lines, "trials", label, past=past), "trials")
    dicts = _of(lines, "trials", space="dict", past=0)
    _costs("Trials, a dict of 12 parameters, no past tasks", dicts, "trials")
    for kind in ("memory", "journal"):
        _costs(f"Trials, {kind}", _of(lines, "trials", storage=kind), "trials")
    for varied in ("past", "pool", "running"):
        _costs(f"{varied}, 10,000 trials", _of(lines, varied), varied)


def _interval(apart: np.ndarray, targets: Sequence[str]) -> tuple[float, float]:
    """Bootstrap interval of a mean difference, 95 %, over targets and the runs of each."""
    rng = np.random.default_rng(0)
    groups = [apart[np.array(targets) == target] for target in sorted(set(targets))]
    means = []
    for _ in range(_DRAWS):
        drawn = [groups[i] for i in rng.integers(len(groups), size=len(groups))]
        means.append(np.mean([rng.choice(one, len(one)).mean() for one in drawn]))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _common(lines: Sequence[Line]) -> Iterator[tuple[tuple[Any, ...], dict[Any, Any]]]:
    """For each table and length of a search the runs by method, by target and seed."""
    for setting in sorted({(one["table"], one["budget"], one["pairs"]) for one in lines}):
        by: dict[Any, dict[Any, np.ndarray]] = {}
        for one in lines:
            if (one["table"], one["budget"], one["pairs"]) == setting:
                runs = by.setdefault((one["method"], one["bound"]), {})
                runs[one["target"], one["seed"]] = np.array(one["regret"])
        yield setting, by


def quality(lines: Sequence[Line]) -> None:
    """Tables of the search quality by which results a posterior stands on."""
    for (table, budget, pairs), by in _common(lines):
        if len(by) < 2:
            continue
        cases = sorted(set.intersection(*(set(runs) for runs in by.values())))
        bounds = {bound for _, bound in by if bound}
        first = min(bounds) // 10
        past = f", {pairs} pairs a past task" if pairs else ""
        print(f"\n{table}, {budget} trainings, {len(cases)} searches{past}\n")
        print("| conditioned on | bound | regret in the end | on average | more than of all |")
        print("|---|---|---|---|---|")

        def mean(runs: dict[Any, np.ndarray], of: Callable[[np.ndarray], float]) -> np.ndarray:
            return np.array([of(runs[case]) for case in cases])  # noqa: B023

        whole = mean(by["all", 0], lambda curve: float(curve[first:].mean()))  # noqa: B023
        for (method, bound), runs in by.items():
            end = mean(runs, lambda curve: float(curve[-1])).mean()
            beyond = mean(runs, lambda curve: float(curve[first:].mean()))  # noqa: B023
            more = beyond - whole
            low, high = _interval(more, [target for target, _ in cases])
            shown = "" if method == "all" else f"{more.mean():+.3f} ({low:+.3f} to {high:+.3f})"
            print(f"| {method} | {bound or ''} | {end:.3f} | {beyond.mean():.3f} | {shown} |")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, default=RAW, metavar="FILE")
    arguments = parser.parse_args()
    costs(raw.read(arguments.raw, COST))
    quality(raw.read(arguments.raw, "quality"))


if __name__ == "__main__":
    main()
