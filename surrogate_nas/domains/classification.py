"""Metrics of classification, computed by scikit-learn; shared by several domains.

Notation: n rows, k classes; targets (n,) are whole numbers in 0..k-1, probabilities (n, k).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from surrogate_nas.arrays import Array
from surrogate_nas.errors import MetricError
from surrogate_nas.metric import Metric, find


def require_fit(metric: Metric, targets: Array, n_classes: int, where: str) -> None:
    """Check that the metric is defined on these targets.

    Args:
        metric: The metric.
        targets: Class indices, (n,).
        n_classes: How many classes the task has.
        where: What the targets belong to, for the message.

    Raises:
        MetricError: It needs rows of every class and some class has none.
    """
    if not metric.needs_all_classes:
        return
    absent = np.flatnonzero(np.bincount(targets, minlength=n_classes) == 0)
    if absent.size:
        raise MetricError(
            expected=f"rows of all {n_classes} classes in {where}, which {metric.name} needs",
            got=f"none of class index {', '.join(map(str, absent[:5].tolist()))}"
            + (f" and {absent.size - 5} more" if absent.size > 5 else ""),
            fix="use a metric such as 'accuracy' or 'log_loss', or another split",
        )


def _sklearn() -> Any:
    """Return scikit-learn's metrics, imported at the first score: help and fits need none."""
    from sklearn import metrics

    return metrics


def _accuracy(targets: Array, probabilities: Array) -> float:
    return float(_sklearn().accuracy_score(targets, probabilities.argmax(axis=1)))


def _balanced_accuracy(targets: Array, probabilities: Array) -> float:
    # The mean recall of the classes that have rows; scikit-learn's own function warns about
    # predicted classes without rows before it leaves them out.
    predicted = probabilities.argmax(axis=1)
    present = np.unique(targets)
    recall = _sklearn().recall_score(
        targets, predicted, labels=present, average="macro", zero_division=0
    )
    return float(recall)


def _macro(name: str) -> Callable[[Array, Array], float]:
    """Average a metric of one class over the classes that occur in targets or predictions."""

    def compute(targets: Array, probabilities: Array) -> float:
        predicted = probabilities.argmax(axis=1)
        score = getattr(_sklearn(), name)
        return float(score(targets, predicted, average="macro", zero_division=0))

    return compute


def _roc_auc(targets: Array, probabilities: Array) -> float:
    n_classes = probabilities.shape[1]
    require_fit(METRICS["roc_auc"], targets, n_classes, "the targets")
    if n_classes == 2:
        return float(_sklearn().roc_auc_score(targets, probabilities[:, 1]))
    scores = _normalized(probabilities)
    return float(_sklearn().roc_auc_score(targets, scores, multi_class="ovr", average="macro"))


def _log_loss(targets: Array, probabilities: Array) -> float:
    # Without the labels scikit-learn would count only the classes that these rows have.
    labels = np.arange(probabilities.shape[1])
    return float(_sklearn().log_loss(targets, _normalized(probabilities), labels=labels))


def _normalized(probabilities: Array) -> Array:
    """Make rows sum to 1 in float64: scikit-learn complains about rounding in narrower types."""
    wide: Array = probabilities.astype(np.float64)
    normalized: Array = wide / wide.sum(axis=1, keepdims=True)
    return normalized


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "maximize", _accuracy, low=0.0, high=1.0),
        Metric("balanced_accuracy", "maximize", _balanced_accuracy, low=0.0, high=1.0),
        Metric("precision", "maximize", _macro("precision_score"), low=0.0, high=1.0),
        Metric("recall", "maximize", _macro("recall_score"), low=0.0, high=1.0),
        Metric("f1", "maximize", _macro("f1_score"), low=0.0, high=1.0),
        Metric("roc_auc", "maximize", _roc_auc, needs_all_classes=True, low=0.0, high=1.0),
        Metric("log_loss", "minimize", _log_loss, low=0.0),
    )
}


def named(name: str) -> Metric:
    """Return the metric of that name.

    - ``accuracy``, and ``balanced_accuracy``: the mean recall of the classes that have rows.
    - ``precision``, ``recall`` and ``f1``: macro averages, with 0 where they are undefined.
    - ``roc_auc``: of class 1 where there are two classes. Of more classes it is the macro average
      of each class against the rest.
    - ``log_loss``: the natural logarithm, and the only metric here that is minimized.

    Raises:
        MetricError: There is no such metric.
    """
    return find(name, METRICS)
