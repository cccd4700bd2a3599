from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn

from surrogate_nas.training import estimate as module
from surrogate_nas.training.estimate import expected_seconds
from surrogate_nas.training.trainer import Trainer
from tests.helpers.toys import Clock, ToyTask, network

TASK = ToyTask()


def test_it_counts_the_steps_of_all_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock of this test a pass of 32 rows takes a second."""
    monkeypatch.setattr(module, "time", Clock())
    trainer = Trainer(epochs=4, batch_size=32, device="cpu")
    seconds = expected_seconds(network(), TASK, trainer)
    assert seconds == pytest.approx(4 * (3 * 144 + 48) / 32)
    limited = Trainer(epochs=4, batch_size=32, device="cpu", time_limit_seconds=7.0)
    assert expected_seconds(network(), TASK, limited) == 7.0


def test_it_leaves_network_and_generators_as_they_are() -> None:
    one = network(dropout=0.5).train()
    before = {name: tensor.clone() for name, tensor in one.state_dict().items()}
    state = torch.get_rng_state()
    assert 0 < expected_seconds(one, TASK, Trainer(device="cpu")) < math.inf
    assert one.training
    assert all(torch.equal(before[name], tensor) for name, tensor in one.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())


class Uncopied(nn.Module):
    def __deepcopy__(self, memo: Any) -> Uncopied:
        raise TypeError("not this one")


def test_what_cannot_be_timed_is_not_known() -> None:
    for one in (Uncopied(), nn.Linear(1, 1)):
        assert math.isnan(expected_seconds(one, TASK, Trainer(device="cpu")))
