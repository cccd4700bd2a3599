"""MutateBest: a strategy in a few lines, which proposes neighbours of the best architectures."""

from __future__ import annotations

from typing import final

import numpy as np

from surrogate_nas.errors import SpaceError
from surrogate_nas.samplers.strategy import Strategy
from surrogate_nas.screening.evaluated import Evaluated
from surrogate_nas.space import SearchSpace
from surrogate_nas.space.draw import Chooser, random_chooser


@final
class MutateBest(Strategy):
    """Proposes a random mutation of one of the best architectures.

    With several objectives the best are the front. Feasible architectures come before others.

    Args:
        n_best: Number of architectures that may be mutated, each with equal probability.
        n_startup: Number of results before the first mutation; until then draws are random.

    Raises:
        SpaceError: A number is too small.
    """

    def __init__(self, n_best: int = 3, n_startup: int = 5) -> None:
        if n_best < 1 or n_startup < 0:
            raise SpaceError(
                expected="n_best of at least 1 and n_startup of at least 0",
                got=f"n_best={n_best} and n_startup={n_startup}",
                fix="use the defaults, MutateBest()",
            )
        self.n_best = n_best
        self.n_startup = n_startup

    def __repr__(self) -> str:
        return f"MutateBest(n_best={self.n_best}, n_startup={self.n_startup})"

    def propose(self, seen: Evaluated, space: SearchSpace, rng: np.random.Generator) -> Chooser:
        """See :meth:`Strategy.propose`."""
        if len(seen) < max(self.n_startup, 1):
            return random_chooser(rng)
        best = seen.best(self.n_best)
        parent = int(best[rng.integers(len(best))])
        return space.mutate(seen.params[parent], rng)
