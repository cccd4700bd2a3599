"""What a space is asked beside a trial, where its own errors must end nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from torch import nn

from surrogate_nas.space import Architecture, SearchSpace, TaskShape
from surrogate_nas.space.asking import cannot_learn, random_architecture
from tests.helpers.toys import ARCHITECTURE, ToySpace


class Choosy(SearchSpace):
    """Takes narrow networks for dead; raises where it is broken."""

    def __init__(self, *, is_broken: bool = False) -> None:
        self.is_broken = is_broken

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return ToySpace().suggest(trial)

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        return ToySpace().build(architecture, task)

    def is_degenerate(self, architecture: Architecture) -> bool:
        if self.is_broken:
            raise RuntimeError("no such layer")
        return bool(architecture["width"] == 2)


class Broken(SearchSpace):
    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        raise RuntimeError("no such layer")

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        raise RuntimeError("no such layer")


def test_a_random_architecture_follows_from_the_generator() -> None:
    drawn = [random_architecture(ToySpace(), np.random.default_rng(seed)) for seed in (0, 0, 1)]
    assert drawn[0] is not None
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]


@pytest.mark.parametrize(("width", "is_dead"), [(2, True), (4, False)])
def test_a_space_says_which_architectures_cannot_learn(width: int, is_dead: bool) -> None:
    """Asked by the architecture or by its parameters alone."""
    space: SearchSpace = Choosy()
    params: dict[str, Any] = {**ARCHITECTURE, "width": width}
    assert cannot_learn(space, params, None) is is_dead
    assert cannot_learn(space, {}, space.from_params(params)) is is_dead


def test_a_space_that_raises_says_nothing() -> None:
    assert random_architecture(Broken(), np.random.default_rng(0)) is None
    assert not cannot_learn(Choosy(is_broken=True), ARCHITECTURE, None)
