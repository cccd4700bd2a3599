"""The suite for surrogates, with ours: without a past, with several, and those that ship."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from surrogate_nas import pretrained
from surrogate_nas.space import SpaceLike
from surrogate_nas.spaces import CellSpace, ConvNetSpace
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from surrogate_nas.testing import Surrogate, SurrogateTestCase
from tests.helpers.nets import PAST, SPACE

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

Pair: TypeAlias = tuple[SpaceLike, Surrogate]


def own(past: str) -> Pair:
    return SPACE, MetaSurrogate.fit(SPACE, PAST[past])


PAIRS: dict[str, Callable[[], Pair]] = {
    **{past: lambda past=past: own(past) for past in PAST},  # type: ignore[misc]
    "cells": lambda: (CellSpace(), pretrained.surrogate(CellSpace())),
    "convnets": lambda: (ConvNetSpace(), pretrained.surrogate(ConvNetSpace())),
}


@pytest.fixture(scope="module", params=PAIRS)
def pair(request: pytest.FixtureRequest) -> Pair:
    return PAIRS[request.param]()


class TestMetaSurrogate(SurrogateTestCase):
    @pytest.fixture
    def surrogate(self, pair: Pair) -> Surrogate:
        return pair[1]

    @pytest.fixture
    def space(self, pair: Pair) -> SpaceLike:
        return pair[0]
