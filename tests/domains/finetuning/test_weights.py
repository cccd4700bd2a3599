from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from surrogate_nas.domains.finetuning.weights import put_weights, read_weights
from surrogate_nas.errors import SpaceError
from tests.helpers.backbones import TinyNet, tiny_net

STATE = tiny_net().state_dict()


@pytest.mark.parametrize("form", ["safetensors", "state", "wrapped", "parallel"])
def test_every_form_of_weights_is_read(tmp_path: Path, form: str) -> None:
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pth")
    if form == "safetensors":
        safetensors.torch.save_file(STATE, path)
    else:
        parallel = {f"module.{name}": t for name, t in STATE.items()}
        forms = {"state": STATE, "wrapped": {"state_dict": STATE, "epoch": 3}}
        torch.save(forms.get(form, parallel), path)
    network = TinyNet()
    put_weights(network, read_weights(path), "a net")
    assert all(torch.equal(t, STATE[name]) for name, t in network.state_dict().items())


def test_another_last_layer_is_left_as_it_is() -> None:
    network = TinyNet(n_classes=3)
    before = network.classifier.weight.clone()
    put_weights(network, STATE, "a net")
    assert torch.equal(network.classifier.weight, before)
    assert torch.equal(network.stem.weight, STATE["stem.weight"])
    without = {name: t for name, t in STATE.items() if "classifier" not in name}
    put_weights(TinyNet(), without, "a net")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"stem.weight": None}, r"no 'stem\.weight'"),
        ({"other.weight": torch.zeros(2)}, r"'other\.weight', which the network has not"),
        ({"stem.weight": torch.zeros(6, 3, 5, 5)}, r"'stem\.weight' of shape \(6, 3, 5, 5\)"),
        ({"second.bias": torch.full((12,), torch.nan)}, r"others in 'second\.bias'"),
    ],
)
def test_weights_of_another_network_are_named(
    change: dict[str, torch.Tensor | None], said: str
) -> None:
    weights = {name: t for name, t in {**STATE, **change}.items() if t is not None}
    with pytest.raises(SpaceError, match=said):
        put_weights(TinyNet(), weights, "a net")


def test_missing_weights_are_counted() -> None:
    layers = nn.Sequential(*(nn.Linear(2, 2) for _ in range(6)), nn.Linear(2, 1))
    with pytest.raises(SpaceError, match=r"no '0\.weight', .* and 7 more"):
        put_weights(layers, {}, "layers")


def test_a_pickled_object_is_refused_unread(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, ("raise SystemExit('ran')",)

    torch.save({"state_dict": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(SpaceError, match="could run code"):
        read_weights(tmp_path / "trap.pth")
    torch.save(tiny_net(), tmp_path / "whole.pt")
    with pytest.raises(SpaceError, match="could run code"):
        read_weights(tmp_path / "whole.pt")
    (tmp_path / "net.pkl").write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(SpaceError, match="a pickle file"):
        read_weights(tmp_path / "net.pkl")


def test_what_is_no_file_of_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    safetensors.torch.save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(SpaceError, match="cannot be read"):
        read_weights(path)
    torch.save(STATE, tmp_path / "w.pth")
    (tmp_path / "w.pth").write_bytes((tmp_path / "w.pth").read_bytes()[:-300])
    with pytest.raises(SpaceError, match=r"named tensors in .*w\.pth"):
        read_weights(tmp_path / "w.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(SpaceError, match="got a list"):
        read_weights(tmp_path / "list.pth")
    torch.save({"epoch": 3}, tmp_path / "epoch.pth")
    with pytest.raises(SpaceError, match="a int as 'epoch'"):
        read_weights(tmp_path / "epoch.pth")
    with pytest.raises(SpaceError, match="No such file"):
        read_weights(tmp_path / "nothing.pth")
