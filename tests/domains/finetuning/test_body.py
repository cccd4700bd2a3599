from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from surrogate_nas.domains.finetuning.body import Body, Form, find_body
from surrogate_nas.errors import SpaceError
from tests.helpers.backbones import TinyNet, tiny_net

IMAGES = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def found(module: nn.Module, inputs: Any = IMAGES) -> tuple[Body, torch.Tensor]:
    body = find_body(module.eval(), inputs, "net")
    with torch.no_grad():
        return body, body(inputs)


def test_the_last_linear_layer_is_taken_away() -> None:
    net = tiny_net()
    body, features = found(net)
    x = net.norm(net.stem(IMAGES)).relu()
    torch.testing.assert_close(features, net.second(x).relu().mean((2, 3)))
    assert not any("classifier" in name for name, _ in body.named_parameters())
    assert isinstance(net.classifier, nn.Linear)


class WithFeatures(nn.Module):
    """Has maps by a method, and a classifier of its own that they do without."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, 2), nn.Conv2d(4, 5, 3, 2)
        self.scores = nn.Conv2d(5, 9, 1)

    def features(self, x: torch.Tensor) -> list[torch.Tensor]:
        first = self.first(x)
        return [first, self.second(first)]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.scores(self.features(x)[-1]).mean((2, 3))
        return scores


def test_a_method_features_comes_first() -> None:
    body, features = found(WithFeatures())
    assert body.form == Form("features", "map", is_last=True)
    assert features.shape == (2, 5)
    assert not any("scores" in name for name, _ in body.named_parameters())


class WithPart(nn.Module):
    """Like many networks of torchvision that end in a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU())
        self.classifier = nn.Sequential(nn.Conv2d(4, 9, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.classifier(self.features(x))
        return scores


class Steps(nn.Module):
    """Steps of tokens, in an object with an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(10, 4)

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> Any:
        return SimpleNamespace(last_hidden_state=self.words(tokens))


@pytest.mark.parametrize(
    ("module", "kind", "width"),
    [
        (WithPart(), "map", 4),
        (nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU()), "map", 6),
        (nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), "vector", 6),
        (nn.Sequential(nn.Flatten(2), nn.Linear(256, 5), nn.ReLU()), "steps", 5),
    ],
)
def test_maps_steps_and_vectors_are_features(module: nn.Module, kind: str, width: int) -> None:
    body, features = found(module)
    assert body.form.kind == kind
    assert features.shape == (2, width)


def test_steps_count_where_they_are_there() -> None:
    tokens = torch.tensor([[1, 2, 3], [4, 0, 0]])
    module = Steps()
    _, features = found(module, {"tokens": tokens, "lengths": torch.tensor([3, 1])})
    words = module.words.weight
    torch.testing.assert_close(features, torch.stack([words[1:4].mean(0), words[4]]))


def test_frozen_parameters_are_found_as_well() -> None:
    net = tiny_net()
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    body, _ = found(net)
    assert len(list(body.parameters())) == 5


class Returns(nn.Module):
    def __init__(self, what: Any) -> None:
        super().__init__()
        self.layer, self.what = nn.Linear(3, 3), what

    def forward(self, x: torch.Tensor) -> Any:
        return self.what(x)


def broken(x: torch.Tensor) -> torch.Tensor:
    raise RuntimeError("no such size")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda x: {"a": x}, "an output dict for 2 inputs"),
        (lambda x: x.mean(), r"an output \(\) for 2 inputs"),
        (lambda x: torch.zeros(len(x), 4), "do not depend on the inputs"),
        (lambda x: x / 0, "not finite"),
        (broken, "RuntimeError: no such size"),
    ],
)
def test_features_that_cannot_be_found(what: Any, said: str) -> None:
    with pytest.raises(SpaceError, match=f"features of backbone 'net'.*{said}.*method features"):
        find_body(Returns(what), IMAGES, "net")


def test_the_module_is_left_as_it_was() -> None:
    net = TinyNet().train()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    find_body(net, IMAGES, "net")
    assert net.training
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
