"""Learning curves of unfinished trainings -> the values that they would have reached.

A training that was pruned, or is still running, has a value at some epoch. Trainings of the study
that went further link this epoch to the next one at which trainings ended, and so on to the end.
On both sides of a link values are standardized. The later value is the earlier one plus a
constant, with the variance that the trainings show. Pruned trainings are worse than these on
average. That does no harm, because they were chosen by the value itself.
``studies/fidelity`` compares this with other ways.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas import attributes
from surrogate_nas.arrays import FloatArray
from surrogate_nas.past.past_task import Direction, signed
from surrogate_nas.surrogate.model.scaling import TargetScale

_NOISE, _NOISE_WEIGHT = 0.5, 2.0
"""Prior guess of the residual standard deviation, and the number of pairs that it is worth."""
_ENDED_BY_PRUNER = (None, "pruned")
"""Stop reasons of pruned trials whose curve would have gone on. A training whose loss is not
finite is pruned for another reason."""


@final
@dataclass(frozen=True)
class Link:
    """Values of the same trainings at one epoch and later; larger is better.

    Args:
        early: Values of k trainings at the earlier epoch, (k,).
        late: Their values at the later epoch, or in the end, (k,).
        every: Values of all trainings that came to the earlier epoch, (n,): the first k, and the
            ones that ended there.
    """

    early: FloatArray
    late: FloatArray
    every: FloatArray


@final
@dataclass(frozen=True)
class UnfinishedTrials:
    """Trials whose trainings came to the same epoch, and no further yet.

    Args:
        numbers: Numbers of the m trials.
        params: Their parameters, m dicts.
        reached: Their values at that epoch, larger is better, (m,).
        links: Links from that epoch to the next one at which others ended, and so on to the end.
    """

    numbers: tuple[int, ...]
    params: tuple[Mapping[str, Any], ...]
    reached: FloatArray
    links: tuple[Link, ...]

    @property
    def spread(self) -> float:
        """Robust standard deviation of values at the last epoch before the end."""
        return _scale(self.links[-1].every).scale

    def predict(self, scale: TargetScale) -> tuple[FloatArray, FloatArray]:
        """Predict the values that the trainings would reach.

        Args:
            scale: Own units of final values <-> working units.

        Returns:
            Mean and variance in working units, (m,) each.
        """
        scales = [*(_scale(link.every) for link in self.links), scale]
        mean = scales[0].forward(self.reached)
        variance = np.zeros(len(mean))
        for link, here, there in zip(self.links, scales[:-1], scales[1:], strict=True):
            early, late = here.forward(link.early), there.forward(link.late)
            mean, variance = extrapolate(early, late, mean, variance)
        return mean, variance


def unfinished_trials(
    trials: Sequence[FrozenTrial], direction: Direction
) -> tuple[UnfinishedTrials, ...]:
    """Group pruned and running trials by the last epoch that they reported, earliest first.

    Trials without a finite value there are left out. An epoch counts only if a training went on
    from it to the next one that counts, or to the end.

    Args:
        trials: Trials of a study with one objective.
        direction: Which way is better.
    """
    stopped = _by_last_epoch(trials)
    groups: list[UnfinishedTrials] = []
    # NOTE: from the latest epoch back, because an epoch is linked to the one after it. `beyond`
    # are the trials that came at least to that later epoch, or, at first, to the end.
    links: tuple[Link, ...] = ()
    later: int | None = None
    beyond = [t for t in trials if t.state == TrialState.COMPLETE and _is_finite(t.value)]
    for epoch in sorted(stopped, reverse=True):
        here = stopped[epoch]
        passed = [t for t in beyond if _is_finite(t.intermediate_values.get(epoch))]
        if not passed:
            continue  # no training shows what a value at this epoch leads to
        early, reached = _values(passed, epoch, direction), _values(here, epoch, direction)
        link = Link(early, _values(passed, later, direction), np.concatenate([early, reached]))
        links = (link, *links)
        groups.append(
            UnfinishedTrials(
                tuple(t.number for t in here), tuple(t.params for t in here), reached, links
            )
        )
        later, beyond = epoch, [*passed, *here]
    return tuple(reversed(groups))


def _by_last_epoch(trials: Sequence[FrozenTrial]) -> dict[int, list[FrozenTrial]]:
    """Return the trials whose curve would go on, by the last epoch with a finite value."""
    found: dict[int, list[FrozenTrial]] = {}
    for trial in trials:
        step = trial.last_step
        if step is not None and _goes_on(trial) and _is_finite(trial.intermediate_values[step]):
            found.setdefault(step, []).append(trial)
    return found


def _values(trials: Sequence[FrozenTrial], epoch: int | None, direction: Direction) -> FloatArray:
    """Return values of n trials at an epoch, or in the end for None, larger is better, (n,)."""
    found = [t.value if epoch is None else t.intermediate_values[epoch] for t in trials]
    return signed(np.array(found, dtype=float), direction)


def _scale(values: FloatArray) -> TargetScale:
    """Return the standardization of the values at one epoch, (n,)."""
    return TargetScale.fit(values, max(float(np.std(values)), 1e-12))


def extrapolate(
    early: FloatArray, late: FloatArray, mean: FloatArray, variance: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Predict later values of m trainings from their earlier ones.

    Args:
        early: Standardized values of k other trainings, (k,).
        late: Later values of the same k, (k,).
        mean: Earlier values of the m trainings, or their predictions, (m,).
        variance: Variance of these predictions, (m,); 0 for values that were measured.

    Returns:
        Mean and variance of the later values, (m,) each.
    """
    rise = late - early
    away = rise - rise.mean()
    k = len(rise)
    # NOTE: few pairs hardly show how much is left to chance, so a prior guess counts beside them.
    noise = (float(away @ away) + _NOISE_WEIGHT * _NOISE**2) / (k + _NOISE_WEIGHT)
    # The constant itself is a mean of k rises, which adds a k-th of the variance.
    return mean + rise.mean(), variance + noise * (1.0 + 1.0 / k)


def _goes_on(trial: FrozenTrial) -> bool:
    """Whether a trial has no final value but could have reached one that counts."""
    if trial.state == TrialState.PRUNED:
        if attributes.violation(trial):
            return False  # NOTE: it counts at most as the worst feasible result
        return trial.user_attrs.get(attributes.STOP_REASON) in _ENDED_BY_PRUNER
    return trial.state == TrialState.RUNNING


def _is_finite(value: float | None) -> bool:
    """Whether there is a value, and a finite one."""
    return value is not None and math.isfinite(value)
