"""Pictures of the recorded runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.transfer_benchmark.peers import BUDGET, Curves, harm, interval, mean_curve
from studies.transfer_benchmark.tables import FloatArray

matplotlib.use("agg")

_COLORS = {
    **{"random": "#b0b0b0", "tpe": "#555555", "portfolio_tpe": "#8c6bb1", "stack": "#d9a400"},
    **{"no_past": "#6baed6", "ours": "#c8541b"},
}
_NAMES = {
    **{"tpe": "Optuna's TPE", "portfolio_tpe": "best of each past task, then TPE"},
    **{
        "no_past": "surrogate_nas, no past tasks",
        "ours": "surrogate_nas",
        "stack": "stack, a prototype",
    },
}
_MARKED = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50)


def _panels(names: Sequence[str], words: str) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    axes = [figure.add_subplot(2, 2, i + 1) for i in range(len(names))]
    for axis, name in zip(axes, names, strict=True):
        axis.set_title(name)
        axis.set_xlabel("trainings")
        axis.set_ylabel(words)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def draw_regret(shown: Mapping[str, Mapping[str, Curves]], path: Path) -> None:
    """Draw mean regret against trainings, with 95 % intervals of the package's own."""
    figure, axes = _panels(list(shown), "normalized regret, mean")
    n = np.arange(1, BUDGET + 1)
    for axis, methods in zip(axes, shown.values(), strict=True):
        for method, found in methods.items():
            color = _COLORS[method]
            axis.plot(n, mean_curve(found), color=color, label=_NAMES.get(method, method))
            if method in ("ours", "no_past", "tpe"):
                bounds = [interval(found, at)[1:] for at in _MARKED]
                axis.fill_between(_MARKED, *zip(*bounds, strict=True), color=color, alpha=0.15)
        axis.set_ylim(0, 0.8)
        axis.axhline(mean_curve(methods["tpe"])[-1], color="#555555", linewidth=0.6, dashes=(4, 4))
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def draw_harm(shown: Mapping[str, Mapping[str, Curves]], path: Path) -> None:
    """Draw the share of cases that are worse than TPE after n trainings."""
    figure, axes = _panels(list(shown), "worse than TPE, % of cases")
    n = np.arange(1, BUDGET + 1)
    for axis, methods in zip(axes, shown.values(), strict=True):
        for method, found in methods.items():
            if method != "tpe":
                shares = [100 * harm(found, methods["tpe"], int(at)) for at in n]
                axis.plot(n, shares, color=_COLORS[method], label=_NAMES.get(method, method))
        axis.set_ylim(0, 100)
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def draw_predictions(
    runs: Mapping[str, Sequence[tuple[Mapping[str, Any], FloatArray]]], path: Path
) -> None:
    """Draw what was predicted for architectures before training against what they reached."""
    figure, axes = _panels(list(runs), "measured")
    for axis, found in zip(axes, runs.values(), strict=True):
        axis.set_xlabel("predicted, in units of the table's (best - median)")
        for run, values in found:
            if run["past"] != "true" or run["seed"] != 0 or not run.get("predicted"):
                continue
            known = values[np.isfinite(values)]
            median = float(np.median(known))
            unit = float(known.max()) - median
            first = 5
            measured = (values[run["rows"]][first:] - median) / unit
            predicted = (np.array(run["predicted"], dtype=float)[first:] - median) / unit
            axis.plot(predicted, measured, ".", markersize=3, alpha=0.6)
        axis.plot([-1, 1], [-1, 1], color="#555555", linewidth=0.6)
        axis.set_xlim(-1.2, 1.2)
        axis.set_ylim(-1.2, 1.2)
    figure.savefig(path, dpi=110)
