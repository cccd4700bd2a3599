from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from surrogate_nas.domains.finetuning.heads import (
    HEADS,
    Head,
    HeadName,
    n_head_parameters,
    ridge_weights,
    start,
)

N, WIDTH = 90, 5
TARGETS = torch.arange(N) % 3
FEATURES = torch.randn(N, WIDTH, generator=torch.Generator().manual_seed(0)) + 7.0
FEATURES[:, :3] += 3 * functional.one_hot(TARGETS, 3)


def cross_entropy(outputs: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs.detach(), TARGETS)


@pytest.mark.parametrize("name", HEADS)
def test_parameters_are_counted_without_a_head(name: HeadName) -> None:
    head = Head(name, 300, 4)
    assert n_head_parameters(name, 300, 4) == sum(p.numel() for p in head.parameters())
    assert head(torch.randn(2, 300)).shape == (2, 4)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_classes_are_told_apart_before_any_training(name: HeadName) -> None:
    head = Head(name, WIDTH, 3)
    start(head, FEATURES, TARGETS, cross_entropy)
    assert float((head(FEATURES).argmax(1) == TARGETS).double().mean()) > 0.9
    assert float(cross_entropy(head(FEATURES))) < 0.7


def test_a_cosine_head_begins_with_class_means() -> None:
    head = Head("cosine", WIDTH, 3)
    start(head, FEATURES, TARGETS, cross_entropy)
    scaled = (FEATURES - FEATURES.mean(0)) / FEATURES.std(0, correction=0)
    means = torch.stack([scaled[k == TARGETS].mean(0) for k in range(3)])
    wanted = functional.normalize(scaled, dim=1) @ functional.normalize(means, dim=1).T
    torch.testing.assert_close(head(FEATURES) / 10, wanted)


def test_a_linear_head_may_begin_with_class_means_too() -> None:
    linear, cosine = Head("linear", WIDTH, 3), Head("cosine", WIDTH, 3)
    start(linear, FEATURES, TARGETS, cross_entropy, from_means=True)
    start(cosine, FEATURES, TARGETS, cross_entropy)
    assert torch.equal(linear(FEATURES).argmax(1), cosine(FEATURES).argmax(1))


@pytest.mark.parametrize("unit", ["own", "deviations"])
def test_numbers_begin_with_regression_in_the_unit_of_the_loss(unit: str) -> None:
    numbers = FEATURES[:, :1] * 40 + 1000
    wanted = numbers if unit == "own" else (numbers - numbers.mean()) / numbers.std()
    head = Head("linear", WIDTH, 1)
    start(head, FEATURES, numbers, lambda out: functional.mse_loss(out, wanted))
    assert float(functional.mse_loss(head(FEATURES), wanted).detach() / wanted.var()) < 0.05


def test_labels_begin_with_logits() -> None:
    labels = (FEATURES[:, :2] > 8).float()

    def loss(out: torch.Tensor) -> torch.Tensor:
        return functional.binary_cross_entropy_with_logits(out, labels)

    head = Head("linear", WIDTH, 2)
    start(head, FEATURES, labels, loss)
    assert float(((head(FEATURES) > 0) == labels.bool()).double().mean()) > 0.85


def test_a_perceptron_and_constant_features_keep_their_start() -> None:
    head = Head("mlp", WIDTH, 3)
    before = head.layers[0].weight.clone()  # type: ignore[index]
    features = FEATURES.clone()
    features[:, 0] = 2.0
    start(head, features, TARGETS, cross_entropy)
    assert torch.equal(head.layers[0].weight, before)  # type: ignore[index]
    assert float(head.spread[0]) == 1.0
    assert bool(head(features).isfinite().all())


@pytest.mark.parametrize("n", [4, 40])
def test_both_systems_of_equations_have_the_same_solution(n: int) -> None:
    x, y = FEATURES[:n].double(), FEATURES[:n, :2].double() ** 2
    weight, bias = ridge_weights(x, y, 0.3)
    center, mean = x.mean(0), y.mean(0)
    gram = (x - center).T @ (x - center) + 0.3 * torch.eye(WIDTH, dtype=torch.float64)
    torch.testing.assert_close(weight, torch.linalg.solve(gram, (x - center).T @ (y - mean)))
    torch.testing.assert_close(center @ weight + bias, mean)
