from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from surrogate_nas.errors import SpaceError
from surrogate_nas.space.networks import checked_network, with_sizes
from tests.helpers.unusual import Unreached

NONE: list[tuple[Any, str]] = [
    (None, "got None"),
    (nn.Linear, r"got the class Linear. Return an instance, Linear\(...\), from Mine.build"),
    (int, "got the class int. Return the network from Mine.build"),
    ([nn.Linear(1, 1)], "a list of 1 items"),
    ({"network": nn.Linear(1, 1)}, "a dict of 1 items"),
    ("resnet18", "'resnet18' of type str"),
    (torch.zeros(2), "of type Tensor"),
    (lambda x: x, "of type function"),
]


@pytest.mark.parametrize(("value", "said"), NONE, ids=[said for _, said in NONE])
def test_what_is_no_network_is_refused(value: Any, said: str) -> None:
    with pytest.raises(SpaceError, match=rf"(?s)a torch.nn.Module from Mine.build; .*{said}"):
        checked_network(value, "Mine.build")


def test_a_network_is_itself() -> None:
    network = nn.Linear(1, 1)
    assert checked_network(network, "Mine.build") is network


def test_a_lazy_layer_without_a_size_is_an_error() -> None:
    said = r"lazy layer its size; got 'unused.weight', which the input did not reach.*known sizes"
    with pytest.raises(SpaceError, match=said):
        with_sizes(Unreached(), lambda device: torch.zeros(1, 5, device=device))
