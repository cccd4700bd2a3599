"""The contents of a report as plain values, which the template escapes and arranges."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas import attributes
from surrogate_nas.files.svg import shortened
from surrogate_nas.results.dashboard.pictures import artifact_folder
from surrogate_nas.results.diagnosis import diagnose
from surrogate_nas.results.expected import expected_best, value_range_of
from surrogate_nas.results.recorded_space import picture, space_of, words_of
from surrogate_nas.results.report.choices import choices_of
from surrogate_nas.results.report.figures import figures, pareto
from surrogate_nas.results.summary import StudySummary, number, summarize
from surrogate_nas.space import SearchSpace
from surrogate_nas.storage.opening import address_of
from surrogate_nas.storage.optuna_private import storage_of
from surrogate_nas.storage.passwords import without_passwords
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate

LEVELS = (0.5, 0.8, 0.95)
"""Probabilities of the central prediction intervals whose coverage is shown."""

_MOST_ROWS = 1000
_MOST_CHARACTERS = 300
_VERSIONS = ("surrogate-nas", "optuna", "torch", "lightgbm", "scikit-learn", "numpy")
_SIZES = (
    (attributes.PARAMETERS, "parameters"),
    (attributes.MULTIPLY_ACCUMULATES, "multiply-accumulates for one input"),
    (attributes.ROWS_PER_SECOND, "inputs a second in training"),
    (attributes.IMAGES_PER_SECOND, "inputs a second in training"),  # of earlier versions
    (attributes.TRAIN_SECONDS, "seconds of training"),
)


def content(study: optuna.Study, space: SearchSpace | None) -> dict[str, Any]:
    """Return the values that the template shows, by name.

    Args:
        study: Any Optuna study.
        space: The search space; None takes the space that the study has recorded.
    """
    known = space_of(study, space)
    trials = study.get_trials(deepcopy=False)
    parts = (
        _single(study, trials, known) if len(study.directions) == 1 else _several(study, trials)
    )
    attrs = study.user_attrs
    return {
        "name": study.study_name,
        "task": str(attrs.get(attributes.TASK, "")),
        "counts": _counts(trials),
        # The space's own record is left out, as it is long and for programs.
        "attributes": {
            k: _spelled(v) for k, v in sorted(attrs.items()) if k != attributes.SPACE_RECORD
        },
        "versions": {name: version(name) for name in _VERSIONS},
        "commands": _commands(study),
        **parts,
    }


def _single(
    study: optuna.Study, trials: Sequence[FrozenTrial], space: SearchSpace
) -> dict[str, Any]:
    """Return the part of the contents that only a study with one objective has."""
    summary = summarize(study)
    best = summary.best
    surrogate = getattr(study.sampler, "surrogate", None)
    expected = expected_best(
        trials,
        space,
        surrogate if isinstance(surrogate, MetaSurrogate) else None,
        maximize=summary.maximize,
        value_range=value_range_of(study),
    )
    rows, n_left_out = _rows(summary)
    return {
        "summary": summary,
        "metric": summary.metric,
        "direction": "larger" if summary.maximize else "smaller",
        "best": None if best is None else _row(best),
        "picture": None if best is None else picture(space, best.params, words_of(best)),
        "numbers": [] if best is None else _numbers(study, summary, best),
        "figures": figures(summary, expected),
        "findings": diagnose(summary),
        "coverage": [(level, summary.coverage(level)) for level in LEVELS],
        "correlation": None if math.isnan(summary.rank_correlation) else summary.rank_correlation,
        "choices": choices_of(study, summary.completed, space, maximize=summary.maximize),
        "value_names": [summary.metric],
        "rows": rows,
        "n_left_out": n_left_out,
        "front": [],
    }


def _several(study: optuna.Study, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Return the part of a study with several objectives: its Pareto front and trials."""
    names = study.metric_names or [f"objective {k}" for k in range(len(study.directions))]
    done = [t for t in trials if t.state == TrialState.COMPLETE and t.values is not None]
    front = {t.number for t in study.best_trials} if done else set()
    drawn = []
    if done:
        # A figure has two axes, so further objectives are in the table alone.
        values = np.array([t.values for t in done], dtype=float)[:, :2]
        drawn.append(pareto(values, [t.number in front for t in done], [str(n) for n in names]))
    best_first = sorted(done, key=lambda t: (t.number not in front, t.number))
    sides = [d.name.lower() for d in study.directions]
    return {
        "summary": None,
        "metric": ", ".join(f"{n} ({d})" for n, d in zip(names, sides, strict=True)),
        "direction": None,
        "best": None,
        "picture": None,
        "numbers": [],
        "figures": drawn,
        "findings": (),
        "coverage": [],
        "correlation": None,
        "choices": None,
        "value_names": [str(name) for name in names],
        "rows": [_row(t) for t in best_first[:_MOST_ROWS]],
        "n_left_out": max(len(done) - _MOST_ROWS, 0),
        "front": sorted(front),
    }


def _numbers(
    study: optuna.Study, summary: StudySummary, best: FrozenTrial
) -> list[tuple[str, str]]:
    """Return the answer in numbers, each with its meaning in words."""
    metric = shortened(summary.metric)
    found = [(f"{best.value:.4g}", f"validation {metric}")]
    if summary.test_value is not None:
        # What counts in the end comes first.
        words = f"test {metric}, retrained, {summary.test_words}"
        found.insert(0, (f"{summary.test_value:.4g}", words))
    for attr, words in _SIZES:
        value = number(best, attr)
        if value is not None:
            found.append((f"{value:,.0f}" if value >= 100 else f"{value:.3g}", words))
    found.append((f"{len(summary.completed):,}", "full trainings"))
    if summary.n_violating:
        found.append((f"{summary.n_violating:,}", "of them violate a constraint"))
    if summary.n_screened:
        found.append((f"{summary.n_screened:,}", "candidates screened"))
    return found


def _rows(summary: StudySummary) -> tuple[list[dict[str, Any]], int]:
    """Return the rows of at most 1,000 trials, the best ones, and how many are left out."""
    trials = list(summary.completed)
    if len(trials) > _MOST_ROWS:
        sign = -1.0 if summary.maximize else 1.0
        kept = sorted(trials, key=lambda t: sign * float(t.value or 0.0))[:_MOST_ROWS]
        # The best are kept, and they stay in the order in which they were trained.
        trials = sorted(kept, key=lambda t: t.number)
    return [_row(trial) for trial in trials], len(summary.completed) - len(trials)


def _row(trial: FrozenTrial) -> dict[str, Any]:
    """Return one row of the table of trials."""
    words = words_of(trial)
    return {
        "number": trial.number,
        "values": trial.values,
        "predicted": number(trial, attributes.PREDICTED_VALUE),
        "std": number(trial, attributes.PREDICTED_STD),
        "parameters": number(trial, attributes.PARAMETERS),
        "seconds": number(trial, attributes.TRAIN_SECONDS),
        "violates": attributes.violation(trial) > 0,
        "words": words if len(words) <= _MOST_CHARACTERS else shortened(words, _MOST_CHARACTERS),
    }


def _counts(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """Return the number of trials in each state."""
    states = {state.name.lower(): 0 for state in TrialState}
    for trial in trials:
        states[trial.state.name.lower()] += 1
    return states


def _commands(study: optuna.Study) -> list[tuple[str, str]]:
    """Return command lines for the study; none if its storage has no address."""
    address, folder = address_of(storage_of(study)), artifact_folder(study)
    if address is None:
        return []
    where = f"--storage {shlex.quote(address)} --name {shlex.quote(study.study_name)}"
    pictures = "" if folder is None else f" --artifact-dir {shlex.quote(str(folder))}"
    return [
        ("look at it", f"optuna-dashboard {shlex.quote(address)}{pictures}"),
        ("this report again", f"surrogate-nas report {where} --out report.html"),
        ("the study in short", f"surrogate-nas show {where}"),
    ]


def _spelled(value: Any) -> str:
    """Return an attribute as text without passwords; structures as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return shortened(without_passwords(text), 2000)
