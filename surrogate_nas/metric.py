"""A metric: a name, a direction, and how it is computed or accumulated."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, final

from surrogate_nas.arrays import Array
from surrogate_nas.errors import MetricError


class Scorer(Protocol):
    """Accumulates a metric over the batches of a split; metrics of torchmetrics are scorers."""

    def update(self, outputs: Any, targets: Any, /) -> None:
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
        low: Smallest value that it can have.
        high: Largest value that it can have. Predictions stay between the two.
    """

    name: str
    direction: Literal["minimize", "maximize"]
    compute: Callable[[Array, Array], float] = _not_at_once
    needs_all_classes: bool = False
    scorer: Callable[[], Scorer] | None = None
    low: float = -math.inf
    high: float = math.inf


def find(name: str, metrics: Mapping[str, Metric]) -> Metric:
    """Return the metric of a name.

    Args:
        name: The name.
        metrics: Known metrics, by name.

    Raises:
        MetricError: There is no such metric.
    """
    if name in metrics:
        return metrics[name]
    close = difflib.get_close_matches(str(name).lower().replace(" ", "_"), metrics, n=1)
    raise MetricError(
        expected=f"a metric among {', '.join(metrics)}",
        got=repr(name),
        fix=f"write {close[0]!r}" if close else "choose one of these names",
    )
