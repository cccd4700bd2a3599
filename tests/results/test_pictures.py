from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from surrogate_nas.errors import SpaceError
from surrogate_nas.space import ReferenceShape, SearchSpace
from surrogate_nas.space.draw import Draw, random_chooser
from surrogate_nas.spaces import CellSpace, ConvNetSpace
from tests.helpers.pictures import CELL, NAMESPACE, words_of
from tests.helpers.toys import ToySpace


def boxes(svg: str, fill: str) -> list[tuple[float, float]]:
    """Width and height of the rectangles of a colour."""
    rects = ElementTree.fromstring(svg).iter(f"{NAMESPACE}rect")
    return [
        (float(one.get("width", "")), float(one.get("height", "")))
        for one in rects
        if one.get("fill") == fill
    ]


@pytest.mark.parametrize(
    "space",
    [CellSpace(), CellSpace(search_training=True), ConvNetSpace(search_training=True), ToySpace()],
    ids=["cell", "cell and training", "convnet", "own"],
)
def test_every_architecture_has_a_picture(space: SearchSpace) -> None:
    """It can be parsed, says in words what it shows and fits on a screen."""
    space = space.for_task(ReferenceShape((1, 8, 8), 10))
    rng = np.random.default_rng(0)
    for _ in range(30):
        architecture = space.suggest(Draw(random_chooser(rng)))
        root = ElementTree.fromstring(space.picture(architecture))
        assert root.findtext(f"{NAMESPACE}desc") == space.summary(architecture)
        assert float(root.get("width", "")) <= 1300
        assert float(root.get("height", "")) <= 500


def test_a_cell_shows_its_operations_and_which_are_unused() -> None:
    """The last edge leads on from a node that nothing reaches."""
    words = words_of(CellSpace().picture(CELL))

    assert [w for w in words if "conv" in w or "skip" in w or "average" in w] == [
        "3×3 conv",
        "skip",
        "3×3 average",
        "1×1 conv (unused)",
    ]


def test_a_cell_without_a_path_says_so() -> None:
    """Nothing else tells that such a network learns nothing."""
    dead = {**CELL, "op_3": "none", "op_4": "none"}

    assert any("gives zeros" in word for word in words_of(CellSpace().picture(dead)))


def test_blocks_are_to_scale() -> None:
    """Twice the channels are twice as wide, half the pixels half as high."""
    space = CellSpace().for_task(ReferenceShape((3, 32, 32), 10))
    drawn = boxes(space.picture(CELL), "#cfd8e3")

    assert len(drawn) == 6
    assert drawn[2][0] == pytest.approx(2 * drawn[0][0], abs=0.1)
    assert drawn[4][0] == pytest.approx(4 * drawn[0][0], abs=0.2)
    assert drawn[2][1] == pytest.approx(drawn[0][1] / 2)


def test_a_convnet_shows_each_stage() -> None:
    """Blocks, channels, resolution, kernel, kind and gate."""
    stages: dict[str, Any] = {"n_stages": 2, "activation": "relu", "normalization": "batch"}
    for i, (blocks, width, kernel, expansion, gate) in enumerate(
        [(1, 8, 3, 1, False), (3, 16, 5, 4, True)]
    ):
        stages |= {f"blocks_{i}": blocks, f"width_{i}": width, f"kernel_{i}": kernel}
        stages |= {f"expansion_{i}": expansion, f"se_{i}": gate}
    svg = ConvNetSpace().for_task(ReferenceShape((1, 8, 8), 3)).picture(stages)

    words = words_of(svg)
    for said in ("1 block, 8 ch.", "3 blocks, 16 ch.", "8×8 pixels", "4×4 pixels", "5×5 kernel"):
        assert said in words
    assert "inverted, ×4" in words
    assert any("white dot: squeeze-excitation" in word for word in words)
    assert svg.count("<circle") == 3
    assert [w for w in words if w in ("8×8", "image", "3", "outputs")] == [
        "8×8",
        "image",
        "3",
        "outputs",
    ]


def test_a_picture_of_another_space_s_architecture_is_refused() -> None:
    """As in every other method of a space."""
    with pytest.raises(SpaceError, match="an architecture with a value of"):
        ConvNetSpace().picture(CELL)


def test_parameters_have_labels_in_the_space_s_words() -> None:
    """What a reader of a report sees instead of op_3."""
    assert CellSpace().label("op_3") == "edge in → out"
    assert CellSpace().label("depth") == "cells a stage"
    assert CellSpace().label("learning_rate") == "learning rate"
    assert ConvNetSpace().label("width_1") == "channels, stage 2"
    assert ConvNetSpace().label("n_stages") == "number of stages"
    assert ConvNetSpace().label("weight_decay") == "weight decay"
    assert ToySpace().label("second_width") == "second width"
