"""Learning curves of trainings that have not reached their end -> what they would have reached.

A training that was pruned, or still goes on, has a value at some epoch. The study's own finished
trainings say what such a value leads to: a Bayesian linear regression of their final values on
their values at the same epoch. That pruned trainings are worse than finished ones does no harm to
it, as they were chosen by what the regression is conditioned on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas.past import Direction, signed
from surrogate_nas.scaling import TargetScale

FloatArray = npt.NDArray[np.float64]

_MIN_PAIRS = 3
"""Finished trainings with a value at the same epoch, fewer say nothing."""
_SLOPE_MEAN, _SLOPE_STD = 0.7, 0.5
"""Prior of the slope, both sides standardized."""
_NOISE, _NOISE_WEIGHT = 0.5, 2.0
"""Prior guess of the residual standard deviation, and how many pairs it is worth."""
_ENDED_BY_PRUNER = (None, "pruned")
"""Stop reasons of pruned trials whose curve would have gone on; a loss that is not finite has
another."""


@final
@dataclass(frozen=True)
class Stage:
    """Trainings that came as far as the same epoch, and no further yet.

    Args:
        numbers: Numbers of their trials.
        params: Their parameters, m dicts.
        reached: Their values at that epoch, larger is better, (m,).
        early: What finished trainings had at the same epoch, (k,).
        final: What these reached in the end, (k,).
    """

    numbers: tuple[int, ...]
    params: tuple[Mapping[str, Any], ...]
    reached: FloatArray
    early: FloatArray
    final: FloatArray

    def predict(self, scale: TargetScale) -> tuple[FloatArray, FloatArray]:
        """Predict what they would reach: mean and variance in working units, (m,) each.

        Args:
            scale: Own units of final values <-> working units.
        """
        together = np.concatenate([self.early, self.reached])
        here = TargetScale.fit(together, max(float(np.std(together)), 1e-12))
        early, reached = here.forward(self.early), here.forward(self.reached)
        return regress(early, scale.forward(self.final), reached)


def stages(trials: Sequence[FrozenTrial], direction: Direction) -> tuple[Stage, ...]:
    """Sort trials that are pruned or running by the last epoch that they reported.

    Trials without a finite value there are left out, and epochs that fewer than three finished
    trials have reported, too.

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
    found = []
    for step, here in sorted(at.items()):
        known = [t for t in complete if _is_finite(t.intermediate_values.get(step))]
        if len(known) < _MIN_PAIRS:
            continue
        values = [[t.intermediate_values[step] for t in part] for part in (here, known)]
        reached, early = (signed(np.array(one, dtype=float), direction) for one in values)
        last = signed(np.array([t.value for t in known], dtype=float), direction)
        params = tuple(t.params for t in here)
        found.append(Stage(tuple(t.number for t in here), params, reached, early, last))
    return tuple(found)


def regress(x: FloatArray, y: FloatArray, at: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Predict y where x is `at`, by linear regression: mean and variance, (m,) each.

    The slope has a Gaussian prior, the offset a flat one, and the residual's variance counts a
    prior guess like so many pairs more.

    Args:
        x: k values, standardized.
        y: What belongs to each, standardized, (k,).
        at: Where to predict, (m,).
    """
    center, level = float(x.mean()), float(y.mean())
    dx, dy = x - center, y - level
    noise = _NOISE**2
    for _ in range(3):  # the slope's shrinkage and the noise depend on each other
        precision = (dx @ dx) / noise + 1.0 / _SLOPE_STD**2
        slope = ((dx @ dy) / noise + _SLOPE_MEAN / _SLOPE_STD**2) / precision
        residual = dy - slope * dx
        noise = float(residual @ residual + _NOISE_WEIGHT * _NOISE**2) / (len(x) + _NOISE_WEIGHT)
    away = at - center
    return level + slope * away, noise * (1.0 + 1.0 / len(x)) + away**2 / precision


def _goes_on(trial: FrozenTrial) -> bool:
    if trial.state == TrialState.PRUNED:
        return trial.user_attrs.get("stop_reason") in _ENDED_BY_PRUNER
    return trial.state == TrialState.RUNNING


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
