"""The note of a study: its task, its state, and how to resume and reuse it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import optuna

from surrogate_nas import attributes
from surrogate_nas.files.checked_json import finite
from surrogate_nas.files.svg import printable, shortened
from surrogate_nas.results.dashboard.resume import block, resume
from surrogate_nas.results.diagnosis import diagnose
from surrogate_nas.results.expected import WORDS
from surrogate_nas.results.recorded_space import recorded_space, words_of
from surrogate_nas.results.summary import StudySummary
from surrogate_nas.space import distributions
from surrogate_nas.storage.opening import address_of
from surrogate_nas.storage.optuna_private import storage_of
from surrogate_nas.storage.passwords import without_passwords

BEGIN, END = "[//]: # (surrogate_nas)", "[//]: # (end of surrogate_nas)"
"""Lines around our part of a note; text that people write before or after it is kept. Markdown
takes these lines for link definitions and shows nothing. optuna-dashboard would show a comment."""

_MARK = "[//]:"
"""Beginning of both lines."""
_OURS = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
_MOST_META_FEATURES = 30
_STROKE = re.compile(r"(\\*)\|")
"""A stroke, with the backslashes before it."""


def merged(existing: str, ours: str) -> str:
    """Return a note with our part replaced, or put below the text of others."""
    # NOTE: a name may contain one of these lines, and our part would end there the next time.
    inner = ours.strip().replace(_MARK, "[//] :")
    marked = f"{BEGIN}\n\n{inner}\n\n{END}"
    if _OURS.search(existing):
        # NOTE: as a function. In a text, backslashes would be read as references to groups.
        return _OURS.sub(lambda _: marked, existing, count=1)
    return f"{existing.rstrip()}\n\n{marked}" if existing.strip() else marked


def note(study: optuna.Study, summary: StudySummary | None) -> str:
    """Return our part of a study's note, as Markdown.

    Args:
        study: The study.
        summary: The study in numbers; None with several objectives.
    """
    attrs = study.user_attrs
    task = str(attrs.get(attributes.TASK, ""))
    title = f"Search on {code(task)}" if task else f"Study {code(study.study_name)}"
    parts = [f"## {title}"]
    if summary is None:
        parts.append("Several objectives: *Pareto front* above shows the best trade-offs.")
    else:
        parts += [_state(study, summary), *_worth(summary), *_warnings(summary)]
    parts += [_about(study, summary), *_meta_features(attrs.get(attributes.META_FEATURES))]
    return "\n\n".join([*parts, *_labels(study), resume(study), _reuse(study)])


def code(words: str, most: int = 200) -> str:
    """Return words as Markdown code, whatever characters they contain."""
    # NOTE: code ends at a run of backticks as long as the one that began it, so the words'
    # longest run is exceeded by one.
    words = printable(shortened(without_passwords(words), most))
    ticks = "`" * (1 + max((len(run) for run in re.findall("`+", words)), default=0))
    pad = " " if words.startswith("`") or words.endswith("`") else ""
    return f"{ticks}{pad}{words}{pad}{ticks}" if words else "(nothing)"


def _state(study: optuna.Study, summary: StudySummary) -> str:
    """Return the best result so far, or how the trials have failed."""
    best = summary.best
    if best is None and summary.completed:
        return (
            f"None of {len(summary.completed)} completed trials keeps all constraints; "
            f"{summary.n_failed} failed, {summary.n_pruned} pruned."
        )
    if best is None:
        return (
            f"No completed trial yet; {summary.n_failed} failed, {summary.n_pruned} pruned. Each "
            "trial's attribute `stop_reason` says why."
        )
    lines = [
        f"**Best so far:** trial {best.number}, {code(summary.metric)} **{best.value:.4g}** "
        f"after {len(summary.completed)} trainings",
        f"**Architecture:** {code(words_of(best), 600)}",
    ]
    if summary.n_violating:
        lines.append(
            f"**Constraints:** {summary.n_violating} of {len(summary.completed)} completed trials "
            "violate one; they count at most as the worst of the others."
        )
    if summary.test_value is not None:
        said = f"{summary.test_value:.4g} ({summary.test_words})"
        lines.append(f"**Test value of the final network:** {said}")
    # Two spaces at its end break a line in Markdown.
    return "  \n".join(lines)


def _worth(summary: StudySummary) -> list[str]:
    """Return sentences on how well the surrogate ranks and how much it has screened."""
    lines = []
    rho = summary.rank_correlation
    if not math.isnan(rho):
        covered = ", ".join(
            f"{summary.coverage(level):.0%} in their {level:.0%} interval" for level in (0.5, 0.8)
        )
        lines.append(
            f"Surrogate: rank correlation {rho:+.2f} of predicted and measured over "
            f"{len(summary.predicted)} trainings; results {covered}."
        )
    if len(summary.completed) > 1:
        lines.append(f"*Best found:* {WORDS}")
    if summary.n_screened:
        lines.append(
            f"Screened {summary.n_screened:,} candidates; turned away {summary.n_duplicates:,} "
            f"equivalent to earlier ones and {summary.n_infeasible:,} beyond a limit."
        )
    return lines


def _warnings(summary: StudySummary) -> list[str]:
    """Return a quoted line for each finding against the surrogate."""
    return [f"> **Where the surrogate does not help.** {finding}" for finding in diagnose(summary)]


def _about(study: optuna.Study, summary: StudySummary | None) -> str:
    """Return a table of the study's metric, space, surrogate and versions."""
    attrs = study.user_attrs
    metric = str(attrs.get(attributes.METRIC, "value"))
    better = (
        "" if summary is None else f" ({'larger' if summary.maximize else 'smaller'} is better)"
    )
    rows = [
        ("metric", code(metric) + better),
        ("search space", code(str(attrs.get(attributes.SPACE, "not recorded")))),
        ("surrogate", code(str(attrs.get(attributes.SURROGATE, "not recorded")))),
        ("made with", f"surrogate-nas {version('surrogate-nas')}, optuna {version('optuna')}"),
    ]
    return _table(("", ""), rows)


def _meta_features(found: Any) -> list[str]:
    """Return a table of the task's meta-features, if the study has recorded any."""
    if not isinstance(found, dict):
        return []
    known = {str(name): finite(value) for name, value in found.items()}
    rows = [(code(n, 60), f"{v:.4g}") for n, v in known.items() if v is not None]
    rows = rows[:_MOST_META_FEATURES]
    return ["### Meta-features of the task", _table(("name", "value"), rows)] if rows else []


def _labels(study: optuna.Study) -> list[str]:
    """Return a table of what a ready space's parameters are, in plain words."""
    # NOTE: optuna-dashboard shows parameters by their stored names alone, and a stored name that
    # changed would part a study from its earlier trials.
    space = recorded_space(study)
    if space is None:
        return []
    labels = {name: space.label(name) for name in distributions(space)}
    rows = [(code(name, 60), printable(label)) for name, label in labels.items() if label != name]
    return ["### Parameters", _table(("name", "what it is"), rows)] if rows else []


def _reuse(study: optuna.Study) -> str:
    """Return the lines of Python that start the next study from this one."""
    address = address_of(storage_of(study))
    return (
        "### Reuse for the next data set\n\nThis study is a past task of its space:\n\n"
        + block(
            f"past = sn.read_history({address or '...'!r}, space=space)",
            "surrogate = sn.MetaSurrogate.fit(space, past, seed=0)",
            "study = sn.create_study(next_task, space, surrogate=surrogate)",
        )
    )


def _table(head: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    """Return a Markdown table of two columns."""
    lines = [f"| {head[0]} | {head[1]} |", "|---|---|"]
    lines += [f"| {_cell(left)} | {_cell(right)} |" for left, right in rows]
    return "\n".join(lines)


def _cell(words: str) -> str:
    """Return words that cannot leave their cell of a table."""
    # NOTE: of a run of backslashes each pair stands for one, so a stroke stays within its cell
    # behind an odd number of them.
    return _STROKE.sub(r"\1\1\\|", words).replace("\n", " ")
