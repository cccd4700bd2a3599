"""Boosted trees on rank-normalized values, and what their leaves have in common; arrays only.

Notation: n architectures, d columns of their encoding, NaN where inactive. Values y (n,) are
larger for better ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

if TYPE_CHECKING:
    import lightgbm

FloatArray = npt.NDArray[np.float64]
LeafArray = npt.NDArray[np.int16]


def average_ranks(y: FloatArray) -> FloatArray:
    """Return the rank of each value from 1, equal values sharing their mean rank, (n,) -> (n,)."""
    _, group, sizes = np.unique(y, return_inverse=True, return_counts=True)
    ranks: FloatArray = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    return ranks


def normal_scores(y: FloatArray) -> FloatArray:
    """Replace values by the normal quantiles of their ranks, ties averaged, (n,) -> (n,).

    The order of architectures carries over between tasks, the scale of their values does not
    (Salinas et al. 2020, "A quantile-based approach for hyperparameter transfer learning").
    """
    return np.asarray(ndtri((average_ranks(y) - 0.5) / len(y)), dtype=float)


def rank_correlation(a: FloatArray, b: FloatArray) -> float:
    """Return Spearman's rho of two arrays (n,), or 0 where one is constant and ranks nothing."""
    ranks = average_ranks(a), average_ranks(b)
    deviations = [r - r.mean() for r in ranks]
    size = float(np.sqrt((deviations[0] ** 2).sum() * (deviations[1] ** 2).sum()))
    return float(np.clip(deviations[0] @ deviations[1] / size, -1.0, 1.0)) if size else 0.0


def fit_trees(x: FloatArray, y: FloatArray, seed: int) -> lightgbm.Booster:
    """Fit boosted trees by squared error, single-threaded and reproducible.

    Args:
        x: Encoded architectures, (n, d).
        y: Targets, (n,).
        seed: Seed of the subsampling of rows and columns.
    """
    # NOTE: LightGBM takes as long to import as PyTorch, and most processes fit no trees.
    import lightgbm

    n = len(y)
    # NOTE: few results bear few leaves. Leaves of fewer than a thirtieth of them fit noise.
    params = {
        "objective": "regression",
        "num_leaves": 16 if n >= 60 else 8,
        "learning_rate": 0.14,
        "min_data_in_leaf": int(np.clip(n // 30, 2, 20)),
        "feature_fraction": 0.7,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "lambda_l2": 1.0,
        # One thread, a fixed order of rows and a seed: the same trees bit for bit.
        "num_threads": 1,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "feature_pre_filter": False,
        "verbosity": -1,
    }
    data = lightgbm.Dataset(x, label=y, params={"verbosity": -1, "min_data_in_bin": 1})
    return lightgbm.train(params, data, num_boost_round=60)


def predict_trees(booster: lightgbm.Booster, x: FloatArray) -> FloatArray:
    """Return predictions for rows (n, d), (n,)."""
    # NOTE: one thread, because on few rows more threads only wait for each other.
    return np.asarray(booster.predict(x, num_threads=1), dtype=float)


def leaf_numbers(models: Sequence[lightgbm.Booster], x: FloatArray, most: int) -> LeafArray:
    """Return the leaf that each row falls into, in the first trees of each of r models, (n, t).

    Args:
        models: The models. Without any there are no trees, and t is 0.
        x: Encoded architectures, (n, d).
        most: Largest number of trees t, an equal number a model.
    """
    if not models or not len(x):
        return np.zeros((len(x), 0), dtype=np.int16)
    each = max(most // len(models), 1)
    found = [
        model.predict(x, pred_leaf=True, num_iteration=each, num_threads=1) for model in models
    ]
    return np.hstack([np.reshape(one, (len(x), -1)) for one in found]).astype(np.int16)


def same_leaf(a: LeafArray, b: LeafArray) -> FloatArray:
    """Return the share of t trees that put rows in the same leaf, (n, t), (m, t) -> (n, m)."""
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    together = np.zeros((len(a), len(b)), dtype=np.uint16)
    # NOTE: tree by tree is the fastest order by far, as each comparison stays in the cache.
    for left, right in zip(a.T, b.T, strict=True):
        together += left[:, None] == right
    return np.asarray(together / max(a.shape[1], 1))
