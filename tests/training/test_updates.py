from __future__ import annotations

import copy
import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from surrogate_nas.training.trainer import Trainer
from surrogate_nas.training.updates import Updater


@settings(max_examples=40, deadline=None)
@given(
    schedule=st.sampled_from(["cosine", "inverse_sqrt"]),
    epochs=st.integers(1, 30),
    steps=st.integers(1, 40),
    warmup=st.floats(0, 40),
)
def test_the_learning_rate_rises_then_falls(
    schedule: Any, epochs: int, steps: int, warmup: float
) -> None:
    trainer = Trainer(epochs=epochs, schedule=schedule, warmup_epochs=warmup, learning_rate=0.5)
    plan = trainer._schedule(steps)
    rates = [plan.rate(step) for step in range(epochs * steps)]
    peak = rates.index(max(rates))
    assert min(rates) > 0
    assert max(rates) <= 0.5
    assert peak <= max(0, len(rates) // 4)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_the_schedules_end_where_they_should() -> None:
    cosine = Trainer(epochs=10, learning_rate=1.0)
    assert cosine._schedule(10).rate(99) < 1e-3
    root = dataclasses.replace(cosine, schedule="inverse_sqrt")
    assert root._schedule(10).rate(9) == 1.0
    assert root._schedule(10).rate(39) == pytest.approx(0.5)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_rate_in_a_tensor_means_the_same(optimizer: Any) -> None:
    """A recorded step finds the rate in a tensor: the updates are those of a plain number."""
    torch.manual_seed(0)
    plain = nn.Linear(5, 3)
    tensor = copy.deepcopy(plain)
    updaters = [
        Updater(plain, optimizer, 0.1),
        Updater(tensor, optimizer, 0.1, is_recordable=True),
    ]
    for step in range(4):
        inputs = torch.randn(7, 5)
        for network, updater in zip((plain, tensor), updaters, strict=True):
            updater.optimizer.zero_grad()
            network(inputs).square().mean().backward()
            updater.set_rate(0.1 / (step + 1))
            updater.step()
    for one, other in zip(plain.parameters(), tensor.parameters(), strict=True):
        torch.testing.assert_close(one, other)
