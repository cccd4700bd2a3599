"""Metrics of numbers, against values computed by hand and by scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn import metrics as sk

from surrogate_nas.domains.regression import METRICS, named, require_fit
from surrogate_nas.errors import MetricError

Array = npt.NDArray[Any]
TARGETS = np.array([1.0, 2.0, 4.0, 5.0])
FOUND = np.array([1.0, 3.0, 4.0, 3.0])


@pytest.mark.parametrize(
    ("name", "expected", "direction"),
    [
        ("rmse", np.sqrt(5 / 4), "minimize"),
        ("mae", 3 / 4, "minimize"),
        ("r2", 1 - 5 / 10, "maximize"),
    ],
)
def test_values_computed_by_hand(name: str, expected: float, direction: str) -> None:
    metric = named(name)
    assert metric.direction == direction
    assert metric.compute(TARGETS, FOUND) == pytest.approx(expected)
    assert metric.compute(TARGETS[:, None], FOUND[:, None]) == pytest.approx(expected)
    best = metric.compute(TARGETS, TARGETS)
    assert best == (1.0 if name == "r2" else 0.0)


def test_several_numbers_are_averaged_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(30, 3)) * [1, 10, 100]
    found = targets + rng.normal(size=(30, 3))
    wanted = {
        "rmse": sk.root_mean_squared_error,
        "mae": sk.mean_absolute_error,
        "r2": sk.r2_score,
    }
    for name, function in wanted.items():
        value = named(name).compute(targets, found.astype(np.float32))
        assert value == pytest.approx(function(targets, found), rel=1e-5)


def test_only_r2_needs_targets_that_differ() -> None:
    constant = np.ones(4, dtype=np.float32)
    with pytest.raises(MetricError, match=r"targets that differ in the test split.*'rmse'"):
        require_fit(METRICS["r2"], constant, "the test split")
    with pytest.raises(MetricError, match="targets that differ"):
        require_fit(METRICS["r2"], np.stack([TARGETS, constant], axis=1), "the test split")
    require_fit(METRICS["rmse"], constant, "the test split")
    require_fit(METRICS["r2"], TARGETS, "the test split")


def test_unknown_names_are_refused() -> None:
    with pytest.raises(MetricError, match="Write 'rmse'"):
        named("RMSE")
