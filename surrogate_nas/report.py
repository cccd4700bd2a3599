"""A study -> one HTML file that opens offline: the answer first, then how it was found."""

from __future__ import annotations

import io
import math
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from surrogate_nas.atomic import write_whole
from surrogate_nas.errors import MissingExtraError, StudyError
from surrogate_nas.summary import StudySummary, finite, number, summarize

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIZE_INCHES = (6.0, 3.6)
_INK = "#1f4e79"
_ACCENT = "#c8541b"


def report(study: optuna.Study, path: str | Path) -> Path:
    """Write a report of a study with one objective.

    Args:
        study: Any Optuna study; what our sampler and objective stored with it is shown, too.
        path: Where to write the HTML file; its folder must exist.

    Returns:
        The path.

    Raises:
        MissingExtraError: The extra ``report`` is not installed.
        StudyError: The study has several objectives, or the file cannot be written.
    """
    target = Path(path)
    if not target.resolve().parent.is_dir() or target.is_dir():
        raise StudyError(
            expected="the path of a file, in a folder that exists",
            got=repr(str(target)),
            fix="make the folder, and name a file in it",
        )
    summary = summarize(study)
    try:
        import jinja2
        import matplotlib
    except ImportError as error:
        raise MissingExtraError(
            expected="the packages of the extra 'report'",
            got=str(error),
            fix="run pip install 'surrogate-nas[report]'",
        ) from error
    del matplotlib
    template = files("surrogate_nas").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    page = environment.from_string(template).render(_content(study, summary))
    try:
        write_whole(target.resolve(), page.encode())
    except OSError as error:
        raise StudyError(
            expected=f"a report that can be written to {str(target)!r}",
            got=f"{type(error).__name__}: {error.strerror}",
            fix="choose another folder, or make room",
        ) from error
    return target


def _content(study: optuna.Study, summary: StudySummary) -> dict[str, Any]:
    """Everything that the template shows; plain values, escaped by the template."""
    best = summary.best
    rows = [_row(trial) for trial in summary.completed]
    figures = []
    if best is not None:
        figures.append(("Best found so far", _progress(summary), _progress_words(summary)))
    if len(summary.predicted) > 1:
        figures.append(("Predicted and measured", _scatter(summary), _scatter_words(summary)))
    return {
        "summary": summary,
        "best": None if best is None else _row(best),
        "test_value": finite(study.user_attrs.get("test_value")),
        "rows": rows,
        "figures": figures,
        "attributes": {k: str(v) for k, v in sorted(study.user_attrs.items())},
        "versions": _versions(),
    }


def _row(trial: FrozenTrial) -> dict[str, Any]:
    """One line of the table of trials."""
    attrs = trial.user_attrs
    words = attrs.get("architecture") or ", ".join(f"{k}={v}" for k, v in trial.params.items())
    return {
        "number": trial.number,
        "value": trial.value,
        "predicted": number(trial, "predicted_value"),
        "std": number(trial, "predicted_std"),
        "parameters": number(trial, "parameters"),
        "seconds": number(trial, "train_seconds"),
        "words": words,
    }


def _progress(summary: StudySummary) -> str:
    """Figure: every result and the best so far."""
    values = np.array([t.value for t in summary.completed], dtype=float)
    best = np.maximum.accumulate(values) if summary.maximize else np.minimum.accumulate(values)
    figure, axes = _figure()
    steps = np.arange(1, len(values) + 1)
    axes.plot(steps, values, "o", color=_ACCENT, alpha=0.6, label="result")
    axes.step(steps, best, where="post", color=_INK, linewidth=2, label="best so far")
    axes.set_xlabel("trainings")
    axes.set_ylabel(summary.metric, parse_math=False)
    axes.legend(frameon=False)
    return _svg(figure)


def _scatter(summary: StudySummary) -> str:
    """Figure: predictions, each made before its training, against results."""
    figure, axes = _figure()
    measured, predicted = np.array(summary.measured), np.array(summary.predicted)
    axes.errorbar(
        measured,
        predicted,
        yerr=np.array(summary.stds),
        fmt="o",
        color=_INK,
        ecolor="#9bb3cc",
        elinewidth=1,
    )
    low, high = float(measured.min()), float(measured.max())
    axes.plot([low, high], [low, high], color=_ACCENT, linestyle="--", label="perfect")
    axes.set_xlabel(f"measured {summary.metric}", parse_math=False)
    axes.set_ylabel("predicted before training")
    axes.legend(frameon=False)
    return _svg(figure)


def _progress_words(summary: StudySummary) -> str:
    best = summary.best
    assert best is not None
    place = 1 + [t.number for t in summary.completed].index(best.number)
    return f"The best of {len(summary.completed)} results was training {place}."


def _scatter_words(summary: StudySummary) -> str:
    correlation = summary.rank_correlation
    if math.isnan(correlation):
        return "Too few different predictions for a rank correlation."
    return (
        f"Rank correlation {correlation:.2f} over {len(summary.predicted)} trainings. The points "
        "are the candidates that looked best, which is the hardest place to rank."
    )


def _figure() -> tuple[Figure, Any]:
    """An empty figure that does not touch pyplot's global state."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _svg(figure: Figure) -> str:
    """The figure as an SVG element."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _versions() -> dict[str, str]:
    """Versions of what made the study."""
    from importlib.metadata import version

    names = ("surrogate-nas", "optuna", "torch", "lightgbm", "scikit-learn", "numpy")
    return {name: version(name) for name in names}
