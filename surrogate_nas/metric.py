"""Names -> metrics of classification, computed by scikit-learn.

Notation: n rows, k classes; targets (n,) are whole numbers in 0..k-1, probabilities (n, k).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, final

import numpy as np

from surrogate_nas.arrays import Array
from surrogate_nas.errors import MetricError
from surrogate_nas.tensors import AnyTensors


class Scorer(Protocol):
    """Accumulates a metric over the batches of a split; metrics of torchmetrics are scorers."""

    def update(self, outputs: AnyTensors, targets: AnyTensors, /) -> None:
        """Take one batch: the task's outputs and targets, on the network's device."""

    def compute(self) -> Any:
        """Return the metric of all batches, a number."""


def _not_at_once(targets: Array, outputs: Array) -> float:
    raise MetricError(
        expected="a metric that is computed from all outputs at once",
        got="one that is accumulated batch by batch",
        fix="use its scorer: update(outputs, targets) for each batch, then compute()",
    )


@final
@dataclass(frozen=True)
class Metric:
    """A number that says how good predictions are.

    Args:
        name: How users call it.
        direction: Which way is better.
        compute: (targets (n,), class probabilities (n, n_classes)) -> value.
        needs_all_classes: Whether it is undefined where a class has no rows.
        scorer: Makes what accumulates it batch by batch; None where `compute` takes a whole split.
    """

    name: str
    direction: Literal["minimize", "maximize"]
    compute: Callable[[Array, Array], float] = _not_at_once
    needs_all_classes: bool = False
    scorer: Callable[[], Scorer] | None = None

    def require_fit(self, targets: Array, n_classes: int, where: str) -> None:
        """Check that the metric is defined on these targets.

        Args:
            targets: Class indices, (n,).
            n_classes: How many classes the task has.
            where: What the targets belong to, for the message.

        Raises:
            MetricError: It needs rows of every class and some class has none.
        """
        if not self.needs_all_classes:
            return
        absent = np.flatnonzero(np.bincount(targets, minlength=n_classes) == 0)
        if absent.size:
            raise MetricError(
                expected=f"rows of all {n_classes} classes in {where}, which {self.name} needs",
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
    _METRICS["roc_auc"].require_fit(targets, n_classes, "the targets")
    if n_classes == 2:
        return float(_sklearn().roc_auc_score(targets, probabilities[:, 1]))
    scores = _normalized(probabilities)
    return float(_sklearn().roc_auc_score(targets, scores, multi_class="ovr", average="macro"))


def _log_loss(targets: Array, probabilities: Array) -> float:
    labels = np.arange(probabilities.shape[1])
    return float(_sklearn().log_loss(targets, _normalized(probabilities), labels=labels))


def _normalized(probabilities: Array) -> Array:
    """Make rows sum to 1 in float64: scikit-learn complains about rounding in narrower types."""
    wide: Array = probabilities.astype(np.float64)
    normalized: Array = wide / wide.sum(axis=1, keepdims=True)
    return normalized


_METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "maximize", _accuracy),
        Metric("balanced_accuracy", "maximize", _balanced_accuracy),
        Metric("precision", "maximize", _macro("precision_score")),
        Metric("recall", "maximize", _macro("recall_score")),
        Metric("f1", "maximize", _macro("f1_score")),
        Metric("roc_auc", "maximize", _roc_auc, needs_all_classes=True),
        Metric("log_loss", "minimize", _log_loss),
    )
}


def named(name: str) -> Metric:
    """Return the metric of that name.

    ``accuracy``, ``balanced_accuracy`` (mean recall of the classes that have rows),
    ``precision``, ``recall`` and ``f1`` (macro averages, 0 where undefined), ``roc_auc`` (of class
    1 where there are two classes, else the macro average of one class against the rest) and
    ``log_loss`` (natural logarithm; the only one that is minimized).

    Raises:
        MetricError: There is no such metric.
    """
    if name in _METRICS:
        return _METRICS[name]
    close = difflib.get_close_matches(str(name).lower().replace(" ", "_"), _METRICS, n=1)
    raise MetricError(
        expected=f"a metric among {', '.join(_METRICS)}",
        got=repr(name),
        fix=f"write {close[0]!r}" if close else "choose one of these names",
    )
