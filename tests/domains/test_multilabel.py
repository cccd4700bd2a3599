"""Metrics of several labels a row, against values computed by hand and by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from surrogate_nas.domains.multilabel import METRICS, named, require_fit
from surrogate_nas.errors import MetricError

TARGETS = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]], dtype=np.float32)
FOUND = np.array([[0.9, 0.6, 0.1], [0.4, 0.8, 0.2], [0.2, 0.7, 0.3], [0.6, 0.1, 0.4]])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", 9 / 12),
        ("exact_match", 1 / 4),
        ("f1", (1 / 2 + 4 / 5 + 0) / 3),
        ("f1_micro", 6 / 9),
        # The third label has no rows, so nothing can be ranked.
        ("mean_average_precision", ((1 + 2 / 3) / 2 + 1) / 2),
        ("roc_auc", (3 / 4 + 1) / 2),
    ],
)
def test_values_computed_by_hand(name: str, expected: float) -> None:
    assert named(name).direction == "maximize"
    assert named(name).compute(TARGETS, FOUND) == pytest.approx(expected)


def test_log_loss_is_finite_where_a_probability_is_0() -> None:
    assert named("log_loss").direction == "minimize"
    flat = sk.log_loss(TARGETS.ravel(), FOUND.ravel())
    assert named("log_loss").compute(TARGETS, FOUND) == pytest.approx(flat)
    assert np.isfinite(named("log_loss").compute(TARGETS, 1 - TARGETS))


@pytest.mark.parametrize("name", METRICS)
def test_certain_truth_is_the_best_prediction(name: str) -> None:
    best = named(name).compute(TARGETS, TARGETS)
    # The f1 of a label without rows is 0 by definition.
    assert best == pytest.approx({"log_loss": 0.0, "f1": 2 / 3}.get(name, 1.0), abs=1e-9)


def test_ranks_need_a_label_that_only_some_rows_have() -> None:
    alike = np.array([[1, 0], [1, 0]], dtype=np.float32)
    for name in ("mean_average_precision", "roc_auc"):
        with pytest.raises(MetricError, match=f"which {name} needs.*'f1'"):
            require_fit(METRICS[name], alike, "the test split")
        with pytest.raises(MetricError):
            named(name).compute(alike, alike)
    require_fit(METRICS["f1"], alike, "the test split")
    require_fit(METRICS["roc_auc"], TARGETS, "the test split")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(MetricError, match="Write 'f1_micro'"):
        named("f1 micro")
