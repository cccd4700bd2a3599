"""The suites hold for tasks and spaces of named tensors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from surrogate_nas.task import SplitLike, Task
from surrogate_nas.tensors import Tensors
from surrogate_nas.testing import SearchSpaceTestCase, TaskTestCase
from tests.helpers.domains.tiny.tagger_space import TaggerSpace
from tests.helpers.domains.tiny.tagging import LENGTH, TAGS
from tests.helpers.tiny import tagger, tagging


class TestTagging(TaskTestCase):
    @pytest.fixture
    def task(self) -> Task:
        return tagging()

    def network(self, task: Task) -> nn.Module:
        return tagger()

    def outputs(self, task: Task, split: SplitLike) -> Tensors:
        generator = torch.Generator().manual_seed(0)
        return {"scores": torch.randn(len(split), LENGTH, len(TAGS), generator=generator)}


class TestTaggerSpace(SearchSpaceTestCase):
    @pytest.fixture
    def space(self) -> TaggerSpace:
        return TaggerSpace()

    @pytest.fixture
    def shape(self) -> Task:
        return tagging(5)
