from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from surrogate_nas.domains.finetuning.network import FineTuned
from surrogate_nas.training.trainer import Trainer
from tests.helpers.backbones import architecture, photos, space

TASK, SPACE = photos(), space()
TRAINER = Trainer(device="cpu", batch_size=16)


def built(adaptation: str, **changes: Any) -> FineTuned:
    network = SPACE.build(architecture(adaptation, **changes), TASK)
    assert isinstance(network, FineTuned)
    return network


def changed(network: FineTuned, params: dict[str, Any]) -> set[str]:
    """Train, and return the names of parameters and buffers of the body that have changed."""
    before = copy.deepcopy(network.body.state_dict())
    part, view = SPACE.training_view(network, TASK, torch.device("cpu"))
    trainer = TRAINER.override(**SPACE.training(params))
    trainer.train(part, view, groups=SPACE.parameter_groups(part))
    after = network.body.state_dict()
    return {name for name, t in after.items() if not torch.equal(t, before[name])}


STATISTICS = {f"module.norm.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")}
LATE = {"module.second.weight", "module.second.bias"}
EARLY = {"module.stem.weight", "module.norm.weight", "module.norm.bias"}


@pytest.mark.parametrize(
    ("adaptation", "wanted"),
    [
        ("means", set()),
        ("probe", set()),
        ("last", LATE),
        ("norm_bias", {"module.norm.weight", "module.norm.bias", "module.second.bias"}),
        ("all", LATE | EARLY | STATISTICS),
    ],
)
def test_nothing_but_what_is_adapted_changes(adaptation: str, wanted: set[str]) -> None:
    assert changed(built(adaptation), architecture(adaptation)) == wanted


@pytest.mark.parametrize(
    ("places", "modules"), [("all", ("stem", "second")), ("late", ("second",))]
)
def test_adapters_leave_the_weights_alone(places: str, modules: tuple[str, ...]) -> None:
    params = architecture("lora", lora_places=places)
    names = changed(built("lora", lora_places=places), params)
    assert names == {
        f"module.{m}.parametrizations.weight.0.{side}" for m in modules for side in ("up", "down")
    }


def test_nothing_is_trained_of_class_means() -> None:
    network = built("means")
    SPACE.training_view(network, TASK, torch.device("cpu"))
    before = copy.deepcopy(network.head.state_dict())
    changed(network, architecture("means"))
    assert all(torch.equal(t, before[name]) for name, t in network.head.state_dict().items())


def test_rates_fall_from_stage_to_stage() -> None:
    network = built("all", learning_rate=1e-2, body_rate=1e-3, layer_decay=0.5)
    groups = SPACE.parameter_groups(network)
    rates = {round(group.rate, 6): len(group.parameters) for group in groups}
    assert rates == {1.0: 2, 0.1: 2, 0.05: 3}


def test_frozen_parts_stay_in_evaluation_mode() -> None:
    def training(network: FineTuned) -> set[str]:
        return {
            name for name, part in network.train().body.module.named_modules() if part.training
        }

    assert training(built("lora")) == set()
    assert training(built("last")) == {"", "second", "drop", "classifier"}
    assert "norm" in training(built("all"))
    network = built("all").eval()
    assert not any(part.training for part in network.modules())


def test_a_probe_is_the_network_s_own_head() -> None:
    network = built("probe")
    part, view = SPACE.training_view(network, TASK, torch.device("cpu"))
    assert part is network.head
    TRAINER.override(**SPACE.training(architecture("probe"))).train(part, view)
    whole = TRAINER.evaluate(network, TASK, TASK.validation)
    assert whole == TRAINER.evaluate(part, view, view.validation)
