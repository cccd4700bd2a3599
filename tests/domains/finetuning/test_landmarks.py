from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from surrogate_nas.domains.finetuning.landmarks import landmark, sample
from surrogate_nas.task import Split

N = 200
TARGETS = torch.arange(N) % 4
NOISE = torch.randn(N, 12, generator=torch.Generator().manual_seed(0))


def test_separable_classes_have_skill_and_noise_has_none() -> None:
    apart = NOISE + 4 * functional.one_hot(TARGETS, 12)
    assert landmark(apart, TARGETS).skill > 0.9
    assert landmark(apart, TARGETS).means > 0.9
    assert landmark(NOISE, TARGETS).skill < 0.2
    order = torch.argsort(TARGETS, stable=True)
    assert landmark(apart[order], TARGETS[order]).skill > 0.9


def test_numbers_have_the_share_of_their_variance() -> None:
    numbers = NOISE[:, 0] * 5 + 100
    assert 0.7 < landmark(NOISE, numbers).skill <= 1
    labels = (NOISE[:, :2] > 0).long()
    assert 0.2 < landmark(NOISE, labels).skill < 1
    assert landmark(NOISE, torch.randn(N)).skill < 0.1
    assert landmark(NOISE, torch.ones(N)).skill == 0.0


@pytest.mark.parametrize("n", [6, N])
def test_dimension_counts_directions(n: int) -> None:
    line = NOISE[:n, :1].repeat(1, 12)
    assert landmark(line, TARGETS[:n]).dimension == pytest.approx(1.0)
    assert landmark(NOISE[:n], TARGETS[:n]).dimension > 3


def test_one_class_and_constant_features_have_no_skill() -> None:
    assert landmark(NOISE, torch.zeros(N, dtype=torch.long)).skill == 0.0
    found = landmark(torch.ones(N, 3), TARGETS)
    assert found.dimension == 0.0
    assert found.skill < 0.2


def test_a_sample_is_bounded_and_spread() -> None:
    split = Split(torch.zeros(5000, 1), torch.zeros(5000))
    assert len(sample(split, 3)) == 400
    assert len(sample(split, 100)) == 600
    assert len(sample(split, 1000)) == 1000
    rows = sample(split, 3)
    assert (int(rows[0]), int(rows[-1])) == (0, 4999)
    assert len(sample(Split(torch.zeros(7, 1), torch.zeros(7)), 3)) == 7
