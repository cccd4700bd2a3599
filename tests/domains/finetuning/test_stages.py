from __future__ import annotations

import torch
from torch import nn

from surrogate_nas.domains.finetuning.body import Body, find_body
from surrogate_nas.domains.finetuning.stages import find_stages
from tests.helpers.backbones import tiny_net

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def body_of(module: nn.Module) -> Body:
    return find_body(module.eval(), IMAGES, "net")


def test_a_stage_ends_where_maps_become_smaller() -> None:
    stages = find_stages(body_of(tiny_net()), IMAGES)
    assert stages.count == 2
    assert stages.number == {
        "module.stem.weight": 0,
        "module.norm.weight": 0,
        "module.norm.bias": 0,
        "module.second.weight": 1,
        "module.second.bias": 1,
    }
    assert stages.light == {"module.norm.weight", "module.norm.bias", "module.second.bias"}
    assert stages.matrices == ("module.stem", "module.second")
    assert stages.of_module("module.second") == 1


class Blocks(nn.Module):
    """Patches, positions, six blocks and a normalization: no map becomes smaller."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 4, 8, 8)
        self.places = nn.Parameter(torch.zeros(4))
        self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(6))
        self.norm = nn.LayerNorm(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            x = x + block(x).relu()
        out: torch.Tensor = self.norm(x)
        return out


def test_blocks_make_four_stages() -> None:
    stages = find_stages(body_of(Blocks()), IMAGES)
    assert stages.count == 4
    numbers = [stages.number[f"module.blocks.{i}.weight"] for i in range(6)]
    assert numbers == [0, 0, 1, 2, 2, 3]
    assert stages.number["module.patches.weight"] == stages.number["module.places"] == 0
    assert stages.number["module.norm.weight"] == 3


def test_layers_make_stages_where_there_is_nothing_else() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.b(self.a(x).relu())
            return out

    stages = find_stages(body_of(Two()), IMAGES)
    assert stages.number == {
        f"module.{n}.{p}": i for i, n in enumerate("ab") for p in ("weight", "bias")
    }


def test_gates_of_one_pixel_begin_no_stage() -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.gate = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 1)
            self.b, self.c = nn.Conv2d(4, 4, 3, 1, 1), nn.Conv2d(4, 4, 3, 2, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.a(x)
            x = self.b(x * self.gate(x.mean((2, 3), keepdim=True)).sigmoid())
            out: torch.Tensor = self.c(x)
            return out

    stages = find_stages(body_of(Gated()), IMAGES)
    assert [stages.number[f"module.{n}.weight"] for n in ("a", "gate", "b", "c")] == [0, 0, 0, 1]
