from __future__ import annotations

import json
from typing import Any

import numpy as np
import optuna
import plotly.graph_objects as go
from optuna.trial import create_trial

from surrogate_nas.results.dashboard.figures import FIGURES, figures
from surrogate_nas.results.expected import ExpectedBest
from surrogate_nas.results.summary import StudySummary, summarize
from tests.helpers.stored_studies import searched, study_of


def drawn(summary: StudySummary, expected: ExpectedBest | None = None) -> dict[str, Any]:
    made = figures(summary, expected)
    return {name: json.loads(figure.to_json()) for name, figure in made.items()}


def test_a_search_has_every_figure() -> None:
    """Each with a title and named axes."""
    made = drawn(summarize(searched()))

    assert tuple(made) == FIGURES
    for figure in made.values():
        assert figure["layout"]["title"]["text"]
        assert figure["layout"]["xaxis"]["title"]["text"]


def test_an_empty_study_has_none_and_a_plain_one_the_best_found() -> None:
    """Figures without contents are left out."""
    assert drawn(summarize(study_of([]))) == {}
    assert list(drawn(summarize(study_of([1.0, 3.0, 2.0])))) == ["best-found"]


def test_the_best_found_is_drawn_with_the_band_of_random_draws() -> None:
    """The band has two edges, the curve the study's own numbers."""
    band = ExpectedBest(np.array([1, 2]), np.array([0.0, 1.0]), np.array([1.0, 2.0]))
    low, high, result, best = drawn(summarize(study_of([1.0, 3.0, 2.0])), band)["best-found"][
        "data"
    ]

    assert (low["y"], high["y"]) == ([0, 1], [1, 2])
    assert high["fill"] == "tonexty"
    assert result["y"] == [1, 3, 2]
    assert best["y"] == [1, 3, 3]


def test_predictions_have_error_bars_and_a_diagonal() -> None:
    """Points are (measured, predicted) with the standard deviation."""
    points, diagonal = drawn(summarize(searched(3)))["predicted-measured"]["data"]

    assert points["x"] == [0, 2, 4]
    assert points["y"] == [0, 1, 2]
    assert points["error_y"]["array"] == [0.5, 0.5, 0.5]
    assert diagonal["x"] == diagonal["y"] == [0, 4]


def test_what_was_screened_out_adds_up() -> None:
    """Every draw is trained, worse, a duplicate or beyond a limit."""
    figure = drawn(summarize(searched(4)))["screening"]
    counts = {bar["name"]: bar["y"] for bar in figure["data"]}

    assert counts == {
        "predicted to be worse": [15] * 4,
        "an equivalent one was tried": [2] * 4,
        "beyond a limit": [3] * 4,
        "trained": [1] * 4,
    }
    assert figure["layout"]["barmode"] == "stack"


def test_ignored_past_tasks_are_named_so() -> None:
    """Not by colour alone."""
    (bars,) = drawn(summarize(searched()))["past-tasks"]["data"]

    assert bars["y"] == ["dogs (ignored)", "cats"]
    assert bars["x"] == [0.01, 0.5]


def test_thousands_of_trials_stay_small() -> None:
    """Each figure is written to the storage in parts of two kilobytes."""
    made = figures(summarize(searched(5000)), None)

    assert max(len(figure.to_json()) for figure in made.values()) < 16_000
    bars = made["screening"].data
    assert len(bars[0].x) <= 60
    assert sum(bars[-1].y) == 5000


def test_markup_in_names_is_shown_as_it_is() -> None:
    """Plotly would read it."""
    made = figures(summarize(searched(name="<b onclick=alert(1)>x</b>" + "y" * 300)), None)

    for figure in made.values():
        assert isinstance(figure, go.Figure)
        text = figure.to_json()
        assert "<b" not in text
        assert "y" * 100 not in text


def test_infinite_results_are_gaps() -> None:
    """JSON knows no infinity."""
    study = optuna.create_study()
    study.add_trials([create_trial(value=v) for v in (1.0, float("inf"), 2.0)])
    result, _ = drawn(summarize(study))["best-found"]["data"]

    assert result["y"] == [1, None, 2]
