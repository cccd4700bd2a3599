"""Questions to a space whose errors are told elsewhere: by the trial that meets them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import nn

from surrogate_nas.space.building import build_network
from surrogate_nas.space.draw import accepted, random_chooser
from surrogate_nas.space.search_space import Architecture, SearchSpace, TaskShape
from surrogate_nas.tensors.counting import tried


def random_architecture(space: SearchSpace, rng: np.random.Generator) -> Architecture | None:
    """Return a random architecture; None where the space raises an error.

    Args:
        space: Search space, which may be a user's.
        rng: Source of randomness.
    """
    drawn = tried(lambda: accepted(space.suggest, random_chooser(rng)))
    return None if isinstance(drawn, Exception) else drawn[1]


def network_of(
    space: SearchSpace, architecture: Architecture, task: TaskShape
) -> nn.Module | None:
    """Return the network of an architecture; None where the space raises an error.

    Args:
        space: Search space, which may be a user's.
        architecture: An architecture of it.
        task: The task, or its shape.
    """
    built = tried(lambda: build_network(space, architecture, task))
    return None if isinstance(built, Exception) else built


def cannot_learn(
    space: SearchSpace, params: Mapping[str, Any], architecture: Architecture | None
) -> bool:
    """Return whether a space says that an architecture is degenerate; False where it raises.

    Args:
        space: Search space, which may be a user's.
        params: Parameters of the architecture.
        architecture: The architecture; None where only the parameters are at hand.
    """

    def ask() -> bool:
        found = space.from_params(params) if architecture is None else architecture
        return bool(space.is_degenerate(found))

    return tried(ask) is True
