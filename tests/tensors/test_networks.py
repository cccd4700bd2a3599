from __future__ import annotations

import pytest
import torch
from torch import nn

from surrogate_nas.tensors.networks import is_lazy, materialize
from tests.helpers.unusual import Unreached, lazy_layers


def test_lazy_layers_get_their_sizes_and_nothing_else() -> None:
    network = lazy_layers(4, (1, 8, 8), 3)
    network[3].eval()
    materialize(network, torch.randn(1, 1, 8, 8))
    assert not is_lazy(network)
    assert [module.training for module in network] == [True, True, True, False, True, True]
    assert torch.equal(network.get_buffer("1.running_mean"), torch.zeros(4))
    assert network.get_parameter("5.weight").shape == (3, 4 * 36)


def test_a_network_of_known_sizes_is_not_run() -> None:
    network = nn.Linear(2, 2)
    network.register_forward_hook(lambda *_: pytest.fail("it is run"))
    materialize(network, torch.zeros(1, 2))


def test_what_the_inputs_do_not_reach_is_named() -> None:
    assert materialize(Unreached(), torch.zeros(1, 5)) == "unused.weight"
    assert materialize(nn.LazyLinear(3), torch.zeros(1, 5)) is None


def test_an_error_of_the_network_stays_its_own() -> None:
    network = nn.Sequential(nn.LazyLinear(3), nn.Dropout(), nn.Linear(4, 2))
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        materialize(network, torch.zeros(1, 5))
    assert all(module.training for module in network.modules())
