"""Pictures of the recorded runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.patheffects
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from studies.transfer_benchmark.peers import (
    BUDGET,
    Curves,
    harm,
    interval,
    mean_curve,
    trainings_to,
)
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
_OVERVIEW: Mapping[str, tuple[str, tuple[float, ...]]] = {
    "tpe": ("Optuna's TPE", (1, 1)),
    "no_past": ("surrogate_nas without past tasks", (5, 2)),
    "ours": ("surrogate_nas with past tasks", ()),
}
"""What the lines are called, and dashes that tell them apart without colors."""
_TABLES = {
    **{"transnas_micro": "TransNAS-Bench cells", "nas_bench_graph": "NAS-Bench-Graph"},
    **{"hpobench_mlp": "HPOBench MLPs", "nb201": "NAS-Bench-201"},
}
_LINE_HEIGHT = 0.1
_OUTLINE = matplotlib.patheffects.withStroke(linewidth=3, foreground="white")
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


def draw_overview(shown: Mapping[str, Mapping[str, Curves]], path: Path) -> None:
    """Draw the picture of the top README: with past tasks, without, and Optuna's TPE.

    A dot marks where a method is as good as TPE after all its trainings.
    """
    figure = Figure(figsize=(10, 3.1), layout="constrained")
    n = np.arange(1, BUDGET + 1)
    axes: list[Axes] = []
    for i, (name, methods) in enumerate(shown.items()):
        axis = figure.add_subplot(1, len(shown), i + 1, sharey=axes[0] if axes else None)
        axes.append(axis)
        level = float(mean_curve(methods["tpe"])[-1])
        axis.axhline(level, color=_COLORS["tpe"], linewidth=0.8, dashes=(3, 3))
        for method, (words, dashes) in _OVERVIEW.items():
            color, curve = _COLORS[method], mean_curve(methods[method])
            style: Any = {"color": color, "linewidth": 2 if method == "ours" else 1.5}
            axis.plot(n, curve, label=words, dashes=dashes, **style)
            reached = trainings_to(methods[method], level)
            if reached and method != "tpe":
                axis.plot(reached, curve[reached - 1], "o", color=color, markersize=6, zorder=5)
                at = (reached, float(curve[reached - 1]))
                # Our own best line has room under it, the other one above.
                under = method == "ours" and at[1] > _LINE_HEIGHT
                place: Any = {"xytext": (0, -15 if under else 10), "textcoords": "offset points"}
                words_at = axis.annotate(str(reached), at, color=color, ha="center", **place)
                words_at.set(weight="bold", path_effects=[_OUTLINE])
        axis.set_title(_TABLES.get(name, name), fontsize=10)
        axis.set_xlabel("trainings")
        axis.set_xlim(1, BUDGET)
        axis.set_ylim(0, 0.7)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelleft=i == 0)
    axes[0].set_ylabel("regret of the best found")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    with matplotlib.rc_context({"svg.hashsalt": path.name}):
        figure.savefig(path, metadata={"Date": None})


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
            is_plain = (run["past"], run["pairs"], run["seed"]) == ("true", 100, 0)
            if not is_plain or not run.get("predicted"):
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
