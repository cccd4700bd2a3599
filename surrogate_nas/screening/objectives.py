"""Comparing evaluated architectures that have several objectives or constraints.

Notation: values (n, o) of n architectures in o objectives, larger is better in each.
"""

from __future__ import annotations

import numpy as np

from surrogate_nas.arrays import BoolArray, FloatArray, IndexArray


def non_dominated(values: FloatArray) -> BoolArray:
    """Return which rows no other row dominates, (n,).

    A row dominates another one if it is at least as good in each objective and better in one.
    Equal rows do not dominate each other.

    Args:
        values: Objectives, (n, o), larger is better.
    """
    kept = np.zeros(len(values), dtype=bool)
    # NOTE: in descending lexicographic order a row comes after every row that dominates it, so one
    # pass that compares with the rows kept so far is enough.
    for i in np.lexsort(-values.T[::-1]):
        front = values[kept]
        at_least = (front >= values[i]).all(axis=1)
        better = (front > values[i]).any(axis=1)
        kept[i] = not (at_least & better).any()
    return kept


def best_rows(values: FloatArray, violations: FloatArray, n: int) -> IndexArray:
    """Return the n best rows, best first; fewer if there are fewer.

    Feasible rows come first, then the others in order of their total violation (the rules of Deb
    2000, "An efficient constraint handling method for genetic algorithms"). Among equals the value
    decides. With several objectives the number of the front
    decides: the non-dominated rows first, then the rows that are non-dominated without these.
    Earlier rows come first among rows that are still equal.

    Args:
        values: Objectives, (n, o), larger is better.
        violations: Amounts by which constraints are violated, (n, c); 0 or less is feasible.
        n: Number of rows wanted.
    """
    total = np.maximum(violations, 0.0).sum(axis=1)
    if values.shape[1] == 1:
        return np.lexsort((-values[:, 0], total))[:n]
    found: list[int] = []
    for amount in np.unique(total):
        left = np.flatnonzero(total == amount)
        while len(left) and len(found) < n:
            front = non_dominated(values[left])
            found += left[front].tolist()
            left = left[~front]
    return np.array(found[:n], dtype=np.intp)
