from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

from surrogate_nas.errors import SpaceError
from surrogate_nas.space import ReferenceShape, SearchSpace, TaskShape, distributions
from surrogate_nas.space.draw import Draw, random_chooser
from surrogate_nas.spaces import CellSpace, ConvNetSpace, PatchSpace
from surrogate_nas.testing import SearchSpaceTestCase

pytestmark = pytest.mark.slow

SPACES = {
    "cell": CellSpace(),
    "cell, training": CellSpace(search_training=True),
    "cell, uneven": CellSpace(widths=(4, 8, 32), min_depth=2, max_depth=2, n_stages=2),
    "cell, fixed": CellSpace(widths=(8,), max_depth=1, n_stages=1),
    "convnet": ConvNetSpace(),
    "convnet, training": ConvNetSpace(search_training=True),
    "convnet, fixed": ConvNetSpace(max_stages=1, max_blocks=1, widths=(12,)),
    "patch": PatchSpace(widths=(8, 16, 24)),
    "patch, training": PatchSpace(widths=(16,), max_depth=3, search_training=True),
    "patch, fixed": PatchSpace(patches=(2, 6), widths=(8, 24), max_depth=1),
}
SHAPES = [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 64, 64)]


@pytest.fixture(params=SPACES)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    return SPACES[request.param]


def drawn(space: SearchSpace, n: int, seed: int = 0) -> list[Draw]:
    rng = np.random.default_rng(seed)
    draws = [Draw(random_chooser(rng)) for _ in range(n)]
    for draw in draws:
        space.suggest(draw)
    return draws


class TestReadySpaces(SearchSpaceTestCase):
    @pytest.fixture(params=SPACES)
    def space(self, request: pytest.FixtureRequest) -> SearchSpace:
        return SPACES[request.param]


class TestSmallGreyImages(TestReadySpaces):
    @pytest.fixture
    def shape(self) -> TaskShape:
        return ReferenceShape((1, 8, 8), 10)


def test_an_architecture_is_its_parameters(space: SearchSpace) -> None:
    for draw in drawn(space, 20):
        assert space.from_params(draw.params) == draw.params


def test_training_is_what_the_trainer_reads(space: SearchSpace) -> None:
    names = {"learning_rate", "weight_decay", "augmentation"}
    expected = names if names <= set(distributions(space)) else set()
    architecture = space.from_params(drawn(space, 1)[0].params)
    # A rate of PatchSpace is one of AdamW, which it chooses with it.
    assert set(space.training(architecture)) - {"optimizer"} == expected
    said = space.summary(architecture)
    assert ("learning rate" in said) is bool(expected)


def test_sizes_are_named_and_features_are_few(space: SearchSpace) -> None:
    architecture = drawn(space, 1)[0].params
    assert {"parameters", "multiply_accumulates", "depth"} <= space.describe(architecture).keys()
    assert len(space.features(architecture)) <= 30


@pytest.mark.parametrize("shape", SHAPES)
def test_networks_fit_images_of_any_size(space: SearchSpace, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = space.build(drawn(space, 1, seed=sum(shape))[0].params, ReferenceShape(shape, 5))
    assert network(torch.randn(2, *shape)).shape == (2, 5)


def test_describe_counts_for_the_task(space: SearchSpace) -> None:
    architecture = drawn(space, 1)[0].params
    small = space.for_task(ReferenceShape((1, 8, 8), 2)).describe(architecture)
    large = space.for_task(ReferenceShape((3, 64, 64), 100)).describe(architecture)
    assert small["parameters"] < large["parameters"]
    assert small["multiply_accumulates"] < large["multiply_accumulates"]
    assert small["depth"] <= large["depth"]  # stems are longer for larger images


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
    module = "tests.domains.images.test_space_conformance"
    script = f"import json, {module} as t; print(json.dumps(t.keys()))"
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        check=True,
        env=environment,
        text=True,
    )
    assert json.loads(done.stdout) == keys()
