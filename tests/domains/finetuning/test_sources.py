from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from surrogate_nas.domains.finetuning.sources import INPUTS, named_text, sources
from surrogate_nas.errors import MissingExtraError, SpaceError
from tests.helpers.backbones import TinyNet, tiny_net, write_plan

CODE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, size="4"):
        super().__init__()
        self.layer = nn.Conv2d(3, int(size), 3)

    def forward(self, x):
        return self.layer(x)

def broken():
    raise ValueError("no weights")

SIZE = 3
"""


def load(given: Any, name: str = "net") -> Any:
    return sources({name: given})[name].load()


@pytest.fixture
def code(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(CODE)
    return tmp_path / "nets.py"


def test_a_function_a_class_and_a_module_are_backbones() -> None:
    net = tiny_net()
    assert load(net).module is net
    assert isinstance(load(tiny_net).module, TinyNet)
    assert load(tiny_net).origin == "made by tiny_net"
    assert isinstance(load(TinyNet).module, TinyNet)


def test_code_of_a_user_s_own_file_is_called(code: Path) -> None:
    loaded = load(f"{code}:Net:6")
    assert loaded.module.layer.out_channels == 6
    assert loaded.origin == "made by Net('6') of nets.py"
    assert type(load(f"{code}:Net").module) is type(loaded.module)
    # Relative to a file of weights, a path would say nothing on another machine.
    with pytest.raises(SpaceError, match=r"Net to return .*ValueError.* called with '/x/w\.npz'"):
        load(f"{code}:Net:/x/w.npz")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}:broken", "ValueError: no weights"),
        ("{}:nothing", "a function or class 'nothing' in .*; got Net, broken"),
        ("{}:SIZE", "a function or class 'SIZE'"),
        ("{}x.py:Net", "no such file"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(code: Path, text: str, said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        load(text.format(code))


def test_a_file_that_cannot_be_imported_is_named(code: Path) -> None:
    code.write_text("import no_such_package")
    with pytest.raises(SpaceError, match="no_such_package"):
        load(f"{code}:Net")
    code.write_text(CODE)
    assert load(f"{code}:Net").module.layer.out_channels == 4


def test_a_plan_is_a_backbone(tmp_path: Path) -> None:
    write_plan(tmp_path / "net.npz")
    loaded = load(tmp_path / "net.npz")
    assert loaded.origin == "file net.npz"
    assert loaded.module(torch.zeros(1, 3, 16, 16)).shape[1] == 8


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("net=nets.py:Net:weights=1.npz", "net"),
        ("torchvision:resnet18", "resnet18"),
        ("torchvision:mobilenet_v3_small=weights.pth", "mobilenet_v3_small"),
        ("timm:resnet18=w.safetensors", "resnet18"),
        ("mine=torchvision:resnet18=w.pth", "mine"),
        ("mine=w.npz", "mine"),
    ],
)
def test_texts_of_the_command_line(text: str, name: str) -> None:
    found, given = named_text(text)
    assert found == name
    assert given == (text if ":" in text.partition("=")[0] else text.partition("=")[2])
    assert list(sources([text])) == [name]


@pytest.mark.parametrize("text", ["net", "=x", "net=", "keras:resnet", "torchvision:"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(SpaceError, match=r"NAME=FILE\.py:CALLABLE"):
        sources([text])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"": tiny_net}, "printable characters"),
        ({"a\n": tiny_net}, "printable characters"),
        ({"a": 3}, "'a' as a function, a module or a path; got 3"),
        ({"a": {"inputs": "0-1"}}, "with load among them"),
        ({"a": {"load": tiny_net, "mean": 3}}, "got mean"),
        ({"a": {"load": tiny_net, "inputs": "255"}}, "among auto, imagenet"),
        ({"a": {"load": tiny_net, "accuracy": 71}}, "a number from 0 to 1"),
        ("torchvision:resnet18", "by name"),
        (3, "by name"),
        (["a=x.npz", "a=y.npz"], "'a' twice"),
    ],
)
def test_what_is_no_backbone_is_refused(given: Any, said: str) -> None:
    with pytest.raises(SpaceError, match=said):
        sources(given)


def test_what_a_function_returns_is_checked() -> None:
    with pytest.raises(SpaceError, match="got the class TinyNet"):
        load(lambda: TinyNet)
    with pytest.raises(SpaceError, match="of type dict"):
        load(lambda: {"weight": 1})


def test_settings_say_more_than_the_source() -> None:
    loaded = load({"load": tiny_net, "inputs": "-1-1", "accuracy": 0.7})
    assert loaded.inputs == INPUTS["-1-1"]
    assert loaded.accuracy == 0.7


def package(monkeypatch: pytest.MonkeyPatch, name: str, **contents: Any) -> None:
    """Put a package in the place of one that may not be installed."""
    made = ModuleType(name)
    vars(made).update(contents, __spec__=SimpleNamespace(name=name))
    monkeypatch.setitem(sys.modules, name, made)


def test_a_model_of_torchvision_gets_the_weights_of_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def get_model(name: str, weights: Any) -> nn.Module:
        if name != "tiny":
            raise ValueError(f"Unknown model {name}")
        return tiny_net() if weights else TinyNet()

    meta = {"_metrics": {"ImageNet": {"acc@1": 61.0}}}
    weights = SimpleNamespace(DEFAULT=SimpleNamespace(name="V1", meta=meta))
    models = SimpleNamespace(get_model=get_model, get_model_weights=lambda _: weights)
    package(monkeypatch, "torchvision", models=models)
    torch.save(tiny_net().state_dict(), tmp_path / "w.pth")

    for given in (f"torchvision:tiny={tmp_path / 'w.pth'}", tmp_path / "w.pth"):
        loaded = load(given, "tiny")
        assert loaded.origin == "torchvision tiny, file w.pth"
        assert loaded.inputs == INPUTS["imagenet"]
        assert torch.equal(loaded.module.stem.weight, tiny_net().stem.weight)
    loaded = load("torchvision:tiny")
    assert (loaded.accuracy, loaded.origin) == (0.61, "torchvision tiny, weights V1")
    with pytest.raises(SpaceError, match=r"'resnet' of torchvision.*Unknown model"):
        load("torchvision:resnet")
    with pytest.raises(SpaceError, match="a file of weights as backbone 'net'; got nothing"):
        load(tmp_path / "nothing.pth")


def test_a_model_of_timm_says_its_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(name: str, pretrained: bool) -> nn.Module:
        net = tiny_net()
        net.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}  # type: ignore[assignment]
        return net

    package(monkeypatch, "timm", create_model=create_model)
    assert load("timm:tiny").inputs == ((0.5,) * 3, (0.5,) * 3)


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingExtraError, match="pip install torchvision"):
        load("torchvision:resnet18")
