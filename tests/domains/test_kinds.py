"""Losses, units and weights of what can be predicted."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
import torch
from torch.nn import functional

from surrogate_nas.domains.classification import named
from surrogate_nas.domains.kinds import (
    DEFAULT_METRICS,
    Classification,
    Kind,
    MultiLabel,
    Regression,
    checked_kind,
    metric_of,
)
from surrogate_nas.errors import MetricError, TaskError
from surrogate_nas.metric import Metric

NUMBERS = torch.tensor([[1000.0, -1.0], [3000.0, 1.0], [2000.0, 0.0]])
LABELS = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])


def outputs(n: int = 4, k: int = 2) -> torch.Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(0))


# Numbers


def test_numbers_are_learned_in_their_deviation_and_scored_in_their_unit() -> None:
    kind = Regression(2, NUMBERS)
    ideal = (NUMBERS - NUMBERS.mean(0)) / NUMBERS.std(0, correction=0)
    assert kind.loss(ideal, NUMBERS, 0.1).item() == pytest.approx(0, abs=1e-10)
    assert kind.loss(torch.zeros(3, 2), NUMBERS, 0.0).item() == pytest.approx(1)
    torch.testing.assert_close(kind.decode(ideal), NUMBERS)
    rmse = metric_of("regression", None)
    assert kind.score(rmse, kind.decode(ideal), NUMBERS) == pytest.approx(0, abs=1e-3)
    off = kind.decode(ideal) + torch.tensor([100.0, 0.0])
    assert kind.score(rmse, off, NUMBERS) == pytest.approx(50, rel=1e-5)


def test_one_number_a_row_is_a_vector_for_metrics() -> None:
    kind = Regression(1, NUMBERS[:, 0])
    metric = Metric("axes", "minimize", lambda targets, found: targets.ndim + found.ndim)
    assert kind.score(metric, kind.decode(torch.zeros(3, 1)), NUMBERS[:, 0]) == 2
    assert kind.loss(torch.zeros(3, 1), NUMBERS[:, 0], 0.0).shape == ()


def test_a_constant_number_is_not_divided_by_rounding_errors() -> None:
    kind = Regression(1, torch.full((1000,), 0.1))
    assert kind.std.tolist() == [1.0]


# Classes and labels


def test_labels_have_a_loss_each_with_smoothing_towards_one_half() -> None:
    kind = MultiLabel(("a", "b"), LABELS)
    soft = LABELS * 0.8 + 0.1
    by_hand = functional.binary_cross_entropy(outputs().sigmoid(), soft)
    assert kind.loss(outputs(), LABELS, 0.2).item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_balanced_labels_count_as_much_where_they_are_present() -> None:
    plain, balanced = (MultiLabel(("a", "b"), LABELS, w) for w in (None, "balanced"))
    rows = functional.binary_cross_entropy_with_logits(outputs(), LABELS, reduction="none")
    # Three of four rows have the first label, one has the second.
    weights = torch.where(LABELS == 1, torch.tensor([1 / 3, 3.0]), 1.0)
    assert plain.loss(outputs(), LABELS, 0.0).item() == pytest.approx(rows.mean().item())
    assert balanced.loss(outputs(), LABELS, 0.0).item() == pytest.approx(
        (weights * rows).mean().item()
    )


def test_classes_may_have_weights_by_name() -> None:
    targets = torch.tensor([0, 1, 1, 0])
    kind = Classification(("cat", "dog"), targets, {"dog": 3.0, "cat": 1})
    wanted = functional.cross_entropy(outputs(), targets, weight=torch.tensor([1.0, 3.0]))
    assert kind.loss(outputs(), targets, 0.0) == wanted


@pytest.mark.parametrize(
    "weights",
    ["heavy", {"cat": 1}, {"cat": 1, "dog": 0}, {"cat": 1, "dog": "2"}, {"cat": 1, 5: 2}],
)
def test_other_weights_are_refused(weights: Any) -> None:
    for make in (
        lambda: Classification(("cat", "dog"), torch.tensor([0, 1]), weights),
        lambda: MultiLabel(("cat", "dog"), LABELS, weights),
    ):
        with pytest.raises(TaskError, match="a number above 0 for each of cat, dog"):
            make()


# All kinds

KINDS: list[tuple[Kind, torch.Tensor]] = [
    (Classification(("a", "b"), torch.tensor([0, 1]), "balanced"), torch.tensor([0, 1, 1, 0])),
    (Regression(2, NUMBERS), NUMBERS.repeat(2, 1)[:4]),
    (MultiLabel(("a", "b"), LABELS, "balanced"), LABELS),
]


@pytest.mark.parametrize(("kind", "targets"), KINDS, ids=lambda one: getattr(one, "name", ""))
def test_a_kind_survives_the_way_to_another_process(kind: Kind, targets: torch.Tensor) -> None:
    kind.loss(outputs(), targets, 0.0)
    again = pickle.loads(pickle.dumps(kind))
    assert again.loss(outputs(), targets, 0.0) == kind.loss(outputs(), targets, 0.0)
    assert (again.outputs, again.n_outputs) == (kind.outputs, kind.n_outputs)


@pytest.mark.parametrize(("kind", "targets"), KINDS, ids=lambda one: getattr(one, "name", ""))
def test_outputs_that_are_not_finite_have_no_score(kind: Kind, targets: torch.Tensor) -> None:
    metric = metric_of(kind.name, None)
    broken = outputs()
    broken[1, 1] = torch.inf
    assert kind.score(metric, outputs(), targets) == kind.score(metric, outputs(), targets)
    assert torch.isnan(torch.tensor(kind.score(metric, broken, targets)))


@pytest.mark.parametrize(
    ("kind", "targets"),
    [
        (KINDS[0][0], torch.tensor([0, 2])),
        (KINDS[0][0], torch.tensor([0.0, 1.0])),
        (KINDS[1][0], torch.zeros(4)),
        (KINDS[1][0], torch.zeros(4, 2).double()),
        (KINDS[1][0], torch.full((4, 2), torch.nan)),
        (KINDS[2][0], torch.full((4, 2), 0.5)),
        (KINDS[2][0], torch.zeros(4, 3)),
    ],
)
def test_targets_of_another_form_are_refused(kind: Kind, targets: torch.Tensor) -> None:
    with pytest.raises(TaskError, match="in the validation split"):
        kind.require_targets(targets, "the validation split")


def test_each_kind_has_its_metrics() -> None:
    for kind, name in DEFAULT_METRICS.items():
        assert metric_of(checked_kind(kind) or "regression", None).name == name
    own = named("accuracy")
    assert metric_of("regression", own) is own
    with pytest.raises(MetricError, match=r"a metric of regression: rmse.*'accuracy'.*kind="):
        metric_of("regression", "accuracy")
    with pytest.raises(MetricError, match="Write 'rmse'"):
        metric_of("regression", "rmsee")
    with pytest.raises(TaskError, match=r"'multilabel'.*'labels'"):
        checked_kind("labels")
