"""Figures for a study's page in optuna-dashboard, by plotly.

They are kept small, because the dashboard reads them out of the study's storage.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from surrogate_nas import attributes
from surrogate_nas.files.svg import printable, shortened
from surrogate_nas.results.expected import ExpectedBest
from surrogate_nas.results.summary import StudySummary, number, spaced

if TYPE_CHECKING:
    import plotly.graph_objects as go

_BLUE, _ORANGE, _GREY = "#1f4e79", "#c8541b", "#8a919c"
_MOST_POINTS = 250
_MOST_BARS = 60
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
        _best_found(summary, expected) if summary.completed else None,
        _predicted_measured(summary) if summary.predicted else None,
        _rank_correlation(summary) if summary.rank_correlations else None,
        _past_tasks(summary) if summary.past_task_weights else None,
        _screening(summary) if summary.n_screened else None,
    )
    return {name: one for name, one in zip(FIGURES, made, strict=True) if one is not None}


def _best_found(summary: StudySummary, expected: ExpectedBest | None) -> go.Figure:
    """Return the figure of all results, the best so far, and the band of random draws."""
    values = np.array([t.value for t in summary.completed], dtype=float)
    at = np.array(spaced(len(values), _MOST_POINTS))
    result = {"mode": "markers", "marker": {"color": _GREY, "size": 6}, "name": "result"}
    best = {"mode": "lines", "line": {"color": _BLUE, "width": 3, "shape": "hv"}}
    traces = [
        {"x": _whole(at + 1), "y": _short(values[at]), **result},
        {"x": _whole(at + 1), "y": _short(summary.bests[at]), **best, "name": "best so far"},
    ]
    said = ""
    if expected is not None:
        line = {"mode": "lines", "line": {"color": _ORANGE, "width": 1, "dash": "dash"}}
        x, filled = _whole(expected.n), {"fill": "tonexty", "fillcolor": "rgba(200,84,27,0.15)"}
        name = "random draws, as predicted"
        low = {"x": x, "y": _short(expected.at_word), **line, "showlegend": False}
        high = {"x": x, "y": _short(expected.uncertain), **line, **filled, "name": name}
        traces = [low, high, *traces]
        said = "the band is an estimate; see the note"
    figure = _figure("Best found", said, "trainings", _text(summary.metric), traces)
    return figure.update_yaxes(range=_span(values))


def _predicted_measured(summary: StudySummary) -> go.Figure:
    """Return the figure of results against predictions, each made before its training."""
    at = spaced(len(summary.predicted), _MOST_POINTS)
    measured, predicted = np.array(summary.measured)[at], np.array(summary.predicted)[at]
    ends = [
        float(min(measured.min(), predicted.min())),
        float(max(measured.max(), predicted.max())),
    ]
    points = {
        "x": _short(measured),
        "y": _short(predicted),
        "error_y": {
            "type": "data",
            "array": _short(np.array(summary.stds)[at]),
            "color": "#9bb3cc",
            "thickness": 1,
            "width": 0,
        },
        "mode": "markers",
        "marker": {"color": _BLUE, "size": 7},
        "name": "training, ± 1 standard deviation",
    }
    diagonal = {
        "x": _short(np.array(ends)),
        "y": _short(np.array(ends)),
        "mode": "lines",
        "line": {"color": _ORANGE, "dash": "dash"},
        "name": "perfect prediction",
    }
    rho = summary.rank_correlation
    said = "predicted before training"
    figure = _figure(
        "Predicted and measured",
        said if math.isnan(rho) else f"rank correlation {rho:+.2f}, {said}",
        f"measured {_text(summary.metric)}",
        f"predicted {_text(summary.metric)}",
        [points, diagonal],
    )
    # NOTE: the first predictions of a study may be very uncertain. Axes that show their whole
    # bars would press all points into a line, so the bars may leave the figure.
    return figure.update_yaxes(range=_span(np.append(predicted, measured)))


def _rank_correlation(summary: StudySummary) -> go.Figure:
    """Return the figure of the rank correlation as trials come in, with a limit of chance."""
    after = np.array([n for n, _ in summary.rank_correlations])
    rho = np.array([value for _, value in summary.rank_correlations])
    # NOTE: without any association the standard deviation of Spearman's ρ is 1 / sqrt(n - 1)
    # (Kendall & Gibbons 1990), and 1.645 is the normal distribution's 95 % quantile.
    chance = np.minimum(1.645 / np.sqrt(after - 1), 1.0)
    dashed = {"mode": "lines", "line": {"color": _GREY, "dash": "dot", "width": 1}}
    line = {"mode": "lines+markers", "line": {"color": _BLUE, "width": 2}, "marker": {"size": 4}}
    traces = [
        {"x": _whole(after), "y": _short(rho), **line, "name": "rank correlation"},
        {"x": _whole(after), "y": _short(chance), **dashed, "name": "chance reaches this in 5 %"},
    ]
    figure = _figure(
        "Does the surrogate rank this task?",
        "rank correlation as trials come in",
        "predicted trainings",
        "Spearman's ρ",
        traces,
    )
    return figure.update_yaxes(range=[-1.05, 1.05])


def _past_tasks(summary: StudySummary) -> go.Figure:
    """Return the figure of the past tasks' weights in the predictions."""
    weights = list(summary.past_task_weights.items())[:_MOST_TASKS][::-1]
    ignored = set(summary.past_tasks_ignored)
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [_text(name) + (" (ignored)" if name in ignored else "") for name, _ in weights],
        "x": _short(np.array([weight for _, weight in weights])),
        "marker": {
            "color": ["#d5d9df" if name in ignored else _BLUE for name, _ in weights],
            "line": {"color": _BLUE, "width": 1},
        },
        "showlegend": False,
    }
    said = (
        ""
        if summary.transfer is None
        else f"with probability {summary.transfer:.2f} they say anything"
    )
    return _figure("What past tasks are worth here", said, "weight in the predictions", "", [bars])


def _screening(summary: StudySummary) -> go.Figure:
    """Return the figure of the fate of candidates, by trial or by group of trials."""
    trials = summary.completed
    step = math.ceil(len(trials) / _MOST_BARS)
    groups = [trials[start : start + step] for start in range(0, len(trials), step)]
    names = [str(group[0].number) if step == 1 else f"{group[0].number}…" for group in groups]

    def total(attr: str) -> list[int]:
        """Return the sum of a trial attribute over each group."""
        return [sum(int(number(t, attr) or 0) for t in group) for group in groups]

    trained = [len(group) for group in groups]
    screened = [
        max(n - k, 0) for n, k in zip(total(attributes.N_CANDIDATES), trained, strict=True)
    ]
    parts = (
        ("predicted to be worse", screened, _BLUE, ""),
        ("an equivalent one was tried", total(attributes.N_DUPLICATES), "#a9cbe8", "/"),
        ("beyond a limit", total(attributes.N_INFEASIBLE), "#f0d5a0", "x"),
        ("trained", trained, _ORANGE, ""),
    )
    bars = [
        {
            "type": "bar",
            "x": names,
            "y": counts,
            "name": name,
            "marker": {"color": fill, "pattern": {"shape": shape}},
        }
        for name, counts, fill, shape in parts
        if any(counts)
    ]
    group = "trial" if step == 1 else f"first of {step} trials"
    said = f"{summary.n_screened:,} candidates for {len(trials)} trainings"
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


def _span(values: Any) -> list[float] | None:
    """Return an axis range around all finite values; None leaves the range to plotly."""
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    if not len(finite) or finite.min() == finite.max():
        return None
    room = 0.15 * (finite.max() - finite.min())
    return [float(f"{end:.5g}") for end in (finite.min() - room, finite.max() + room)]


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
