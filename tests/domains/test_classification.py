from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from surrogate_nas.domains.classification import METRICS, named, require_fit
from surrogate_nas.errors import MetricError

NAMES = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "log_loss")

Array = npt.NDArray[Any]


def problem(n: int, n_classes: int, seed: int = 0) -> tuple[Array, Array]:
    """Targets with every class, and probabilities that know a little about them."""
    rng = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(n_classes), rng.integers(n_classes, size=n - n_classes)])
    logits = rng.normal(size=(n, n_classes)) + np.eye(n_classes)[targets]
    return targets, softmax(logits)


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("name", NAMES)
def test_only_log_loss_is_minimized(name: str) -> None:
    assert named(name).name == name
    assert named(name).direction == ("minimize" if name == "log_loss" else "maximize")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", 3 / 5),
        ("balanced_accuracy", (2 / 3 + 1 / 2) / 2),
        ("precision", (2 / 3 + 1 / 2) / 2),
        ("recall", (2 / 3 + 1 / 2) / 2),
        ("f1", (2 / 3 + 1 / 2) / 2),
        ("roc_auc", 5 / 6),  # of 6 pairs, (0.6, 0.4) is in the wrong order
        ("log_loss", -(2 * np.log(0.9) + 2 * np.log(0.4) + np.log(0.8)) / 5),
    ],
)
def test_values_computed_by_hand(name: str, expected: float) -> None:
    targets = np.array([0, 0, 0, 1, 1])
    of_one = np.array([0.1, 0.1, 0.6, 0.8, 0.4])
    probabilities = np.stack([1 - of_one, of_one], axis=1)
    assert named(name).compute(targets, probabilities) == pytest.approx(expected)


def test_roc_auc_of_several_classes_is_the_mean_of_one_against_the_rest() -> None:
    targets, probabilities = problem(60, 4)
    each = [sk.roc_auc_score(targets == c, probabilities[:, c]) for c in range(4)]
    assert named("roc_auc").compute(targets, probabilities) == pytest.approx(np.mean(each))


def test_balanced_accuracy_leaves_out_classes_without_rows() -> None:
    targets = np.array([0, 0, 0, 1])
    probabilities = np.eye(3)[[0, 2, 0, 1]]
    assert named("balanced_accuracy").compute(targets, probabilities) == pytest.approx(5 / 6)


@pytest.mark.parametrize("name", ["precision", "recall", "f1"])
def test_undefined_parts_of_a_macro_average_count_as_zero(name: str) -> None:
    targets = np.array([0, 0, 1, 1])
    always_zero = np.eye(2)[[0, 0, 0, 0]]
    of_class_zero = {"precision": 1 / 2, "recall": 1.0, "f1": 2 / 3}[name]
    assert named(name).compute(targets, always_zero) == pytest.approx(of_class_zero / 2)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "roc_auc"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_absent_classes_give_finite_values_without_warnings(name: str, dtype: type) -> None:
    _, probabilities = problem(30, 25)
    value = named(name).compute(np.arange(30) % 2 + 3, probabilities.astype(dtype))
    assert np.isfinite(value)


@pytest.mark.parametrize("name", ["accuracy", "log_loss", "f1", "balanced_accuracy"])
def test_one_row_is_enough(name: str) -> None:
    assert named(name).compute(np.array([1]), np.array([[0.0, 1.0]])) == pytest.approx(
        0.0 if name == "log_loss" else 1.0
    )


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    n_classes=st.integers(2, 6),
    n=st.integers(6, 40),
    seed=st.integers(0, 999),
)
def test_certain_truth_is_the_best_prediction(
    name: str, n_classes: int, n: int, seed: int
) -> None:
    targets, probabilities = problem(n, n_classes, seed)
    metric = named(name)
    sign = 1 if metric.direction == "maximize" else -1
    best = metric.compute(targets, np.eye(n_classes)[targets])
    assert best == pytest.approx(0.0 if name == "log_loss" else 1.0, abs=1e-9)
    assert sign * metric.compute(targets, probabilities.astype(np.float32)) <= sign * best + 1e-9


def test_roc_auc_needs_rows_of_every_class() -> None:
    targets, probabilities = np.array([0, 2, 0]), np.full((3, 9), 1 / 9)
    with pytest.raises(MetricError, match="class index 1, 3, 4, 5, 6 and 2 more") as error:
        named("roc_auc").compute(targets, probabilities)
    assert "accuracy" in error.value.fix


def test_other_metrics_fit_anything() -> None:
    require_fit(METRICS["accuracy"], np.array([0, 0]), 3, "the test split")


@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("acuracy", "write 'accuracy'"),
        ("F1", "write 'f1'"),
        ("log loss", "write 'log_loss'"),
        ("zzz", "choose one of these names"),
    ],
)
def test_unknown_names_are_refused_with_the_closest(name: str, fix: str) -> None:
    with pytest.raises(MetricError, match="accuracy, balanced_accuracy, precision") as error:
        named(name)
    assert error.value.fix == fix
    assert error.value.got == repr(name)
