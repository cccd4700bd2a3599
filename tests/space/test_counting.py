"""Parameters, multiply-accumulates and depth of networks, against counts by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from surrogate_nas.domains.images.cell import CellSpace
from surrogate_nas.domains.images.convnet import ConvNetSpace
from surrogate_nas.draw import Draw, random_chooser
from surrogate_nas.space import ReferenceShape, SearchSpace
from surrogate_nas.space.counting import count
from tests.helpers.domains.tiny.tagger_space import TaggerSpace
from tests.helpers.tiny import tagging


@pytest.mark.parametrize(
    ("network", "shape", "parameters", "macs", "depth"),
    [
        (lambda: nn.Linear(5, 3), (5,), 18, 15, 1),
        (lambda: nn.Linear(5, 3), (7, 5), 18, 7 * 15, 1),
        (lambda: nn.Conv1d(2, 4, 3), (2, 10), 28, 8 * 24, 1),
        (lambda: nn.Conv2d(4, 6, 3, stride=2, groups=2, padding=1), (4, 8, 8), 114, 16 * 108, 1),
        (lambda: nn.Conv3d(1, 2, 2, bias=False), (1, 3, 3, 3), 16, 8 * 16, 1),
        (lambda: nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)), (3,), 11, 8, 2),
        (lambda: nn.BatchNorm2d(4), (4, 3, 3), 8, 0, 0),
    ],
)
def test_count(
    network: Any, shape: tuple[int, ...], parameters: int, macs: int, depth: int
) -> None:
    found = count(network, shape)
    assert found == {
        "parameters": parameters,
        "multiply_accumulates": macs,
        "depth": depth,
    }


def test_count_needs_no_memory() -> None:
    assert count(lambda: nn.Linear(10**8, 10**6), (10**8,))["multiply_accumulates"] == 1e14


def test_count_counts_shared_weights_once_and_their_uses_each() -> None:
    shared = nn.Sequential(nn.Linear(3, 3, device="meta"))
    shared.append(shared[0])
    assert count(lambda: shared, (3,)) == {
        "parameters": 12,
        "multiply_accumulates": 18,
        "depth": 2,
    }


STEPS, WIDTH, HIDDEN = 10, 16, 32
TOKENS = torch.arange(STEPS)[None]


class OfTokens(nn.Module):
    """An embedding, and a layer that may first look at a value, which the meta device has not."""

    def __init__(self, layer: Callable[[], nn.Module], reads_values: bool) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(50, WIDTH), layer()
        self.reads_values = reads_values

    def forward(self, tokens: torch.Tensor) -> Any:
        if self.reads_values and tokens.sum().item() < 0:
            return None
        return self.layer(self.embedding(tokens))


class Attention(nn.Module):
    """Two heads of scaled dot products."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.projection(x).reshape(len(x), STEPS, 3, 2, WIDTH // 2)
        return nn.functional.scaled_dot_product_attention(*parts.permute(2, 0, 3, 1, 4))


def encoder() -> nn.Module:
    return nn.TransformerEncoderLayer(WIDTH, 2, HIDDEN, batch_first=True)


PAIRS = 2 * STEPS * STEPS * WIDTH
"""Scores of all pairs of steps, and their weighted sums."""
LAYERS: dict[str, tuple[Callable[[], nn.Module], int, int]] = {
    "lstm": (
        lambda: nn.LSTM(WIDTH, HIDDEN, 2, batch_first=True),
        STEPS * 4 * HIDDEN * (WIDTH + 3 * HIDDEN),
        3,
    ),
    "gru": (
        lambda: nn.GRU(WIDTH, HIDDEN, batch_first=True),
        STEPS * 3 * HIDDEN * (WIDTH + HIDDEN),
        2,
    ),
    "attention": (Attention, STEPS * 3 * WIDTH * WIDTH + PAIRS, 2),
    "encoder": (encoder, STEPS * (4 * WIDTH * WIDTH + 2 * WIDTH * HIDDEN) + PAIRS, 4),
    "none": (nn.Identity, 0, 1),
}


@pytest.mark.parametrize("reads_values", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_sequences_are_counted(name: str, reads_values: bool) -> None:
    layer, macs, depth = LAYERS[name]
    before = torch.get_rng_state()
    found = count(lambda: OfTokens(layer, reads_values), (), TOKENS)
    assert (found["multiply_accumulates"], found["depth"]) == (macs, depth)
    assert torch.equal(torch.get_rng_state(), before)


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("never")


def test_what_cannot_be_counted_is_left_out() -> None:
    network = Broken()
    assert count(lambda: network, (3,)) == {"parameters": 8.0}
    assert not network.layer._forward_hooks


def test_a_network_that_is_built_on_the_cpu_alone_is_counted() -> None:
    def build() -> nn.Module:
        layer = nn.Linear(3, 2)
        layer.weight[0, 0].item()
        return layer

    assert count(build, (3,)) == {"parameters": 8.0, "multiply_accumulates": 6.0, "depth": 1.0}


def test_a_large_network_is_not_built_to_be_counted() -> None:
    built: list[str] = []

    def build() -> nn.Module:
        layer = nn.Linear(2**14, 2**14)
        built.append(layer.weight.device.type)
        return nn.Sequential(layer, Broken())

    assert set(count(build, (2**14,))) == {"parameters"}
    assert built == ["meta"]


@pytest.mark.parametrize("space", [CellSpace(), ConvNetSpace()])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 9, 6)])
def test_the_arithmetic_of_ready_spaces_is_what_is_counted(
    space: SearchSpace, shape: tuple[int, ...]
) -> None:
    """Limits and recorded runs depend on these numbers."""
    bound = space.for_task(ReferenceShape(shape, 7))
    rng = np.random.default_rng(1)
    for _ in range(3):
        architecture = bound.suggest(Draw(random_chooser(rng)))
        counted = count(lambda a=architecture: bound.build(a, bound.reference), shape)  # type: ignore[misc]
        described = bound.describe(architecture)
        for name in ("parameters", "multiply_accumulates"):
            assert described[name] == counted[name]


def test_a_space_counts_on_the_example_of_its_task() -> None:
    bound = TaggerSpace().for_task(tagging(5))
    described = bound.describe({"mixing": "conv", "width": 8})
    assert described["multiply_accumulates"] == 8 * (3 * 8 * 8) + 8 * (8 * 2)
    assert described["depth"] == 3


CELL = {
    **{"op_0": "conv_3x3", "op_1": "skip_connect", "op_2": "avg_pool_3x3", "op_3": "conv_1x1"},
    **{"op_4": "none", "op_5": "skip_connect", "width": 16, "depth": 2},
}
STAGES = {
    **{"n_stages": 2, "activation": "relu", "normalization": "batch"},
    **{"blocks_0": 2, "width_0": 16, "kernel_0": 3, "expansion_0": 1, "se_0": False},
    **{"blocks_1": 1, "width_1": 32, "kernel_1": 5, "expansion_1": 4, "se_1": True},
}


@pytest.mark.parametrize(
    ("space", "architecture", "shape", "parameters", "macs"),
    [
        (CellSpace(), CELL, (3, 32, 32), 181_527, 23_511_488),
        (CellSpace(), CELL, (1, 9, 6), 181_239, 2_895_904),
        (ConvNetSpace(), STAGES, (3, 32, 32), 17_159, 11_864_288),
        (ConvNetSpace(), STAGES, (1, 9, 6), 16_871, 617_728),
    ],
)
def test_numbers_of_ready_spaces_are_those_of_recorded_runs(
    space: SearchSpace, architecture: Any, shape: tuple[int, ...], parameters: int, macs: int
) -> None:
    """By the arithmetic and by running the network: both gave these when runs were recorded."""
    bound = space.for_task(ReferenceShape(shape, 7))
    counted = count(lambda: bound.build(architecture, bound.reference), shape)
    for found in (bound.describe(architecture), counted):
        assert (found["parameters"], found["multiply_accumulates"]) == (parameters, macs)
