"""Metrics of regression; shared by several domains.

Notation: n rows, k numbers to predict; targets and predictions are (n,) or (n, k), in one unit.
"""

from __future__ import annotations

import numpy as np

from surrogate_nas.arrays import Array, FloatArray
from surrogate_nas.errors import MetricError
from surrogate_nas.metric import Metric, find


def require_fit(metric: Metric, targets: Array, where: str) -> None:
    """Check that the metric is defined on these targets.

    Args:
        metric: The metric.
        targets: Numbers, (n,) or (n, k).
        where: What the targets belong to, for the message.

    Raises:
        MetricError: It is relative to the targets' variance, and some number has none.
    """
    if metric is METRICS["r2"] and not bool((_columns(targets).std(axis=0) > 0).all()):
        raise MetricError(
            expected=f"targets that differ in {where}, which {metric.name} needs",
            got=f"{len(targets)} rows with one value",
            fix="use a metric such as 'rmse' or 'mae', or another split",
        )


def _columns(values: Array) -> FloatArray:
    """Return numbers as (n, k) in float64."""
    wide = np.asarray(values, dtype=np.float64)
    return wide[:, None] if wide.ndim == 1 else wide


def _rmse(targets: Array, predictions: Array) -> float:
    squares = (_columns(targets) - _columns(predictions)) ** 2
    return float(np.sqrt(squares.mean(axis=0)).mean())


def _mae(targets: Array, predictions: Array) -> float:
    return float(np.abs(_columns(targets) - _columns(predictions)).mean())


def _r2(targets: Array, predictions: Array) -> float:
    require_fit(METRICS["r2"], targets, "the targets")
    wanted = _columns(targets)
    left = ((wanted - _columns(predictions)) ** 2).sum(axis=0)
    return float((1 - left / ((wanted - wanted.mean(axis=0)) ** 2).sum(axis=0)).mean())


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("rmse", "minimize", _rmse, low=0.0),
        Metric("mae", "minimize", _mae, low=0.0),
        Metric("r2", "maximize", _r2, high=1.0),
    )
}


def named(name: str) -> Metric:
    """Return the metric of that name. Of several numbers each is the mean over the numbers.

    - ``rmse``: the root of the mean squared error, in the targets' unit.
    - ``mae``: the mean absolute error, in the targets' unit.
    - ``r2``: the share of the targets' variance that is explained, the only one to be maximized.

    Raises:
        MetricError: There is no such metric.
    """
    return find(name, METRICS)
