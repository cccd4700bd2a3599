"""Checks of a table's values: which way is better, mixed units, rows that disagree."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from surrogate_nas.errors import PastTaskError

Direction = Literal["minimize", "maximize"]
Duplicates = Literal["refuse", "mean"]
Check: TypeAlias = Literal["direction", "mixed_units"]

CHECKS: tuple[Check, ...] = ("direction", "mixed_units")

# fmt: off
_LARGER = frozenset({
    "acc", "accuracy", "auc", "auroc", "auprc", "ap", "map", "f1", "r2", "iou", "miou", "dice",
    "jaccard", "bleu", "rouge", "meteor", "ndcg", "mrr", "recall", "precision", "sensitivity",
    "specificity", "psnr", "ssim", "mcc", "kappa", "spearman", "pearson", "kendall",
    "correlation", "throughput", "reward", "likelihood",
})
_SMALLER = frozenset({
    "loss", "logloss", "error", "errors", "err", "rmse", "mse", "mae", "mape", "msle", "nll",
    "perplexity", "ppl", "entropy", "crossentropy", "wer", "cer", "fid", "brier", "regret",
    "latency", "time", "seconds", "duration", "flops", "macs",
})
# fmt: on
_NEGATED = frozenset({"neg", "negative", "negated", "minus"})
_ERRORS = frozenset({"error", "errors", "err", "wer", "cer"})

_MARGIN = 0.25
"""Margin around the percentages' range, as a share of it."""
_UNKNOWN_RANGE = 20.0
"""Further margin for a single percentage, in percent. It falls with their number."""
_SAME_LEVEL = 0.15
"""Range of scaled fractions that count as equal, as a share of the percentages' range."""
_GAP = 5.0
"""Factor between the largest fraction and the smallest percentage."""


def better(name: str) -> Direction | None:
    """Return which way is better by the name of a metric, or None where the name does not say.

    Words count as a whole ("val_accuracy", "valAcc", "top-1 error"). The word "score" counts only
    where no other word does, and "neg" turns the direction round.

    Args:
        name: Name of the metric.
    """
    words = _words(name)
    larger, smaller = bool(words & _LARGER), bool(words & _SMALLER)
    if not larger and not smaller:
        larger = "score" in words
    # Words of both kinds cancel each other.
    if larger == smaller:
        return None
    # A negated loss is to be maximized, a negated score minimized.
    return "maximize" if larger != bool(words & _NEGATED) else "minimize"


def resolve_direction(
    given: Direction | None, column: str, source: str, allow: Collection[str]
) -> Direction:
    """Return which way is better: as given, or by the name of the column of values.

    Args:
        given: The direction that the caller gave, or None.
        column: Name of the column.
        source: Name of the table.
        allow: Checks to leave out.

    Raises:
        PastTaskError: Neither says so, or they contradict each other and that is not allowed.
    """
    named = better(column)
    if given not in (None, "minimize", "maximize"):
        raise PastTaskError(
            expected="direction 'minimize' or 'maximize'",
            got=f"{given!r}",
            fix="say which way the value is better",
        )
    direction = given or named
    if direction is None:
        raise PastTaskError(
            expected=f"to know which way column {column!r} of {source} is better",
            got="no direction, and a name that does not say",
            fix="pass direction='maximize' or direction='minimize'",
        )
    if given is not None and named is not None and given != named and "direction" not in allow:
        raise PastTaskError(
            expected=f"direction {named!r} for column {column!r} of {source}, by its name",
            got=f"direction {given!r}",
            fix=f"pass direction={named!r}; if the name misleads, rename the column or pass "
            "allow=('direction',)",
        )
    return direction


def check_units(
    values: Sequence[float],
    places: Sequence[str],
    column: str,
    direction: Direction,
    allow: Collection[str],
) -> None:
    """Refuse fractions beside percentages: 0.91 among 88.2 and 93.0.

    Units look mixed where every value lies in [0, 100], and a gap divides the values below 1 from
    the rest. A hundred times the former would also lie among most of the latter. A few low values
    that hardly differ do not count: networks that learned nothing reach them, in percent. Losses
    have neither unit.

    Args:
        values: The values of one task, (n,).
        places: Place of each in the table, n texts.
        column: Name of their column.
        direction: Which way is better.
        allow: Checks to leave out.

    Raises:
        PastTaskError: The units look mixed.
    """
    if "mixed_units" in allow or (direction == "minimize" and not _words(column) & _ERRORS):
        return
    found = np.asarray(values, dtype=float)
    low, high = (found > 0) & (found < 1), found > 1
    if not low.any() or not high.any() or found.min() < 0 or found.max() > 100:
        return
    scaled, rest = 100 * found[low], found[high]
    # NOTE: quantiles, because single networks that did not learn lie far below the others.
    bottom, top = np.quantile(rest, (0.1, 0.9))
    # NOTE: few percentages hardly show their range, so the margin is wider for them.
    margin = _MARGIN * (top - bottom) + _UNKNOWN_RANGE / len(rest)
    among = bottom - margin <= np.median(scaled) <= top + margin
    apart = rest.min() >= _GAP * found[low].max() and scaled.max() <= 100
    most = np.unique(scaled, return_counts=True)[1].max()
    alike = most > len(scaled) / 2 or np.ptp(scaled) <= _SAME_LEVEL * (top - bottom)
    same = alike and 2 < len(scaled) < len(rest) / 3
    if among and apart and not same:
        first_low, first_high = int(np.argmax(low)), int(np.argmax(high))
        raise PastTaskError(
            expected=f"values of one unit in column {column!r}",
            got=f"fractions beside percentages: {found[first_low]:g} in {places[first_low]} and "
            f"{found[first_high]:g} in {places[first_high]}",
            fix=f"multiply the {int(low.sum())} fraction(s) by 100, or pass "
            "allow=('mixed_units',) if they are right",
        )


def merge_rows(
    keys: Sequence[Hashable],
    values: Sequence[float],
    places: Sequence[str],
    duplicates: Duplicates,
) -> tuple[list[int], list[float], str | None]:
    """Merge the rows of each architecture to one.

    Args:
        keys: Key of each row's architecture, (n,).
        values: Value of each row, (n,).
        places: Place of each row in the table, n texts.
        duplicates: Treatment of rows of one architecture that disagree.

    Returns:
        Index of the first row of each architecture, its value, and a note on the rows that were
        merged, or None without any.

    Raises:
        PastTaskError: Rows disagree, and are not to be averaged.
    """
    groups: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        groups.setdefault(key, []).append(row)
    averaged = 0
    for rows in groups.values():
        other = next((row for row in rows if values[row] != values[rows[0]]), None)
        if other is None:
            continue
        averaged += 1
        if duplicates == "refuse":
            raise PastTaskError(
                expected="equal values where all parameters are equal",
                got=f"{values[rows[0]]:g} in {places[rows[0]]} and {values[other]:g} in "
                f"{places[other]}",
                fix="correct the rows; for repeated trainings pass duplicates='mean'; a column "
                "that tells them apart may be missing",
            )
    first = [rows[0] for rows in groups.values()]
    means = [
        values[rows[0]] if len(rows) == 1 else _mean([values[row] for row in rows])
        for rows in groups.values()
    ]
    note = None
    if len(first) < len(keys):
        how = f", {averaged} of them by averaging different values" if averaged else ""
        note = f"Merged {len(keys)} rows to {len(first)} architectures{how}."
    return first, means, note


def check_options(duplicates: Any, allow: Collection[str]) -> None:
    """Refuse options that do not exist.

    Raises:
        PastTaskError: `duplicates` or `allow` is unknown.
    """
    if duplicates not in ("refuse", "mean"):
        raise PastTaskError(
            expected="duplicates 'refuse' or 'mean'", got=f"{duplicates!r}", fix="pass one of them"
        )
    unknown = sorted(set(allow) - set(CHECKS))
    if isinstance(allow, str) or unknown:
        raise PastTaskError(
            expected=f"allow as a tuple of names among {CHECKS}",
            got=f"{allow!r}",
            fix="name the checks to leave out, for example allow=('direction',)",
        )


def _mean(values: Sequence[float]) -> float:
    """Return the mean of values. Equal values are returned unchanged, without rounding."""
    return values[0] if len(set(values)) == 1 else float(np.mean(values))


def _words(name: str) -> frozenset[str]:
    """Return the words of a name in lower case, split at capitals and at all but letters."""
    chunks = re.findall(r"[^\W_]+", name)
    humps = [hump for chunk in chunks for hump in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", chunk)]
    return frozenset(word.lower() for word in [*chunks, *humps])
