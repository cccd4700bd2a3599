"""The file is executed for real, with weights that safetensors wrote."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from surrogate_nas.domains.images.cell_graph import OPERATIONS
from surrogate_nas.errors import ExportError
from surrogate_nas.export.standalone import network_source
from surrogate_nas.space import Architecture, ReferenceShape, SearchSpace
from surrogate_nas.spaces import CellSpace, ConvNetSpace
from tests.helpers.toys import ToySpace

pytestmark = pytest.mark.slow

GREY, COLORED, ODD = (1, 28, 28), (3, 8, 8), (3, 17, 13)


def written(
    network: nn.Module, shape: tuple[int, ...], preparation: nn.Module | None = None
) -> str:
    return network_source(network, torch.zeros(2, *shape), torch.zeros(2, 3), preparation)


def executed(network: nn.Module, shape: tuple[int, ...], folder: Path, **options: Any) -> Any:
    """Write the file beside its weights and run it; return its names."""
    source = written(network, shape, options.pop("preparation", None))
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    safetensors.torch.save_file(weights, folder / "weights.safetensors")
    names: dict[str, Any] = {"__name__": "network", "__file__": str(folder / "network.py")}
    exec(compile(source, "network.py", "exec"), names)
    return names


def require_equal(network: nn.Module, shape: tuple[int, ...], folder: Path) -> Any:
    names = executed(network.eval(), shape, folder)
    inputs = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        rebuilt = names["load"]()
        assert torch.equal(rebuilt(inputs), network(inputs))
        assert torch.equal(rebuilt(inputs[:1]), network(inputs[:1]))
    assert not rebuilt.training
    return names


def used(network: nn.Module, shape: tuple[int, ...]) -> nn.Module:
    """Move running statistics and every weight off where they start."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        network(torch.randn(8, *shape))
    return network


def require_space(
    space: SearchSpace, params: Architecture, shape: tuple[int, ...], folder: Path
) -> None:
    network = space.build(space.from_params(params), ReferenceShape(shape, 3))
    require_equal(used(network, shape), shape, folder)


@pytest.mark.parametrize("shape", [GREY, COLORED, ODD, (1, 2, 2)])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_cells_of_one_operation(operation: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    params = {f"op_{edge}": operation for edge in range(6)} | {"width": 8, "depth": 1}
    require_space(CellSpace(), params, shape, tmp_path)


@given(
    operations=st.lists(st.sampled_from(OPERATIONS), min_size=6, max_size=6),
    depth=st.integers(1, 2),
)
@settings(max_examples=25)
def test_any_cell(
    operations: list[str], depth: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    params = {f"op_{edge}": operation for edge, operation in enumerate(operations)}
    require_space(
        CellSpace(n_stages=2),
        {**params, "width": 8, "depth": depth},
        ODD,
        tmp_path_factory.mktemp("cell"),
    )


@pytest.mark.parametrize("shape", [GREY, ODD])
@pytest.mark.parametrize(
    ("activation", "normalization", "expansion", "has_gate"),
    [
        (activation, normalization, expansion, has_gate)
        for (activation, normalization), (expansion, has_gate) in zip(
            itertools.product(("relu", "silu", "gelu"), ("batch", "group")),
            itertools.cycle(itertools.product((1, 2, 4), (False, True))),
            strict=False,
        )
    ],
)
def test_convolutional_networks(
    activation: str,
    normalization: str,
    expansion: int,
    has_gate: bool,
    shape: tuple[int, ...],
    tmp_path: Path,
) -> None:
    params: dict[str, Any] = {"n_stages": 3}
    for stage, kernel in enumerate((3, 5, 3)):
        params |= {f"blocks_{stage}": 2, f"width_{stage}": 8, f"kernel_{stage}": kernel}
        params |= {f"expansion_{stage}": expansion, f"se_{stage}": has_gate}
    params |= {"activation": activation, "normalization": normalization}
    require_space(ConvNetSpace(), params, shape, tmp_path)


def test_one_s_own_space(tmp_path: Path) -> None:
    params = {"width": 4, "kernel": 3, "activation": "tanh", "depth": 2, "second_width": 2}
    require_space(ToySpace(dropout=0.5), params, (1, 8, 8), tmp_path)


class Custom(nn.Module):
    """A forward of one's own, on (n, 3, 4)."""

    def __init__(self, forward: Callable[[Custom, torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.blocks = nn.ModuleDict({'a "quote"\n\N{SNOWMAN}': nn.Linear(4, 4)})
        self.scale = nn.Parameter(torch.full((4,), 2.5))
        self.register_buffer("shift", torch.tensor([1.0, 2.0, 3.0, 4.0]))
        self.register_buffer("train_", torch.ones(4, dtype=torch.int64))
        self.register_buffer("passing", torch.ones(4), persistent=False)
        self.nothing = nn.Identity()
        self.way = [forward]  # in a list, or it would be bound as a method

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.way[0](self, x)


def quoted(net: Any, x: torch.Tensor) -> torch.Tensor:
    outputs: torch.Tensor = net.blocks['a "quote"\n\N{SNOWMAN}'](x)
    return outputs


def sliced(net: Any, x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x[:, :2], net.linear(x)[:, 1:3:2], x[..., -1, None].expand(-1, -1, 4)], 1)


def combined(net: Any, x: torch.Tensor) -> torch.Tensor:
    weight: torch.Tensor = net.linear.weight
    return -(x**2) / (x.abs() + 1) % 2.0 - 2**-1.0 * x @ weight.mT


def called(net: Any, x: torch.Tensor) -> torch.Tensor:
    return F.leaky_relu(x, negative_slope=0.3).softmax(dim=-1) + F.pad(x, (0, 0))


def summed(net: Any, x: torch.Tensor) -> torch.Tensor:
    values = [net.linear(x) * i for i in range(9)]
    total: torch.Tensor = torch.stack(values).sum(0) - values[3]
    return total


def shaped(net: Any, x: torch.Tensor) -> torch.Tensor:
    n: int = x.shape[0]
    y: torch.Tensor = net.linear(x).view(n, -1)
    return y.reshape(x.size(0), 3, 4) + x


WAYS: dict[str, Callable[[Any, torch.Tensor], torch.Tensor]] = {
    "parameters and buffers": lambda net, x: net.linear(x) * net.scale + net.shift - net.train_,
    "names that need quotes": quoted,
    "a layer twice": lambda net, x: net.linear(net.linear(x)),
    "shapes": shaped,
    "slices": sliced,
    "functions": called,
    "operators": combined,
    "a negative base": lambda net, x: torch.sigmoid((-2) * x) ** -1,
    "identities": lambda net, x: net.nothing(net.linear(net.nothing(x))) + net.nothing(x),
    "infinity": lambda net, x: x.clamp(min=-1.0, max=float("inf")),
    "a value that nothing uses": lambda net, x: (net.linear(x), x + 1)[1],
    "in place": lambda net, x: net.linear(x).add_(1.0).relu_(),
    "the input itself": lambda net, x: x,
    "types": lambda net, x: x.to(torch.float64).to(dtype=torch.float32),
    "many values at once": summed,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_forward_of_one_s_own(way: str, tmp_path: Path) -> None:
    require_equal(Custom(WAYS[way]), (3, 4), tmp_path)


def leaking(net: Any, x: torch.Tensor) -> torch.Tensor:
    kept = x + 1
    hidden = net.linear(x)
    return torch.relu(hidden) + kept + x


def test_values_that_live_on_keep_their_names(tmp_path: Path) -> None:
    require_equal(Custom(leaking), (3, 4), tmp_path)


def branching(net: Any, x: torch.Tensor) -> torch.Tensor:
    return x if x.sum() > 0 else -x


IMPOSSIBLE: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "cannot trace": branching,
    "not among its weights": lambda net, x: x + net.passing,
    "one tensor": lambda net, x: (x, x),
    "a call of": lambda net, x: torch.ops.aten.relu(x),
}


@pytest.mark.parametrize("reason", IMPOSSIBLE)
def test_what_cannot_be_written_is_refused_with_the_reason(reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        written(Custom(IMPOSSIBLE[reason]), (3, 4), None)


def test_a_layer_of_another_class_is_refused() -> None:
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))

    with pytest.raises(ExportError, match="a layer of class 'ParametrizedLinear'"):
        written(nn.Sequential(layer), (3, 4), None)


def test_several_arguments_are_refused() -> None:
    class Two(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor | None = None) -> torch.Tensor:
            return x

    with pytest.raises(ExportError, match="several arguments"):
        written(Two(), (3, 4), None)


def hostile(text: str) -> nn.Module:
    """A network with this text wherever a user's names go."""
    kind = type("Block", (nn.Sequential,), {})
    kind.__name__ = text
    network = nn.Sequential()
    network._modules[text] = kind(nn.Linear(4, 4), nn.ReLU())
    return network


@pytest.mark.parametrize(
    "text", ['"""', "\n    import os", "'", "\\", "a\u2028b", '"\n}\nboom()', "#"]
)
def test_no_name_of_the_user_s_becomes_code(text: str, tmp_path: Path) -> None:
    network = hostile(text)
    plain = written(hostile("plain"), (4,), None)
    source = written(network, (4,), None)

    def shape(code: str) -> list[str]:
        return [type(node).__name__ for node in ast.walk(ast.parse(code))]

    assert shape(source) == shape(plain)
    require_equal(network, (4,), tmp_path)


class Scaled(nn.Module):
    def __init__(self, n: int = 1) -> None:
        super().__init__()
        self.register_buffer("mean", torch.rand(1, 3, n, 1))
        self.register_buffer("class", torch.tensor(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x - self.get_buffer("mean")) / self.get_buffer("class")


def test_the_preparation_is_written_with_its_constants(tmp_path: Path) -> None:
    preparation = Scaled()
    names = executed(nn.Linear(4, 4).eval(), (3, 4), tmp_path, preparation=preparation)
    raw = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8)

    assert torch.equal(names["prepare"](raw), preparation(raw))


def test_without_a_preparation_there_is_no_such_function(tmp_path: Path) -> None:
    assert "prepare" not in executed(nn.Linear(4, 4).eval(), (4,), tmp_path)


@pytest.mark.parametrize(
    ("preparation", "reason"),
    [(Scaled(5000), "more than 4096"), (nn.Sequential(nn.Linear(4, 4)), "with layers")],
)
def test_a_preparation_that_cannot_be_written_is_refused(
    preparation: nn.Module, reason: str
) -> None:
    with pytest.raises(ExportError, match=reason):
        written(nn.Linear(4, 4).eval(), (4,), preparation)


def test_the_code_is_short_and_names_the_blocks() -> None:
    params = {f"op_{edge}": "conv_3x3" for edge in range(6)} | {"width": 8, "depth": 1}
    network = CellSpace(n_stages=1).build(params, ReferenceShape(GREY, 3)).eval()
    source = written(network, GREY, None)

    assert "        self.conv_1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)\n" in source
    assert "        # 2: Cell\n        y = self.norm_2(self.conv_2(self.relu(x)))\n" in source
    assert "import torch.nn.functional" not in source
    assert max(map(len, source.splitlines())) <= 99
