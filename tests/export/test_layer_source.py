from __future__ import annotations

import pytest
import torch
from torch import nn

from surrogate_nas.errors import ExportError
from surrogate_nas.export.layer_source import (
    constructor,
    function,
    identifier,
    layer_name,
    literal,
)


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        (nn.Conv2d(1, 8, 3, padding=1, bias=False), "nn.Conv2d(1, 8, 3, padding=1, bias=False)"),
        (nn.Conv2d(4, 8, (3, 5), stride=(2, 1)), "nn.Conv2d(4, 8, (3, 5), stride=(2, 1))"),
        (
            nn.Conv2d(4, 8, 3, padding="same", groups=4, padding_mode="reflect"),
            "nn.Conv2d(4, 8, 3, padding='same', groups=4, padding_mode='reflect')",
        ),
        (nn.AvgPool2d(2, ceil_mode=True), "nn.AvgPool2d(2, stride=2, ceil_mode=True)"),
        (nn.MaxPool2d(3, 2, 1), "nn.MaxPool2d(3, stride=2, padding=1)"),
        (nn.AdaptiveAvgPool2d((1, 1)), "nn.AdaptiveAvgPool2d(1)"),
        (nn.AdaptiveAvgPool2d((None, 2)), "nn.AdaptiveAvgPool2d((None, 2))"),
        (nn.BatchNorm2d(8), "nn.BatchNorm2d(8)"),
        (
            nn.BatchNorm1d(8, eps=1e-3, momentum=None, affine=False),
            "nn.BatchNorm1d(8, eps=0.001, momentum=None, affine=False, bias=False)",
        ),
        (nn.GroupNorm(2, 4, affine=False), "nn.GroupNorm(2, 4, affine=False, bias=False)"),
        (nn.LayerNorm((5, 5)), "nn.LayerNorm((5, 5))"),
        (nn.LayerNorm(5, bias=False), "nn.LayerNorm((5,), bias=False)"),
        (nn.Linear(3, 2, bias=False), "nn.Linear(3, 2, bias=False)"),
        (nn.GELU("tanh"), "nn.GELU(approximate='tanh')"),
        (nn.SiLU(inplace=True), "nn.SiLU(inplace=True)"),
        (nn.LeakyReLU(0.2), "nn.LeakyReLU(negative_slope=0.2)"),
        (nn.PReLU(4), "nn.PReLU(num_parameters=4)"),
        (nn.Softmax(dim=1), "nn.Softmax(dim=1)"),
        (nn.Dropout(0.3), "nn.Dropout(p=0.3)"),
        (nn.Embedding(10, 4, padding_idx=0), "nn.Embedding(10, 4, padding_idx=0)"),
        (nn.Upsample(scale_factor=2), "nn.Upsample(scale_factor=2.0)"),
        (nn.Flatten(), "nn.Flatten()"),
        (nn.GRU(4, 8, batch_first=True), "nn.GRU(4, 8, batch_first=True)"),
        (nn.LSTM(4, 8, 2, proj_size=3), "nn.LSTM(4, 8, num_layers=2, proj_size=3)"),
        (
            nn.RNN(4, 8, nonlinearity="relu", bidirectional=True),
            "nn.RNN(4, 8, nonlinearity='relu', bidirectional=True)",
        ),
    ],
)
def test_a_layer_is_written_as_the_call_that_makes_it(layer: nn.Module, source: str) -> None:
    assert constructor(layer) == source
    again = eval(source, {"nn": nn})
    assert constructor(again) == source
    shapes = [{n: v.shape for n, v in made.state_dict().items()} for made in (layer, again)]
    assert shapes[0] == shapes[1]


class Conv2d(nn.Conv2d):
    """Has the name of PyTorch's."""


def test_only_pytorch_s_own_layers_are_written() -> None:
    with pytest.raises(ExportError, match="a layer of class 'Conv2d'"):
        constructor(Conv2d(1, 1, 1))


@pytest.mark.parametrize(
    "value",
    [None, True, -3, 0.1, 1e300, "a'b\"\n\u202e", (1,), (), [1, (2.5, "x")], torch.int8, ...],
)
def test_constants_are_read_back_as_they_were(value: object) -> None:
    assert eval(literal(value), {"torch": torch}) == value
    assert literal(value).isascii()


def test_what_has_no_form_in_source_is_refused() -> None:
    with pytest.raises(ExportError, match="a constant of type 'device'"):
        literal(torch.device("cpu"))


def test_infinity_is_written_as_python_reads_it() -> None:
    assert eval(literal(float("-inf"))) == float("-inf")


@pytest.mark.parametrize(
    "name", ["_private", "a.b", "a b", "", "x\n", "\N{GREEK SMALL LETTER PI}"]
)
def test_only_plain_public_names_are_written(name: str) -> None:
    with pytest.raises(ExportError):
        identifier(name)


def test_functions_get_their_public_names_back() -> None:
    assert function(torch._C._nn.avg_pool2d) == "F.avg_pool2d"
    assert function(torch.cat) == "torch.cat"
    with pytest.raises(ExportError, match="a call of 'print'"):
        function(print)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (nn.Conv2d(1, 1, 1), "conv"),
        (nn.BatchNorm2d(1), "norm"),
        (nn.GroupNorm(1, 1), "norm"),
        (nn.AdaptiveAvgPool2d(1), "adaptive_avg_pool"),
        (nn.LeakyReLU(), "leaky_relu"),
        (nn.SiLU(), "silu"),
    ],
)
def test_layers_have_short_names(layer: nn.Module, name: str) -> None:
    assert layer_name(layer) == name
