from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from surrogate_nas.domains.images.stems import body_size
from surrogate_nas.domains.space_record import read_space, write_space
from surrogate_nas.errors import SpaceError
from surrogate_nas.space import Architecture, ReferenceShape, SearchSpace, count
from surrogate_nas.space.asking import random_architecture
from surrogate_nas.spaces import CellSpace, ConvNetSpace

SPACES: list[type[SearchSpace]] = [CellSpace, ConvNetSpace]


@pytest.mark.parametrize(
    ("side", "body"),
    [(8, 8), (32, 32), (48, 48), (49, 25), (64, 32), (96, 48), (128, 32), (224, 28), (256, 32)],
)
def test_stages_see_few_pixels_of_an_image_of_any_size(side: int, body: int) -> None:
    assert body_size("auto", side, 2 * side)[0] == body
    assert body_size("plain", side, side) == (side, side)


def drawn(space: SearchSpace) -> Architecture:
    found = random_architecture(space, np.random.default_rng(3))
    assert found is not None
    return found


@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("shape", [(3, 96, 65), (1, 49, 200), (3, 224, 224)])
def test_described_sizes_are_those_of_the_network(
    kind: type[SearchSpace], shape: tuple[int, int, int]
) -> None:
    task = ReferenceShape(shape, 7)
    space = kind().for_task(task)
    one = drawn(space)
    counted = count(lambda: space.build(one, task), shape)
    described = space.describe(one)
    assert described["parameters"] == counted["parameters"]
    assert described["multiply_accumulates"] == counted["multiply_accumulates"]


@pytest.mark.parametrize("kind", SPACES)
def test_small_images_have_the_networks_of_earlier_versions(kind: Any) -> None:
    task = ReferenceShape((3, 48, 60), 4)
    one = drawn(kind())
    new, old = (kind(stem=stem).build(one, task) for stem in ("auto", "plain"))
    assert repr(new) == repr(old)


@pytest.mark.parametrize("kind", SPACES)
def test_a_recorded_space_without_a_stem_is_one_of_earlier_versions(kind: Any) -> None:
    record = json.loads(json.dumps(write_space(kind())))
    assert read_space(record).config()["stem"] == "auto"  # type: ignore[index, union-attr]
    del record["config"]["stem"]
    assert read_space(record).config()["stem"] == "plain"  # type: ignore[index, union-attr]


def test_stages_follow_the_stem() -> None:
    space = ConvNetSpace(max_stages=1)
    network = space.build(drawn(space), ReferenceShape((3, 128, 128), 4))
    maps = network[:-3](torch.zeros(2, 3, 128, 128))  # type: ignore[index]
    assert maps.shape[2:] == (32, 32)


def test_an_unknown_stem_is_refused() -> None:
    for kind in (CellSpace, ConvNetSpace):
        with pytest.raises(SpaceError, match=r"stem 'auto' or 'plain'; got 'deep'"):
            kind(stem="deep")  # type: ignore[arg-type]
