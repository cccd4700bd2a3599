from __future__ import annotations

import pytest
import torch

from surrogate_nas.errors import SpaceError
from surrogate_nas.space import ReferenceShape, build_network
from surrogate_nas.training.seeding import seeded
from tests.helpers.toys import ToyTask
from tests.helpers.unusual import OneWidth, lazy_layers

LAZY = OneWidth(lazy_layers)


def test_lazy_layers_take_an_input_of_the_task_or_of_its_shape() -> None:
    states = []
    for task in (ToyTask(), ReferenceShape((1, 8, 8), 3)):
        with seeded(0):
            states.append(build_network(LAZY, {"width": 4}, task).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_lazy_network_is_counted() -> None:
    counted = LAZY.for_task(ToyTask()).describe({"width": 4})
    n_parameters = 4 * 9 + 4 + 2 * 4 + 3 * 4 * 36 + 3
    assert counted == {
        "parameters": n_parameters,
        "multiply_accumulates": 4 * 9 * 36 + 3 * 4 * 36,
        "depth": 2,
    }


def test_a_build_that_returns_no_network_is_an_error() -> None:
    nothing = OneWidth(lambda *_: None)
    with pytest.raises(SpaceError, match=r"Module from OneWidth.build; got None. Return the netw"):
        build_network(nothing, {"width": 4}, ToyTask())
    with pytest.raises(SpaceError, match=r"Module from OneWidth.build; got None"):
        nothing.for_task(ToyTask()).describe({"width": 4})
