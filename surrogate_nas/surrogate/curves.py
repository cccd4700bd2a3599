"""Learning curves of trainings that have not reached their end -> what they would have reached.

A training that was pruned, or still goes on, has a value at some epoch. The trainings of the study
that went further say what such a value leads to at the next epoch at which trainings ended, and so
on to the end: both sides standardized, the same plus a constant, give or take what is left. That
pruned trainings are worse than those does no harm, as they were chosen by the value itself.
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
"""Prior guess of the residual standard deviation, and how many pairs it is worth."""
_ENDED_BY_PRUNER = (None, "pruned")
"""Stop reasons of pruned trials whose curve would have gone on; a loss that is not finite has
another."""


@final
@dataclass(frozen=True)
class Link:
    """What trainings had at one epoch, and at a later one or in the end; larger is better.

    Args:
        early: At the earlier epoch, (k,).
        late: Of the same trainings, (k,).
        every: At the earlier epoch, of all trainings that came so far, (n,).
    """

    early: FloatArray
    late: FloatArray
    every: FloatArray


@final
@dataclass(frozen=True)
class UnfinishedTrials:
    """Trainings that came as far as the same epoch, and no further yet.

    Args:
        numbers: Numbers of their trials.
        params: Their parameters, m dicts.
        reached: Their values at that epoch, larger is better, (m,).
        links: From that epoch to the next one at which others ended, and so on to the last.
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
        """Predict what they would reach: mean and variance in working units, (m,) each.

        Args:
            scale: Own units of final values <-> working units.
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
    """Sort trials that are pruned or running by the last epoch that they reported.

    Trials without a finite value there are left out. An epoch counts if a training has come from
    it to the next one that counts, or to the end.

    Args:
        trials: Of a study with one objective.
        direction: Which way is better.
    """
    complete = [t for t in trials if t.state == TrialState.COMPLETE and _is_finite(t.value)]
    at: dict[int, list[FrozenTrial]] = {}
    for trial in trials:
        step = trial.last_step
        if step is not None and _goes_on(trial) and _is_finite(trial.intermediate_values[step]):
            at.setdefault(step, []).append(trial)
    found: list[UnfinishedTrials] = []
    links: tuple[Link, ...] = ()
    later, further = None, complete
    for step, here in sorted(at.items(), reverse=True):
        known = [t for t in further if _is_finite(t.intermediate_values.get(step))]
        reached = _values(here, step, direction)
        if known:
            early = _values(known, step, direction)
            every = np.concatenate([early, reached])
            links = (Link(early, _values(known, later, direction), every), *links)
            later, further = step, [*known, *here]
            params = tuple(t.params for t in here)
            found.append(UnfinishedTrials(tuple(t.number for t in here), params, reached, links))
    return tuple(reversed(found))


def _values(trials: Sequence[FrozenTrial], step: int | None, direction: Direction) -> FloatArray:
    """Values at an epoch, or in the end, larger is better."""
    found = [t.value if step is None else t.intermediate_values[step] for t in trials]
    return signed(np.array(found, dtype=float), direction)


def _scale(values: FloatArray) -> TargetScale:
    return TargetScale.fit(values, max(float(np.std(values)), 1e-12))


def extrapolate(
    early: FloatArray, late: FloatArray, mean: FloatArray, variance: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Predict later values from earlier ones: mean and variance, (m,) each.

    Args:
        early: Standardized values of k trainings, (k,).
        late: What these had later, (k,).
        mean: Earlier values of others, (m,).
        variance: How little is known of these, (m,).
    """
    rise = late - early
    away = rise - rise.mean()
    k = len(rise)
    noise = (float(away @ away) + _NOISE_WEIGHT * _NOISE**2) / (k + _NOISE_WEIGHT)
    return mean + rise.mean(), variance + noise * (1.0 + 1.0 / k)


def _goes_on(trial: FrozenTrial) -> bool:
    if trial.state == TrialState.PRUNED:
        return trial.user_attrs.get(attributes.STOP_REASON) in _ENDED_BY_PRUNER
    return trial.state == TrialState.RUNNING


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
