"""Metrics by name, and those that are accumulated."""

from __future__ import annotations

import numpy as np
import pytest

from surrogate_nas.errors import MetricError
from surrogate_nas.metric import Metric, find

METRICS = {name: Metric(name, "maximize", lambda t, p: 1.0) for name in ("recall@10", "mean_iou")}


def test_a_metric_is_found_by_its_name() -> None:
    assert find("mean_iou", METRICS) is METRICS["mean_iou"]


@pytest.mark.parametrize(
    ("name", "fix"),
    [("Mean IoU", "Write 'mean_iou'"), ("loss", "Choose one of these names"), (3, "Choose one")],
)
def test_an_unknown_name_lists_those_that_there_are(name: str, fix: str) -> None:
    with pytest.raises(MetricError, match=rf"among recall@10, mean_iou; .*{fix}"):
        find(name, METRICS)


def test_a_metric_that_is_accumulated_is_not_computed_at_once() -> None:
    with pytest.raises(MetricError, match="Use its scorer"):
        Metric("mean_iou", "maximize", scorer=lambda: None).compute(np.zeros(1), np.zeros(1))  # type: ignore[arg-type,return-value]
