from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.space import ParameterGroup
from surrogate_nas.training.trainer import Trainer, seeded
from surrogate_nas.training.updates import Updater
from tests.helpers.toys import ToyTask


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


def layers(network: nn.Sequential, *rates: float) -> list[ParameterGroup]:
    """The last layers, each with its factor."""
    parts = zip(list(network)[-len(rates) :], rates, strict=True)
    return [ParameterGroup(tuple(part.parameters()), rate) for part, rate in parts]


def two_layers() -> nn.Sequential:
    with seeded(0):
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 3))


@pytest.mark.parametrize("is_recordable", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_groups_have_rates_and_decays_of_their_own(optimizer: Any, is_recordable: bool) -> None:
    """Each layer changes as it would alone at its own rate."""
    network, alone = two_layers(), two_layers()
    groups = layers(network, 0.1, 2.0)
    groups[1] = dataclasses.replace(groups[1], decay=0.0)
    together = Updater(network, optimizer, 0.3, groups, is_recordable=is_recordable)
    parts = [Updater(alone[1], optimizer, 0.3), Updater(alone[2], optimizer, 0.0)]
    torch.manual_seed(0)
    for step in range(3):
        inputs, rate = torch.randn(7, 64), 0.1 / (step + 1)
        for one in (network, alone):
            one.zero_grad()
            one(inputs).square().mean().backward()
        together.set_rate(rate)
        together.step()
        for part, factor in zip(parts, (0.1, 2.0), strict=True):
            part.set_rate(factor * rate)
            part.step()
    for ours, theirs in zip(network.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("clip_norm", [1e-3, 1e3])
def test_large_gradients_are_scaled_down_together(clip_norm: float) -> None:
    """The step is that of gradients with the allowed norm; smaller gradients are left alone."""
    clipped, plain = two_layers(), two_layers()
    inputs = torch.ones(5, 64)
    for network in (clipped, plain):
        network(inputs).square().mean().backward()
    gradients = [p.grad for p in plain.parameters() if p.grad is not None]
    norm = float(torch.stack([g.norm() for g in gradients]).norm())
    assert 1e-3 < norm < 1e3
    for gradient in gradients:
        gradient.mul_(min(clip_norm / norm, 1.0))
    for network, most in ((clipped, clip_norm), (plain, None)):
        updater = Updater(network, "sgd", 0.0, clip_norm=most)
        updater.set_rate(0.1)
        updater.step()
    for one, other in zip(clipped.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_gradients_of_parameters_that_stay_do_not_count() -> None:
    network, alone = two_layers(), two_layers()
    alone[1].requires_grad_(False)
    for one in (network, alone):
        one(torch.ones(5, 64)).square().mean().backward()
    groups = [layers(network, 0.0, 1.0), None]
    for one, group in zip((network, alone), groups, strict=True):
        updater = Updater(one, "sgd", 0.0, group, clip_norm=1e-3)
        updater.set_rate(0.1)
        updater.step()
    assert torch.equal(network[2].get_parameter("weight"), alone[2].get_parameter("weight"))


def test_a_rate_of_0_leaves_parameters_as_they_are() -> None:
    network, before = two_layers(), two_layers()
    Trainer(epochs=1, device="cpu").train(network, ToyTask(), groups=layers(network, 0.0, 1.0))
    changed = [
        not torch.equal(one, other)
        for one, other in zip(network.parameters(), before.parameters(), strict=True)
    ]
    assert changed == [False, False, True, True]


def test_groups_that_do_not_fit_are_refused() -> None:
    network = two_layers()
    first, last = layers(network, 1.0, 1.0)
    faults = {
        "'1.weight' in 0": [last],
        "'1.weight' in 2": [first, first, last],
        "4 others": [first, last, *layers(two_layers(), 1.0, 1.0)],
        "rate -1.0": layers(network, 1.0, -1.0),
    }
    for said, groups in faults.items():
        with pytest.raises(TrainingError, match=rf"{said}.*parameter_groups"):
            Updater(network, "sgd", 0.0, groups)


def test_frozen_parameters_need_no_group() -> None:
    network = two_layers()
    network[1].requires_grad_(False)
    updater = Updater(network, "sgd", 0.1, layers(network, 1.0))
    assert len(updater.optimizer.param_groups) == 1


def test_a_checkpoint_of_other_groups_is_not_gone_on_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file, trainer = tmp_path / "checkpoint", Trainer(epochs=3, device="cpu")
    begun = two_layers()

    def stop(epoch: int, value: float) -> bool:
        if epoch == 1:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        trainer.train(
            begun, ToyTask(), on_epoch=stop, checkpoint=file, groups=layers(begun, 0.5, 1.0)
        )
    other = two_layers()
    trainer.train(other, ToyTask(), checkpoint=file, groups=layers(other, 0.25, 1.0))
    assert "of other ones" in caplog.text


def step_by_step(optimizer: Any, is_fused: bool) -> tuple[nn.Module, nn.Module]:
    """Two copies of a network, trained by ours and by plain PyTorch; the last layer joins late."""
    ours = two_layers()
    plain = copy.deepcopy(ours)
    updater = Updater(ours, optimizer, 0.0)
    params = list(plain.parameters())
    theirs = (
        torch.optim.SGD(params, lr=0.1, momentum=0.9, nesterov=True, fused=is_fused)
        if optimizer == "sgd"
        else torch.optim.Adam(params, lr=0.1, fused=is_fused)
    )
    torch.manual_seed(0)
    for step in range(5):
        inputs = torch.randn(7, 64)
        for network, optimize in ((ours, updater.optimizer), (plain, theirs)):
            optimize.zero_grad()
            part = network if is_fused or step in (2, 4) else nn.Sequential(network[0], network[1])
            part(inputs).square().mean().backward()
        updater.set_rate(0.1)
        updater.step()
        theirs.step()
    return ours, plain


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_parameter_whose_first_gradient_comes_late(optimizer: Any) -> None:
    """It is updated as by PyTorch's optimizers that are not fused."""
    ours, plain = step_by_step(optimizer, is_fused=False)
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_updates_are_those_of_the_fused_optimizer_bit_for_bit(optimizer: Any) -> None:
    ours, plain = step_by_step(optimizer, is_fused=True)
    for one, other in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_parameter_that_is_freed_during_training_is_trained() -> None:
    network = two_layers()
    last = network.get_parameter("2.weight").requires_grad_(False)
    updater = Updater(network, "sgd", 0.0)
    before = last.clone()
    for step in range(3):
        if step == 1:
            last.requires_grad_(True)
        updater.optimizer.zero_grad()
        network(torch.ones(2, 64)).square().mean().backward()
        updater.step()
    assert not torch.equal(last, before)
