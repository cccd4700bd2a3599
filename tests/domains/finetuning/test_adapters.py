from __future__ import annotations

import copy

import torch

from surrogate_nas.domains.finetuning.adapters import (
    add_adapters,
    merge_adapters,
    n_adapter_parameters,
)
from tests.helpers.backbones import tiny_net

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
NAMES = ("stem", "second", "classifier")


def test_adapters_change_nothing_at_the_start() -> None:
    net = tiny_net().eval()
    adapted = copy.deepcopy(net)
    add_adapters(adapted, NAMES, 2)
    assert torch.equal(adapted(IMAGES), net(IMAGES))
    counted = sum(p.numel() for p in adapted.parameters()) - sum(
        p.numel() for p in net.parameters()
    )
    shapes = [tuple(net.get_submodule(name).get_parameter("weight").shape) for name in NAMES]
    assert counted == n_adapter_parameters(shapes, 2) == 2 * (6 + 27 + 12 + 54 + 7 + 12)


def test_merged_adapters_are_plain_weights() -> None:
    net = tiny_net().eval()
    names = [name for name, _ in net.named_parameters()]
    add_adapters(net, NAMES, 3)
    for name, parameter in net.named_parameters():
        if name.endswith(".up"):
            torch.nn.init.normal_(parameter)
    wanted = net(IMAGES)
    merge_adapters(net)
    torch.testing.assert_close(net(IMAGES), wanted)
    assert sorted(name for name, _ in net.named_parameters()) == sorted(names)
    assert not torch.equal(net(IMAGES), tiny_net().eval()(IMAGES))


def test_a_rank_is_at_most_that_of_the_weight() -> None:
    assert n_adapter_parameters([(4, 100)], 9) == 4 * 104
