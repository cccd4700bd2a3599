from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from surrogate_nas.draw import Draw, random_chooser
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import ReferenceShape, SearchSpace, distributions
from surrogate_nas.spaces import CellSpace, ConvNetSpace

SPACES = {
    "cell": CellSpace(),
    "cell, training": CellSpace(search_training=True),
    "cell, uneven": CellSpace(widths=(4, 8, 32), min_depth=2, max_depth=2, n_stages=2),
    "cell, fixed": CellSpace(widths=(8,), max_depth=1, n_stages=1),
    "convnet": ConvNetSpace(),
    "convnet, training": ConvNetSpace(search_training=True),
    "convnet, fixed": ConvNetSpace(max_stages=1, max_blocks=1, widths=(12,)),
}
SHAPES = [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 17, 9), (3, 64, 64)]


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return SPACES[request.param]


def drawn(space: SearchSpace, n: int, seed: int = 0) -> list[Draw]:
    rng = np.random.default_rng(seed)
    draws = [Draw(random_chooser(rng)) for _ in range(n)]
    for draw in draws:
        space.suggest(draw)
    return draws


def test_draws_replay_to_equal_architectures(space: SearchSpace) -> None:
    again = [Draw(random_chooser(np.random.default_rng(seed))) for seed in range(20)]
    for draw in again:
        architecture = space.suggest(draw)
        assert space.from_params(draw.params) == architecture
        assert space.from_params(json.loads(json.dumps(draw.params))) == architecture
        assert draw.params == architecture


def test_a_study_replays_its_trials(space: SearchSpace) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trial = study.ask()
    architecture = space.suggest(trial)
    assert space.from_params(trial.params) == architecture
    assert set(trial.params) <= set(distributions(space))


def test_training_is_what_the_trainer_reads(space: SearchSpace) -> None:
    names = {"learning_rate", "weight_decay", "augmentation"}
    expected = names if names <= set(distributions(space)) else set()
    architecture = space.from_params(drawn(space, 1)[0].params)
    assert set(space.training(architecture)) == expected
    said = space.summary(architecture)
    assert ("learning rate" in said) is bool(expected)


def test_numbers_are_finite_under_fixed_names(space: SearchSpace) -> None:
    rows = [(space.describe(one.params), space.features(one.params)) for one in drawn(space, 50)]
    for described, features in rows:
        assert described.keys() == rows[0][0].keys()
        assert features.keys() == rows[0][1].keys()
        assert np.isfinite([*described.values(), *features.values()]).all()
        assert {"parameters", "multiply_accumulates", "depth"} <= described.keys()
    assert len(rows[0][1]) <= 20


def test_features_returns_a_fresh_dict(space: SearchSpace) -> None:
    architecture = drawn(space, 1)[0].params
    first = space.features(architecture)
    expected = dict(first)
    first.clear()
    assert space.features(architecture) == expected


@pytest.mark.parametrize("shape", SHAPES)
def test_networks_fit_the_task(space: SearchSpace, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    task = ReferenceShape(shape, 5)
    for draw in drawn(space, 2, seed=sum(shape)):
        network = space.build(draw.params, task)
        out = network(torch.randn(2, *shape))
        out.sum().backward()
        assert out.shape == (2, 5)
        assert out.isfinite().all()
        assert all(p.grad is None or bool(p.grad.isfinite().all()) for p in network.parameters())
        assert network.eval()(torch.randn(1, *shape)).shape == (1, 5)


def test_same_seed_same_network(space: SearchSpace) -> None:
    task = ReferenceShape((1, 8, 8), 3)
    architecture = drawn(space, 1)[0].params
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(space.build(architecture, task).state_dict())
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_networks_build_without_memory(space: SearchSpace) -> None:
    with torch.device("meta"):
        network = space.build(drawn(space, 1)[0].params, ReferenceShape((3, 32, 32), 10))
        assert network(torch.empty(2, 3, 32, 32)).shape == (2, 10)


def test_describe_counts_for_the_task(space: SearchSpace) -> None:
    architecture = drawn(space, 1)[0].params
    small = space.for_task(ReferenceShape((1, 8, 8), 2)).describe(architecture)
    large = space.for_task(ReferenceShape((3, 64, 64), 100)).describe(architecture)
    assert small["parameters"] < large["parameters"]
    assert small["multiply_accumulates"] < large["multiply_accumulates"]
    assert small["depth"] == large["depth"]


@pytest.mark.parametrize("shape", [(10,), (3, 0, 8), (2, 3, 8, 8)])
def test_refuses_tasks_without_images(space: SearchSpace, shape: tuple[int, ...]) -> None:
    architecture: Any = drawn(space, 1)[0].params
    task = ReferenceShape(shape, 2)
    with pytest.raises(SpaceError, match="Use a task of images"):
        space.build(architecture, task)
    with pytest.raises(SpaceError, match="Use a task of images"):
        space.for_task(task).describe(architecture)


def keys() -> list[str]:
    return [space.canonical(draw.params) for space in SPACES.values() for draw in drawn(space, 20)]


def test_keys_are_the_same_in_another_process() -> None:
    script = "import json, tests.spaces.test_conformance as t; print(json.dumps(t.keys()))"
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        env=environment,
        text=True,
    )
    assert json.loads(done.stdout) == keys()
