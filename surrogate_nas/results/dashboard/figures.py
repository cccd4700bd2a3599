"""Figures for a study's page in optuna-dashboard, by plotly.

They are kept small, because the dashboard reads them out of the study's storage.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from surrogate_nas.files.svg import printable, shortened
from surrogate_nas.results.expected import ExpectedBest
from surrogate_nas.results.figure_data import (
    ACCENT,
    GREY,
    INK,
    PALE,
    RHO_LIMITS,
    BestFound,
    PastTaskWeights,
    PredictedMeasured,
    RankCorrelation,
    Screening,
    best_found,
    past_task_weights,
    predicted_measured,
    rank_correlation,
    screening,
)
from surrogate_nas.results.summary import StudySummary

if TYPE_CHECKING:
    import plotly.graph_objects as go

_MOST_POINTS = 250
_MOST_TASKS = 20

FIGURES = ("best-found", "predicted-measured", "rank-correlation", "past-tasks", "screening")
"""Names of the figures in the storage. A figure with nothing to show is not stored."""


def figures(summary: StudySummary, expected: ExpectedBest | None) -> dict[str, go.Figure]:
    """Return name -> figure, without the figures that have nothing to show yet.

    Args:
        summary: The study in numbers.
        expected: Best values that random draws would have found, if the surrogate can tell.
    """
    made = (
        _best_found(best_found(summary, expected, _MOST_POINTS), summary.metric)
        if summary.completed
        else None,
        _predicted_measured(predicted_measured(summary, _MOST_POINTS), summary.metric)
        if summary.predicted
        else None,
        _rank_correlation(rank_correlation(summary)) if summary.rank_correlations else None,
        _past_tasks(past_task_weights(summary, _MOST_TASKS))
        if summary.past_task_weights
        else None,
        _screening(screening(summary), summary.n_screened) if summary.n_screened else None,
    )
    return {name: one for name, one in zip(FIGURES, made, strict=True) if one is not None}


def _best_found(found: BestFound, metric: str) -> go.Figure:
    """Return the figure of all results, the best so far, and the band of random draws."""
    x = _whole(found.n)
    result = {"mode": "markers", "marker": {"color": GREY, "size": 6}, "name": "result"}
    best = {"mode": "lines", "line": {"color": INK, "width": 3, "shape": "hv"}}
    traces = [
        {"x": x, "y": _short(found.values), **result},
        {"x": x, "y": _short(found.bests), **best, "name": "best so far"},
    ]
    said = ""
    if (band := found.expected) is not None:
        line = {"mode": "lines", "line": {"color": ACCENT, "width": 1, "dash": "dash"}}
        x, filled = _whole(band.n), {"fill": "tonexty", "fillcolor": "rgba(200,84,27,0.15)"}
        name = "random draws, as predicted"
        low = {"x": x, "y": _short(band.at_word), **line, "showlegend": False}
        high = {"x": x, "y": _short(band.uncertain), **line, **filled, "name": name}
        # "tonexty" fills down to the trace before. Results come last and lie on the band.
        traces = [low, high, *traces]
        said = "the band is an estimate; see the note"
    figure = _figure("Best found", said, "trainings", _text(metric), traces)
    return figure.update_yaxes(range=_range(found.limits))


def _predicted_measured(found: PredictedMeasured, metric: str) -> go.Figure:
    """Return the figure of results against predictions, each made before its training."""
    points = {
        "x": _short(found.measured),
        "y": _short(found.predicted),
        "error_y": {
            "type": "data",
            "array": _short(found.stds),
            "color": PALE,
            "thickness": 1,
            "width": 0,
        },
        "mode": "markers",
        "marker": {"color": INK, "size": 7},
        "name": "training, ± 1 standard deviation",
    }
    diagonal = {
        "x": _short(found.diagonal),
        "y": _short(found.diagonal),
        "mode": "lines",
        "line": {"color": ACCENT, "dash": "dash"},
        "name": "perfect prediction",
    }
    said = "predicted before training"
    figure = _figure(
        "Predicted and measured",
        said if math.isnan(found.rho) else f"rank correlation {found.rho:+.2f}, {said}",
        f"measured {_text(metric)}",
        f"predicted {_text(metric)}",
        [points, diagonal],
    )
    return figure.update_yaxes(range=_range(found.limits))


def _rank_correlation(found: RankCorrelation) -> go.Figure:
    """Return the figure of the rank correlation as trials come in, with a limit of chance."""
    dashed = {"mode": "lines", "line": {"color": GREY, "dash": "dot", "width": 1}}
    line = {"mode": "lines+markers", "line": {"color": INK, "width": 2}, "marker": {"size": 4}}
    name = "chance reaches this in 5 %"
    traces = [
        {"x": _whole(found.n), "y": _short(found.rho), **line, "name": "rank correlation"},
        {"x": _whole(found.n), "y": _short(found.chance), **dashed, "name": name},
    ]
    figure = _figure(
        "Does the surrogate rank this task?",
        "rank correlation as trials come in",
        "predicted trainings",
        "Spearman's ρ",
        traces,
    )
    return figure.update_yaxes(range=_range(RHO_LIMITS))


def _past_tasks(found: PastTaskWeights) -> go.Figure:
    """Return the figure of the past tasks' weights in the predictions."""
    both = list(zip(found.names, found.ignored, strict=True))
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [_text(name) + (" (ignored)" if is_ignored else "") for name, is_ignored in both],
        "x": _short(found.weights),
        "marker": {
            "color": ["#d5d9df" if is_ignored else INK for _, is_ignored in both],
            "line": {"color": INK, "width": 1},
        },
        "showlegend": False,
    }
    said = (
        ""
        if found.transfer is None
        else f"with probability {found.transfer:.2f} they say anything"
    )
    return _figure("What past tasks are worth here", said, "weight in the predictions", "", [bars])


def _screening(found: Screening, n_screened: int) -> go.Figure:
    """Return the figure of the fate of candidates, by trial or by group of trials."""
    names = [str(number) if found.size == 1 else f"{number}…" for number in found.numbers]
    parts = (
        ("predicted to be worse", found.worse, INK, ""),
        ("an equivalent one was tried", found.duplicates, "#a9cbe8", "/"),
        ("beyond a limit", found.infeasible, "#f0d5a0", "x"),
        ("trained", found.trained, ACCENT, ""),
    )
    # Patterns tell the parts apart where colours do not.
    bars = [
        {
            "type": "bar",
            "x": names,
            "y": list(counts),
            "name": name,
            "marker": {"color": fill, "pattern": {"shape": shape}},
        }
        for name, counts, fill, shape in parts
        if any(counts)
    ]
    group = "trial" if found.size == 1 else f"first of {found.size} trials"
    said = f"{n_screened:,} candidates for {sum(found.trained)} trainings"
    figure = _figure("What was screened out, and why", said, group, "candidates", bars)
    return figure.update_layout(barmode="stack")


def _figure(title: str, said: str, x: str, y: str, traces: Iterable[dict[str, Any]]) -> go.Figure:
    """Return a figure with a title, a second line in small print, two axes and its traces."""
    import plotly.graph_objects as go

    # NOTE: plotly's own template is larger than the data, so the layout is spelled out. The
    # dashboard's buttons lie at the upper edge, so the title stands below them.
    axis = {"gridcolor": "#e3e6ea", "zerolinecolor": "#c5cad1", "linecolor": "#8a919c"}
    layout = {
        "template": "none",
        "title": {
            "text": f'{title}<br><span style="font-size:12px">{said}</span>',
            "font": {"size": 17},
            "x": 0.02,
            "xanchor": "left",
            "y": 0.9,
            "yanchor": "top",
        },
        "font": {"size": 12, "color": "#1c1c1c"},
        "xaxis": {"title": {"text": x}, "automargin": True, **axis},
        "yaxis": {"title": {"text": y}, "automargin": True, **axis},
        "legend": {"orientation": "h", "y": -0.22, "x": 0},
        "margin": {"l": 60, "r": 20, "t": 100, "b": 50},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
    }
    return go.Figure(data=list(traces), layout=layout)


def _range(limits: tuple[float, float] | None) -> list[float] | None:
    """Return the ends of an axis with five digits; None leaves them to plotly."""
    return None if limits is None else [float(f"{end:.5g}") for end in limits]


def _text(words: str) -> str:
    """Return words that plotly shows as they are, although it reads some markup."""
    return html.escape(printable(shortened(words, 40)), quote=False)


def _short(values: Any) -> list[float | None]:
    """Return numbers with five digits, as their text is stored; infinite ones are gaps."""
    return [float(f"{v:.5g}") if math.isfinite(v) else None for v in np.asarray(values).tolist()]


def _whole(values: Any) -> list[int]:
    """Return whole numbers as Python's own, which JSON can hold."""
    found: Sequence[int] = np.asarray(values, dtype=int).tolist()
    return list(found)
