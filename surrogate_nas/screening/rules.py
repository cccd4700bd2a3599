"""Settings of screening: what a pool consists of, and when the surrogate has a say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

from surrogate_nas.screening.acquisition import AcquisitionLike
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate


@final
@dataclass(frozen=True)
class PoolMix:
    """Composition of a pool. A value of 0 switches a part off; random draws fill the rest.

    Args:
        n_base: Number of proposals of the base sampler.
        near_observed: Share of the pool that are neighbours of the best trials.
        near_predicted: Share that are neighbours of the best candidates found so far.
    """

    n_base: int = 8
    near_observed: float = 0.25
    near_predicted: float = 0.5


@final
@dataclass(frozen=True)
class ScreeningRules:
    """Settings of a :class:`~surrogate_nas.screening.screener.Screener`.

    Args:
        size: Wanted number of candidates. A space that has no more architectures is screened as a
            whole.
        n_startup: Number of results before a surrogate without past tasks has a say.
        n_control: Number of control trials after the first one, when there are past tasks. A
            control is the random candidate with the median prediction. If past tasks mislead,
            only a candidate that they did not recommend reveals it.
        mix: Composition of the pool.
        acquisition: Acquisition function, or its name.
        value_range: Smallest and largest value that the objective can have.
    """

    size: int = 256
    n_startup: int = 5
    n_control: int = 1
    mix: PoolMix = PoolMix()
    acquisition: AcquisitionLike = "log_ei"
    value_range: tuple[float, float] = (-math.inf, math.inf)

    def is_control(self, surrogate: MetaSurrogate, n_before: int) -> bool:
        """Return whether a trial is a control.

        Args:
            surrogate: Knows whether there are past tasks.
            n_before: Number of trials of the study that are finished or running.
        """
        return bool(surrogate.tasks) and 0 < n_before <= self.n_control
