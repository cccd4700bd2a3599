"""Figures of a report as SVG, by matplotlib: real text, no scripts, readable in greyscale."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from surrogate_nas.arrays import FloatArray
from surrogate_nas.files.svg import printable, shortened
from surrogate_nas.results.expected import WORDS, ExpectedBest
from surrogate_nas.results.figure_data import (
    ACCENT,
    GREY,
    INK,
    PALE,
    RHO_LIMITS,
    BestFound,
    PredictedMeasured,
    RankCorrelation,
    best_found,
    predicted_measured,
    rank_correlation,
)
from surrogate_nas.results.summary import StudySummary, spaced

_SIZE_INCHES = (6.0, 3.6)
_MOST_POINTS = 1000


class Figure(NamedTuple):
    """A figure with its title and a sentence that says the same."""

    title: str
    svg: str
    words: str


def figures(summary: StudySummary, expected: ExpectedBest | None) -> list[Figure]:
    """Return the figures that have something to show.

    Args:
        summary: The study in numbers.
        expected: Best values that random draws would have found, if the surrogate can tell.
    """
    made = []
    if summary.completed:
        made.append(_best_found(best_found(summary, expected, _MOST_POINTS), summary.metric))
    if len(summary.predicted) > 1:
        made.append(_predicted_measured(predicted_measured(summary, _MOST_POINTS), summary))
    if len(summary.rank_correlations) > 1:
        made.append(_rank_correlation(rank_correlation(summary)))
    return made


def pareto(values: FloatArray, is_best: Sequence[bool], names: list[str]) -> Figure:
    """Return the figure of two objectives and their Pareto front.

    Args:
        values: Two objectives of each trial, (n, 2).
        is_best: Whether each trial is in the front, (n,).
        names: Names of the two objectives.
    """

    def draw(axes: Any) -> None:
        best = np.array(is_best)
        keep = spaced(int((~best).sum()), _MOST_POINTS)
        # Only trials behind the front are thinned out.
        others = values[~best][keep]
        front = values[best]
        # In order, so that the line runs along the front.
        front = front[np.argsort(front[:, 0], kind="stable")]
        axes.plot(*others.T, "o", color=GREY, markersize=4, label="trial")
        axes.plot(*front.T, "D-", color=INK, label="no trial is better in both")
        # A name with dollar signs is no formula.
        axes.set_xlabel(_label(names[0]), parse_math=False)
        axes.set_ylabel(_label(names[1]), parse_math=False)

    n = int(sum(is_best))
    words = f"{n} of {len(values)} trials are beaten by no other in both objectives."
    return Figure("Pareto front", _svg("pareto", draw), words)


def _best_found(found: BestFound, metric: str) -> Figure:
    """Return the figure of all results, the best so far and the band of random draws."""

    def draw(axes: Any) -> None:
        if (expected := found.expected) is not None:
            band = {"color": ACCENT, "alpha": 0.18, "label": "random draws, expected"}
            axes.fill_between(expected.n, expected.at_word, expected.uncertain, **band)
            axes.plot(expected.n, expected.at_word, "--", color=ACCENT, linewidth=1)
        axes.plot(found.n, found.values, "o", color=GREY, markersize=4, label="result")
        axes.step(found.n, found.bests, where="post", color=INK, lw=2, label="best so far")
        axes.set_xlabel("trainings")
        axes.set_ylabel(_label(metric), parse_math=False)
        axes.set_ylim(found.limits)

    words = f"The best of {found.n_all} results was training {found.best_at}."
    if found.best_at is None:
        words = f"None of {found.n_all} results keeps all constraints."
    return Figure(
        "Best found so far",
        _svg("best", draw),
        f"{words} {WORDS}" if found.expected is not None else words,
    )


def _predicted_measured(found: PredictedMeasured, summary: StudySummary) -> Figure:
    """Return the figure of results against predictions, each made before its training."""

    def draw(axes: Any) -> None:
        bars = {"ecolor": PALE, "elinewidth": 1, "markersize": 4, "color": INK}
        label = "training, ± 1 standard deviation"
        axes.errorbar(
            found.measured, found.predicted, yerr=found.stds, fmt="o", label=label, **bars
        )
        if len(found.diagonal):
            line = {"color": ACCENT, "linestyle": "--", "label": "perfect prediction"}
            axes.plot(found.diagonal, found.diagonal, **line)
        axes.set_xlabel(_label(f"measured {summary.metric}"), parse_math=False)
        axes.set_ylabel("predicted before training")
        axes.set_ylim(found.limits)

    words = (
        "Too few different predictions for a rank correlation."
        if math.isnan(found.rho)
        else f"Rank correlation {found.rho:.2f} over {len(summary.predicted)} trainings. The "
        "points are the candidates that looked best, which is the hardest place to rank."
    )
    return Figure("Predicted and measured", _svg("predicted", draw), words)


def _rank_correlation(found: RankCorrelation) -> Figure:
    """Return the figure of the rank correlation as trials come in, with a limit of chance."""
    n, rho = found.n, found.rho

    def draw(axes: Any) -> None:
        axes.plot(n, rho, "o-", color=INK, markersize=3, label="rank correlation")
        axes.plot(n, found.chance, ":", color=GREY, label="chance reaches this in 5 %")
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set_ylim(RHO_LIMITS)
        axes.set_xlabel("predicted trainings")
        axes.set_ylabel("Spearman's ρ")

    words = (
        f"After {n[-1]} predicted trainings it is {rho[-1]:.2f}, after {n[0]} it was {rho[0]:.2f}."
    )
    return Figure("Rank correlation as trials come in", _svg("rank", draw), words)


def _label(words: str) -> str:
    """Return words of bounded length without invisible characters."""
    return printable(shortened(words))


def _svg(name: str, draw: Callable[[Any], None]) -> str:
    """Return a figure as an SVG element, drawn without pyplot's global state.

    Args:
        name: Name of the figure, unique on its page.
        draw: Function that draws on the axes that it is given.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    # NOTE: text stays text, which is small and can be searched and read aloud. The salt makes
    # identifiers equal in each run, and different from those of other figures on the page.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": f"surrogate_nas {name}"}):
        canvas = Canvas(figsize=_SIZE_INCHES, layout="constrained")
        axes = canvas.add_subplot()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        draw(axes)
        axes.legend(frameon=False, fontsize=9)
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata={"Date": None})
    # The XML declaration before it must not stand inside a page.
    return text.getvalue()[text.getvalue().index("<svg") :]
