"""A surrogate's basis functions and hypotheses <-> their fields in a file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from surrogate_nas.arrays import FloatArray
from surrogate_nas.files.checked_json import damaged, read_list, read_number, read_text
from surrogate_nas.surrogate.file.tree_text import (
    Tree,
    make_booster,
    reach,
    read_trees,
    write_trees,
)
from surrogate_nas.surrogate.model.basis import PastBasis
from surrogate_nas.surrogate.model.hypotheses import MEAN, NOTHING, ONE, SIMILAR, Hypotheses

FIELDS = ("boosters", "shift", "spread", "loadings", "hypotheses", "log_prior")
"""Names of the fields in a file."""

_MOST_BOOSTERS = 64
_MOST_REACH = 1e6
"""Largest prior variance of a past task's prediction, in squared standard deviations. Fitted ones
reach some ten deviations. Beyond a thousand, rounding would leave the posterior's covariance not
definite."""
_SCHEMA_OF_KERNELS = 3
_MOST_HYPOTHESES = 1_000
_RANGES = {
    "weight": (0.0, 2.0),
    "residual": (0.0, 10.0),
    "length": (1e-2, 100.0),
    "traits": (0.0, 1.0),
    "noise": (1e-2, 10.0),
}
"""Least and largest number of each field of a hypothesis."""


def write_basis(basis: PastBasis, n_columns: int) -> dict[str, Any]:
    """Return the fields of a basis, as JSON has them.

    Args:
        basis: The basis.
        n_columns: Columns of the rows that its boosters were fitted to.
    """
    trees = [read_trees(booster.model_to_string(), n_columns) for booster in basis.boosters]
    return {
        "boosters": [write_trees(one, n_columns) for one in trees],
        "shift": basis.shift.tolist(),
        "spread": basis.spread.tolist(),
        "loadings": basis.loadings.tolist(),
        "hypotheses": basis.hypotheses.rows().tolist(),
        "log_prior": basis.log_prior.tolist(),
    }


def read_basis(file: Mapping[str, Any], n_tasks: int, n_columns: int) -> PastBasis:
    """Return the basis from the fields that :func:`write_basis` wrote.

    Args:
        file: The fields of a file.
        n_tasks: Number of past tasks in the file.
        n_columns: Columns of the rows that the boosters were fitted to.

    Raises:
        RecordError: A field is damaged.
    """
    texts = read_list(file["boosters"], "boosters", _MOST_BOOSTERS)
    if (len(texts) > 0) != (n_tasks > 0):
        raise damaged("boosters just where there are past tasks", f"{len(texts)} boosters")
    r = len(texts)
    hypotheses = _hypotheses(file["hypotheses"], file["schema"], with_basis=r > 0)
    trees = [read_trees(read_text(text, "a booster"), n_columns) for text in texts]
    shift = _vector(file["shift"], "shift", r, -1e6, 1e6)
    spread = _vector(file["spread"], "spread", r, 1e-9, 1e6)
    rows = read_list(file["loadings"], "loadings", n_tasks, least=n_tasks)
    # NOTE: the order of a sum, hence its last bit, depends on the layout in memory. Compressed
    # past tasks are fitted in this layout, so they are read in it.
    loadings = np.zeros((n_tasks, r), order="F")
    for index, row in enumerate(rows):
        loadings[index] = _vector(row, "loadings", r, -1e3, 1e3)
    log_prior = _vector(file["log_prior"], "log_prior", len(hypotheses), -1e3, 1e3)
    _check_reach(trees, shift, spread, loadings)
    boosters = tuple(make_booster(one, n_columns) for one in trees)
    return PastBasis(boosters, shift, spread, loadings, hypotheses, log_prior)


def _hypotheses(value: Any, schema: int, *, with_basis: bool) -> Hypotheses:
    """Return the grid, each number within bounds that keep covariances definite.

    Args:
        value: One row a hypothesis.
        schema: Schema of the file.
        with_basis: Whether there are past tasks.
    """
    width = len(fields(Hypotheses))
    rows = []
    for item in read_list(value, "hypotheses", _MOST_HYPOTHESES, least=1):
        row = list(read_list(item, "a hypothesis", width))
        if schema < _SCHEMA_OF_KERNELS:
            # NOTE: older hypotheses have neither traits nor leaves, which stand behind the length.
            row = [*row[:4], 0.0, 0.0, *row[4:]]
        rows.append(_vector(row, "a hypothesis", width, 0.0, 1e3))
    hypotheses = Hypotheses.from_rows(np.array(rows))
    kinds = (NOTHING, MEAN, ONE, SIMILAR) if with_basis else (NOTHING,)
    if not np.isin(hypotheses.transfer, kinds).all():
        raise damaged(f"hypotheses of transfer {kinds}", "others")
    if not np.isin(hypotheses.leaves, (0.0, 1.0) if with_basis else (0.0,)).all():
        raise damaged("hypotheses with leaves of 0 or 1, and of 1 beside past tasks", "others")
    for name, (low, high) in _RANGES.items():
        numbers = getattr(hypotheses, name)
        if not ((numbers >= low) & (numbers <= high)).all():
            raise damaged(f"hypotheses of {name} from {low:g} to {high:g}", "others")
    return hypotheses


def _vector(value: Any, where: str, n: int, low: float, high: float) -> FloatArray:
    """Return n numbers within bounds, (n,)."""
    items = read_list(value, where, n, least=n)
    return np.array([read_number(item, where, low, high) for item in items], dtype=float)


def _check_reach(
    trees: Sequence[tuple[Tree, ...]], shift: FloatArray, spread: FloatArray, loadings: FloatArray
) -> None:
    """Refuse basis functions so large that no posterior could be computed with them."""
    # NOTE: whatever the row, a booster predicts no more than the sum of its largest leaves.
    furthest = (np.array([reach(one) for one in trees]) + np.abs(shift)) / spread
    variance = float((loadings**2).sum(axis=0) @ furthest**2) / max(len(loadings), 1)
    if variance > _MOST_REACH:
        got = f"{math.sqrt(variance):.3g} standard deviations"
        raise damaged(f"predictions within {math.sqrt(_MOST_REACH):g} standard deviations", got)
