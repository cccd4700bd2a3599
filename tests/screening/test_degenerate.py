"""Architectures that cannot learn are no candidates while there are others."""

from __future__ import annotations

from typing import final

import numpy as np
import optuna
import pytest
from torch import nn

from surrogate_nas.domains.images.cell import CellSpace
from surrogate_nas.screening.pool import Limits, Pool
from surrogate_nas.screening.whole_space import WholeSpace
from surrogate_nas.space import Architecture, ParameterSpace, SearchSpace, TaskShape
from surrogate_nas.space.draw import replay_chooser
from tests.helpers.samplers import sampler, studied

DEAD = {f"op_{i}": "none" for i in range(6)} | {"width": 8, "depth": 1}
ALIVE = DEAD | {"op_3": "skip_connect"}


@final
class Optional(SearchSpace):
    """One layer that may be missing; without it there is nothing to train."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {"layer": trial.suggest_categorical("layer", (False, True))}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        layers = [nn.Linear(3 * 32 * 32, 10)] if architecture["layer"] else []
        return nn.Sequential(nn.Flatten(), *layers)


class Counted(SearchSpace):
    """Its describe says which architectures have no layers."""

    def __init__(self, *dead: int) -> None:
        self.dead = dead

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {"n": trial.suggest_int("n", 0, 7)}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        raise NotImplementedError

    def describe(self, architecture: Architecture) -> dict[str, float]:
        return {"depth": 0.0 if architecture["n"] in self.dead else 1.0}


@final
class Told(Counted):
    """Says it by a rule of its own."""

    def is_degenerate(self, architecture: Architecture) -> bool:
        return architecture["n"] in self.dead


@final
class Broken(Counted):
    """Its rule raises an error."""

    def is_degenerate(self, architecture: Architecture) -> bool:
        raise RuntimeError


def searched(space: SearchSpace, n_trials: int, n_candidates: int) -> list[int]:
    chosen = sampler(space, n_startup_trials=2, n_candidates=n_candidates)
    study = studied(chosen, lambda trial: float(space.suggest(trial)["n"]), n_trials)
    return [trial.params["n"] for trial in study.trials]


def test_a_cell_without_a_path_is_degenerate() -> None:
    space = CellSpace()

    assert space.is_degenerate(space.from_params(DEAD))
    assert not space.is_degenerate(space.from_params(ALIVE))


def test_a_network_without_parameters_is_degenerate() -> None:
    assert Optional().is_degenerate({"layer": False})
    assert not Optional().is_degenerate({"layer": True})


def test_a_space_of_bare_parameters_knows_of_none() -> None:
    space = ParameterSpace({"depth": optuna.distributions.IntDistribution(0, 3)})

    assert not space.is_degenerate({"depth": 0})


@pytest.mark.parametrize("kind", [Counted, Told])
@pytest.mark.parametrize("n_candidates", [4, 64])
def test_degenerate_architectures_come_last(kind: type[Counted], n_candidates: int) -> None:
    chosen = searched(kind(1, 4, 6, 7), 6, n_candidates)

    assert sorted(chosen[:4]) == [0, 2, 3, 5]
    assert set(chosen[4:]) < {1, 4, 6, 7}


@pytest.mark.parametrize("space", [Counted(*range(8)), Told(*range(8)), Broken()])
def test_a_space_that_knows_no_others_is_searched(space: SearchSpace) -> None:
    assert len(set(searched(space, 6, 4))) == 6


def test_cells_without_a_path_enter_no_pool() -> None:
    space = CellSpace(widths=[8], max_depth=1)
    pool = Pool(space, Limits(space, None), set(), {}, np.random.default_rng(0))

    assert pool.add(replay_chooser(DEAD, lambda *_: None), "base") is None
    assert pool.n_infeasible == 1
    pool.add_random(50)
    assert not any(space.is_degenerate(space.from_params(c.params)) for c in pool.candidates)


def test_a_listed_space_has_none_of_them() -> None:
    space = Told(1, 4)
    whole = WholeSpace.of(space, Limits(space, None), 20)

    assert whole is not None
    assert [one.params["n"] for one in whole.candidates] == [0, 2, 3, 5, 6, 7]
    assert whole.n_infeasible == 2
