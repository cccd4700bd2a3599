"""Rows -> splits: stratified by class, kept together by group, or in order of time.

Shared by domains. Notation: n rows; parts are "train", "val" and "test".
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from surrogate_nas.arrays import Array, IntArray
from surrogate_nas.domains.given import as_array, enumerated
from surrogate_nas.errors import TaskError

_MISSING = frozenset({"NAType", "NaTType"})
"""Classes of pandas' missing values."""


@final
@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """How rows become splits.

    Args:
        strata: Classes (n,) as whole numbers from 0, whose shares each part keeps; None for none.
        names: Names of the classes, for messages.
        groups: Groups (n,), such as patients. All rows of a group come into one part.
        times: Times (n,), numbers or dates. The latest rows become the test split, and those
            before them the validation split.
        seed: Seed of the draw.
    """

    strata: IntArray | None = None
    names: Sequence[str] = ()
    groups: Any = None
    times: Any = None
    seed: int = 0


def split_rows(n: int, shares: Mapping[str, float], rule: SplitRule) -> dict[str, IntArray]:
    """Return the row numbers of each part; rows without another part are "train".

    The same rows and rule give the same parts.

    Args:
        n: Number of rows.
        shares: Share of all rows that each part but "train" gets, in the order val, test.
        rule: How they are chosen.

    Raises:
        TaskError: The shares, groups or times are unusable, or leave a part or a class of the
            training split without rows.
    """
    if not all(0 < share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        raise TaskError(
            expected="shares between 0 and 1 that leave rows for training",
            got=", ".join(f"{part} share {share}" for part, share in shares.items()),
            fix="write for example validation_share=0.2, test_share=0.2",
        )
    if not shares:
        return {"train": np.arange(n)}
    groups = None if rule.groups is None else _codes(rule.groups, n)
    if rule.times is not None:
        parts = _by_time(_ranks(rule.times, n), groups, shares)
    elif groups is not None:
        parts = _by_group(groups, rule.strata, shares, rule.seed)
    elif rule.strata is not None:
        return _stratified(rule.strata, shares, rule.names, rule.seed)
    else:
        parts = _at_random(n, shares, rule.seed)
    _require_rows(parts, rule)
    return parts


def _stratified(
    strata: IntArray, shares: Mapping[str, float], names: Sequence[str], seed: int
) -> dict[str, IntArray]:
    """Return parts in which each class has its share."""
    from sklearn.model_selection import train_test_split

    rows = {"train": np.arange(len(strata))}
    for part, share in shares.items():
        rest = rows["train"]
        # Of all rows, and not of what the part before has left over.
        size = math.ceil(share * len(strata))
        # NOTE: scikit-learn's errors about rare classes name no class, so these come first.
        can_be_split = min(size, len(rest) - size) >= len(names)
        if not can_be_split or np.bincount(strata[rest], minlength=len(names)).min() < 2:
            raise _too_few_rows(strata, names, len(shares) + 1)
        rows["train"], rows[part] = train_test_split(
            rest, test_size=size, stratify=strata[rest], random_state=seed
        )
    # Stratification rounds to whole rows, so a rare class may still miss in a part.
    if any(len(np.unique(strata[taken])) < len(names) for taken in rows.values()):
        raise _too_few_rows(strata, names, len(shares) + 1)
    return rows


def _too_few_rows(strata: IntArray, names: Sequence[str], n_parts: int) -> TaskError:
    """Return the error that names the rarest class."""
    counts = np.bincount(strata, minlength=len(names))
    rarest = int(counts.argmin())
    return TaskError(
        expected=f"enough rows of every class to be in each of the {n_parts} splits",
        got=f"{counts[rarest]} rows of class {names[rarest]!r}, of {len(strata)} in all",
        fix="add rows of this class, drop it, or give larger shares or splits of your own",
    )


def _at_random(n: int, shares: Mapping[str, float], seed: int) -> dict[str, IntArray]:
    """Return parts of random rows."""
    order = np.random.default_rng(seed).permutation(n)
    parts, start = {}, 0
    for part, share in shares.items():
        size = math.ceil(share * n)
        parts[part] = np.sort(order[start : start + size])
        start += size
    return {"train": np.sort(order[start:]), **parts}


def _by_group(
    groups: IntArray, strata: IntArray | None, shares: Mapping[str, float], seed: int
) -> dict[str, IntArray]:
    """Return parts of whole groups, in which each class has about its share.

    The largest groups are placed first, each where the counts come closest to the wanted ones.
    """
    classes = np.zeros(len(groups), dtype=np.int64) if strata is None else strata
    counts = np.zeros((groups.max() + 1, classes.max() + 1))
    np.add.at(counts, (groups, classes), 1)
    totals = counts.sum(axis=0)
    wanted = np.array([1 - sum(shares.values()), *shares.values()])[:, None] * totals
    # NOTE: in units of the class's size, so that rare classes count as much as common ones.
    scale = 1 / np.maximum(totals, 1)
    placed, of_group = np.zeros_like(wanted), np.empty(len(counts), dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(counts))
    for group in order[np.argsort(-counts[order].sum(axis=1), kind="stable")]:
        after = (placed + counts[group] - wanted) * scale
        before = (placed - wanted) * scale
        # The part whose distance from its wanted counts shrinks most, or grows least.
        best = int(((after**2).sum(axis=1) - (before**2).sum(axis=1)).argmin())
        placed[best] += counts[group]
        of_group[group] = best
    chosen = of_group[groups]
    return {part: np.flatnonzero(chosen == k) for k, part in enumerate(("train", *shares))}


def _by_time(
    ranks: IntArray, groups: IntArray | None, shares: Mapping[str, float]
) -> dict[str, IntArray]:
    """Return parts in order of time. Rows of one time, or of one group, stay together."""
    if groups is not None:
        # NOTE: a group counts as its latest row, so that nothing of it is known before its time.
        latest = np.zeros(groups.max() + 1, dtype=np.int64)
        np.maximum.at(latest, groups, ranks)
        ranks = latest[groups]
    n = len(ranks)
    ordered = np.sort(ranks)
    starts, end = {}, n
    # The test split is the latest, so the parts are cut off from the end.
    for part, share in reversed(list(shares.items())):
        end -= math.ceil(share * n)
        starts[part] = ordered[max(end, 0)]
    parts, rest = {}, np.ones(n, dtype=bool)
    for part, start in starts.items():
        taken = rest & (ranks >= start)
        parts[part] = np.flatnonzero(taken)
        rest &= ~taken
    return {"train": np.flatnonzero(rest), **parts}


def _require_rows(parts: Mapping[str, IntArray], rule: SplitRule) -> None:
    """Refuse parts without rows, and a training split that lacks a class."""
    how = "groups" if rule.times is None else "times"
    empty = [part for part, rows in parts.items() if not len(rows)]
    if empty:
        raise TaskError(
            expected=f"enough {how} for each of the {len(parts)} splits",
            got=f"no rows for {enumerated(empty)}",
            fix="give larger shares, finer values, or splits of your own",
        )
    if rule.strata is None:
        return
    absent = sorted(set(rule.strata.tolist()) - set(rule.strata[parts["train"]].tolist()))
    if absent:
        raise TaskError(
            expected="rows of every class in the training split",
            got=f"none of {enumerated([repr(rule.names[k]) for k in absent])}, by these {how}",
            fix="drop these classes, give other shares, or splits of your own",
        )


def _codes(groups: Any, n: int) -> IntArray:
    """Return groups as whole numbers from 0, (n,)."""
    values = _vector(groups, "groups", n)
    # NOTE: as text, because one group may be written as a number and the next as a name.
    keys = [str(value) for value in values.tolist()] if values.dtype == object else values
    codes: IntArray = np.unique(keys, return_inverse=True)[1]
    if codes.max() == 0:
        raise TaskError(
            expected="at least two groups",
            got=f"only {str(values[0])!r}",
            fix="leave groups out, or check how they were read",
        )
    return codes


def _ranks(times: Any, n: int) -> IntArray:
    """Return times as whole numbers in their order, (n,); equal times are equal.

    Raises:
        TaskError: They are neither numbers nor dates.
    """
    values = _vector(times, "times", n)
    if values.dtype.kind in "OU":
        values = _dates(values)
    if values.dtype.kind not in "iufM":
        raise TaskError(
            expected="times as numbers, or as dates such as 2024-12-31",
            got=f"an array of type {values.dtype}",
            fix="convert them, for example by numpy.array(times, dtype='datetime64[s]')",
        )
    return np.asarray(np.unique(values, return_inverse=True)[1])


def _dates(values: Array) -> Array:
    """Return texts and objects as numbers if all of them are, else as dates."""
    try:
        return values.astype(np.float64)
    except (TypeError, ValueError):
        pass
    try:
        return values.astype("datetime64[us]")
    except (TypeError, ValueError) as error:
        raise TaskError(
            expected="times as numbers, or as dates such as 2024-12-31 or 2024-12-31T23:59",
            got=f"{error}",
            fix="write them in one of these forms",
        ) from error


def _vector(values: Any, what: str, n: int) -> Array:
    """Return a value for each row, (n,), none of them missing."""
    array = as_array(values, what)
    if array.shape != (n,):
        raise TaskError(
            expected=f"{what} of shape ({n},), one for each row",
            got=f"shape {array.shape}",
            fix=f"give each row its value in {what}",
        )
    if array.dtype.kind == "M":
        bad = np.isnat(array)
    else:
        bad = np.array([_is_missing(value) for value in array.tolist()])
    if bad.any():
        raise TaskError(
            expected=f"a value for each row in {what}",
            got=f"{int(bad.sum())} missing, the first at index {int(bad.argmax())}",
            fix="drop these rows, or fill in their values",
        )
    return array


def _is_missing(value: Any) -> bool:
    is_nan = isinstance(value, float) and value != value
    return value is None or is_nan or value == "" or type(value).__name__ in _MISSING
