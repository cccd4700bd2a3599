"""The chosen candidate, with the numbers that a study stores about the choice."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

from surrogate_nas import attributes
from surrogate_nas.screening.pool import Candidate, Pool

_logger = logging.getLogger(__name__)

IGNORED = 0.1
"""Past tasks are called ignored below this probability of any transfer. A single past task is
called ignored below this share of an equal weight."""
_MOST_NAMED = 100


@final
@dataclass(frozen=True)
class Choice:
    """A chosen candidate and what was known when it was chosen.

    Args:
        candidate: The chosen one.
        n_candidates: Number of candidates that it was chosen from; 0 if it repeats a trial.
        n_duplicates: Number of draws that were turned away because an equivalent trial exists.
        n_infeasible: Number of draws that were turned away because they exceed a limit.
        predicted_value: Predicted measurement, in the target's units; None without a prediction.
        predicted_std: Its standard deviation.
        predicted_rank: Place among the candidates by that prediction, from 1. Exploration and
            controls choose others than the first.
        acquisition: Score by the acquisition function.
        transfer: Probability that past tasks say anything about this one; None without any.
        past_tasks: Weight of each past task in the prediction.
    """

    candidate: Candidate
    n_candidates: int
    n_duplicates: int
    n_infeasible: int
    predicted_value: float | None = None
    predicted_std: float | None = None
    predicted_rank: int | None = None
    acquisition: float | None = None
    transfer: float | None = None
    past_tasks: Mapping[str, float] = field(default_factory=dict)

    def within(self, low: float, high: float) -> Choice:
        """Return the choice with a prediction that a value between two bounds can have."""
        if self.predicted_value is None or self.predicted_std is None:
            return self
        # NOTE: no distribution on a range has a larger deviation than half of the range.
        return replace(
            self,
            predicted_value=min(max(self.predicted_value, low), high),
            predicted_std=min(self.predicted_std, (high - low) / 2),
        )

    def without_units(self) -> Choice:
        """Return the choice without its prediction, whose units are not known yet."""
        return replace(self, predicted_value=None, predicted_std=None)

    @property
    def is_repeat(self) -> bool:
        """Whether an equivalent trial exists, because nothing else was left."""
        return self.n_candidates == 0

    def attributes(self) -> dict[str, float]:
        """Return the numbers that are stored with the trial; unknown ones are left out."""
        named = {
            attributes.N_CANDIDATES: self.n_candidates,
            attributes.N_DUPLICATES: self.n_duplicates,
            attributes.N_INFEASIBLE: self.n_infeasible,
            attributes.PREDICTED_VALUE: self.predicted_value,
            attributes.PREDICTED_STD: self.predicted_std,
            attributes.PREDICTED_RANK: self.predicted_rank,
            attributes.ACQUISITION: self.acquisition,
            attributes.TRANSFER: self.transfer,
        }
        return {name: value for name, value in named.items() if value is not None}

    def study_attributes(self) -> dict[str, Any]:
        """Return what past tasks are worth to the study by now; empty without past tasks."""
        if self.transfer is None:
            return {}
        least = IGNORED / len(self.past_tasks)
        is_off = self.transfer < IGNORED
        off = [name for name, w in self.past_tasks.items() if is_off or abs(w) < least]
        strongest = sorted(self.past_tasks, key=lambda name: -abs(self.past_tasks[name]))
        return {
            attributes.TRANSFER: round(self.transfer, 4),
            attributes.PAST_TASK_WEIGHTS: {
                name: round(self.past_tasks[name], 4) for name in strongest[:_MOST_NAMED]
            },
            attributes.PAST_TASKS_IGNORED: off[:_MOST_NAMED],
        }


def first_of(pool: Pool) -> Choice:
    """Return a pool's first candidate unranked, or a repeat if every architecture was tried."""
    if pool.candidates:
        first = pool.candidates[pool.first_alive(range(len(pool.candidates)))]
        return Choice(first, 1, pool.n_duplicates, pool.n_infeasible)
    _logger.warning(
        "Every architecture of the space that was drawn has been evaluated; one is repeated. "
        "Stop the study here or enlarge the space."
    )
    return Choice(pool.repeated(), 0, pool.n_duplicates, pool.n_infeasible)
