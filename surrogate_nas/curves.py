"""Learning curves of trainings that have not reached their end -> what they would have reached.

A training that was pruned, or still goes on, has a value at some epoch. The trainings of the study
that went further say what such a value leads to: a Bayesian linear regression of their values at
the next epoch at which trainings ended, on those at the same epoch, and so on to the end. That
pruned trainings are worse than those does no harm to it, as they were chosen by what the
regression is conditioned on.
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
"""Trainings that went on from an epoch; fewer say nothing of it."""
_SLOPE_MEAN, _SLOPE_STD = 1.0, 0.25
"""Prior of the slope, both sides standardized."""
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
class Stage:
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

    def predict(self, scale: TargetScale) -> tuple[FloatArray, FloatArray]:
        """Predict what they would reach: mean and variance in working units, (m,) each.

        Args:
            scale: Own units of final values <-> working units.
        """
        scales = [*(_scale(link.every) for link in self.links), scale]
        mean = scales[0].forward(self.reached)
        variance = np.zeros(len(mean))
        for link, here, there in zip(self.links, scales[:-1], scales[1:], strict=True):
            line = Line.fit(here.forward(link.early), there.forward(link.late))
            mean, variance = line.predict(mean, variance)
        return mean, variance


def stages(trials: Sequence[FrozenTrial], direction: Direction) -> tuple[Stage, ...]:
    """Sort trials that are pruned or running by the last epoch that they reported.

    Trials without a finite value there are left out. An epoch counts if at least three trainings
    have come from it to the next one that counts, or to the end.

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
    found: list[Stage] = []
    links: tuple[Link, ...] = ()
    later, further = None, complete
    for step, here in sorted(at.items(), reverse=True):
        known = [t for t in further if _is_finite(t.intermediate_values.get(step))]
        reached = _values(here, step, direction)
        if len(known) >= _MIN_PAIRS:
            early = _values(known, step, direction)
            every = np.concatenate([early, reached])
            links = (Link(early, _values(known, later, direction), every), *links)
            later, further = step, [*known, *here]
            params = tuple(t.params for t in here)
            found.append(Stage(tuple(t.number for t in here), params, reached, links))
    return tuple(reversed(found))


def _values(trials: Sequence[FrozenTrial], step: int | None, direction: Direction) -> FloatArray:
    """Values at an epoch, or in the end, larger is better."""
    found = [t.value if step is None else t.intermediate_values[step] for t in trials]
    return signed(np.array(found, dtype=float), direction)


def _scale(values: FloatArray) -> TargetScale:
    return TargetScale.fit(values, max(float(np.std(values)), 1e-12))


@final
@dataclass(frozen=True)
class Line:
    """A linear regression y = level + slope (x - center), and how surely it is known.

    Args:
        center: Mean x.
        level: Mean y.
        slope: Posterior mean of the slope.
        slope_variance: And its variance.
        noise: Variance of y around the line.
        n: Pairs that it was fitted to.
    """

    center: float
    level: float
    slope: float
    slope_variance: float
    noise: float
    n: int

    @staticmethod
    def fit(x: FloatArray, y: FloatArray) -> Line:
        """Fit to pairs, both standardized, (k,) each.

        The slope has a Gaussian prior, the offset a flat one, and the residual's variance counts
        a prior guess like so many pairs more.
        """
        center, level = float(x.mean()), float(y.mean())
        dx, dy = x - center, y - level
        noise = _NOISE**2
        for _ in range(3):  # the slope's shrinkage and the noise depend on each other
            precision = float(dx @ dx) / noise + 1.0 / _SLOPE_STD**2
            slope = (float(dx @ dy) / noise + _SLOPE_MEAN / _SLOPE_STD**2) / precision
            residual = dy - slope * dx
            total = float(residual @ residual) + _NOISE_WEIGHT * _NOISE**2
            noise = total / (len(x) + _NOISE_WEIGHT)
        return Line(center, level, slope, 1.0 / precision, noise, len(x))

    def predict(self, mean: FloatArray, variance: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Predict y: mean and variance, (m,) each.

        Args:
            mean: Mean of x, (m,).
            variance: Its variance, (m,).
        """
        away = mean - self.center
        spread = self.noise * (1.0 + 1.0 / self.n) + away**2 * self.slope_variance
        return self.level + self.slope * away, spread + self.slope**2 * variance


def _goes_on(trial: FrozenTrial) -> bool:
    if trial.state == TrialState.PRUNED:
        return trial.user_attrs.get("stop_reason") in _ENDED_BY_PRUNER
    return trial.state == TrialState.RUNNING


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
