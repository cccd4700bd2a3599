from __future__ import annotations

from typing import Any

import pytest
import torch

from surrogate_nas.space import ReferenceShape, SearchSpace, TaskShape
from surrogate_nas.testing import SearchSpaceTestCase
from tests.helpers.backbones import SIDES, photos, space

SPACE, TASK = space(), photos()


class TestUnboundSpace(SearchSpaceTestCase):
    @pytest.fixture
    def space(self) -> SearchSpace:
        return SPACE

    @pytest.fixture
    def shape(self) -> TaskShape:
        return ReferenceShape((1, 12, 17), 4)


class TestSpaceOfATask(SearchSpaceTestCase):
    @pytest.fixture
    def shape(self) -> Any:
        return TASK

    @pytest.fixture
    def space(self) -> SearchSpace:
        return SPACE


def test_it_takes_images_of_any_form() -> None:
    made = space()
    for shape in ((1, 9, 9), (3, 40, 30)):
        network = made.build(
            {"backbone": "tiny", "resolution": SIDES[1], "adaptation": "means"},
            ReferenceShape(shape, 5),
        )
        assert network(torch.randn(2, *shape)).shape == (2, 5)
