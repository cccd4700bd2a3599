"""The tiny domain's task and space, for tests of what goes through the training."""

from __future__ import annotations

from torch import nn

from surrogate_nas.training.seeding import seeded
from tests.helpers.domains.tiny.tagger_space import TaggerSpace
from tests.helpers.domains.tiny.tagging import TaggingTask, drawn, from_sequences
from tests.helpers.domains.tiny.token_accuracy import METRICS


def tagging(n: int = 100) -> TaggingTask:
    """Make a task of n sequences."""
    return from_sequences(drawn(n), name="tiny", metric=METRICS["token_accuracy"])


def tagger(mixing: str = "conv", width: int = 8) -> nn.Module:
    """Build a network for the task, always with the same weights."""
    with seeded(0):
        return TaggerSpace().build({"mixing": mixing, "width": width}, tagging(5))
