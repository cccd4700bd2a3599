"""Metrics of tasks with several labels a row, computed by scikit-learn; shared by several domains.

Notation: n rows, k labels; targets (n, k) are 0 or 1, probabilities (n, k). A label is predicted
where its probability is above one half.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from surrogate_nas.arrays import Array
from surrogate_nas.errors import MetricError
from surrogate_nas.metric import Metric, find

_TINY = 1e-15
"""Probabilities are kept this far from 0 and 1, where a logarithm would be infinite."""


def require_fit(metric: Metric, targets: Array, where: str) -> None:
    """Check that the metric is defined on these targets.

    Args:
        metric: The metric.
        targets: 0 or 1, (n, k).
        where: What the targets belong to, for the message.

    Raises:
        MetricError: It ranks rows, and no label is present in some rows and absent in others.
    """
    if metric.needs_all_classes and not _mixed(targets).any():
        raise MetricError(
            expected=f"a label that some rows of {where} have and others lack, which "
            f"{metric.name} needs",
            got=f"{len(targets)} rows of which each label has all or none",
            fix="use a metric such as 'f1' or 'log_loss', or another split",
        )


def _mixed(targets: Array) -> Array:
    """Return whether each label is present in some rows and absent in others, (k,)."""
    n = np.asarray(targets).sum(axis=0)
    return np.asarray((n > 0) & (n < len(targets)))


def _sklearn() -> Any:
    """Return scikit-learn's metrics, imported at the first score: help and fits need none."""
    from sklearn import metrics

    return metrics


def _ranked(name: str) -> Callable[[Array, Array], float]:
    """Average a metric of ranks over the labels that it is defined for."""

    def compute(targets: Array, probabilities: Array) -> float:
        require_fit(METRICS["mean_average_precision"], targets, "the targets")
        score = getattr(_sklearn(), name)
        columns = np.flatnonzero(_mixed(targets))
        return float(np.mean([score(targets[:, c], probabilities[:, c]) for c in columns]))

    return compute


def _f1(average: str) -> Callable[[Array, Array], float]:
    def compute(targets: Array, probabilities: Array) -> float:
        predicted = probabilities > 0.5
        return float(
            _sklearn().f1_score(targets > 0.5, predicted, average=average, zero_division=0)
        )

    return compute


def _accuracy(targets: Array, probabilities: Array) -> float:
    return float(((targets > 0.5) == (probabilities > 0.5)).mean())


def _exact_match(targets: Array, probabilities: Array) -> float:
    return float(((targets > 0.5) == (probabilities > 0.5)).all(axis=1).mean())


def _log_loss(targets: Array, probabilities: Array) -> float:
    kept = np.clip(probabilities.astype(np.float64), _TINY, 1 - _TINY)
    return float(-np.mean(np.where(targets > 0.5, np.log(kept), np.log1p(-kept))))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "mean_average_precision",
            "maximize",
            _ranked("average_precision_score"),
            needs_all_classes=True,
            low=0.0,
            high=1.0,
        ),
        Metric("f1", "maximize", _f1("macro"), low=0.0, high=1.0),
        Metric("f1_micro", "maximize", _f1("micro"), low=0.0, high=1.0),
        Metric(
            "roc_auc",
            "maximize",
            _ranked("roc_auc_score"),
            needs_all_classes=True,
            low=0.0,
            high=1.0,
        ),
        Metric("accuracy", "maximize", _accuracy, low=0.0, high=1.0),
        Metric("exact_match", "maximize", _exact_match, low=0.0, high=1.0),
        Metric("log_loss", "minimize", _log_loss, low=0.0),
    )
}


def named(name: str) -> Metric:
    """Return the metric of that name.

    - ``mean_average_precision`` and ``roc_auc``: the mean over the labels that some rows have and
      others lack.
    - ``f1``: the mean over the labels, 0 where it is undefined; ``f1_micro``: of all decisions.
    - ``accuracy``: the share of right decisions; ``exact_match``: the share of rows whose labels
      are all right.
    - ``log_loss``: the mean over rows and labels, the only metric here that is minimized.

    Raises:
        MetricError: There is no such metric.
    """
    return find(name, METRICS)
