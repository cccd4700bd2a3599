"""How similar past tasks are to a target by their meta-features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
MetaFeatures = Mapping[str, float]

_WIDTH = 0.5
"""Distance at which a past task's weight has fallen to e^(-1/2), as a share of the median
distance."""


def similarity(
    target: MetaFeatures | None, tasks: Sequence[MetaFeatures | None]
) -> FloatArray | None:
    """Return the weight of each of K past tasks for a target, (K,), summing to 1.

    Meta-features are in units of their spread over the past tasks. A task's distance is the root
    of the mean square over the features that are known of both. Its weight falls with the distance
    as a Gaussian (similarity by meta-features: Brazdil, Soares & da Costa 2003; Feurer,
    Springenberg & Hutter 2015). A past task without known features is taken to be at the median
    distance.

    Args:
        target: Numbers that describe the target, by name; NaN where unknown.
        tasks: Numbers that describe each of K past tasks, by the same names.

    Returns:
        The task weights, or None where the target has no feature that tells past tasks apart.
    """
    target = target or {}
    names = [name for name in sorted(target) if np.isfinite(target[name])]
    table = np.array([[(task or {}).get(name, np.nan) for name in names] for task in tasks])
    table = np.where(np.isfinite(table), table, np.nan).reshape(len(tasks), len(names))
    known = [column for column in range(len(names)) if _tells_apart(table[:, column])]
    if not known:
        return None
    table, here = table[:, known], np.array([target[names[column]] for column in known])
    apart = (table - here) / np.nanstd(table, axis=0)
    counts = np.isfinite(apart).sum(axis=1)
    squares = np.nansum(apart**2, axis=1) / np.maximum(counts, 1)
    squares[counts == 0] = np.median(squares[counts > 0])
    width = _WIDTH**2 * max(float(np.median(squares)), 1e-12)
    # NOTE: relative to the most similar task, so that not all weights vanish at once.
    weights = np.exp((squares.min() - squares) / (2 * width))
    return np.asarray(weights / weights.sum())


def _tells_apart(column: FloatArray) -> bool:
    """Whether a feature (K,) is known of two past tasks or more, and differs."""
    known = column[np.isfinite(column)]
    return len(known) > 1 and bool(known.std() > 1e-12 * max(np.abs(known).max(), 1e-300))
