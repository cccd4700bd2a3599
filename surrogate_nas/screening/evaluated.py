"""Evaluated: a study's trials as the arrays that strategies see."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas import attributes
from surrogate_nas.arrays import BoolArray, FloatArray, IndexArray
from surrogate_nas.screening.known_trials import KnownTrials
from surrogate_nas.screening.objectives import best_rows, non_dominated


@final
@dataclass(frozen=True)
class Evaluated:
    """The n architectures that a study has evaluated, in the order of their trials.

    Larger is better in every objective, whatever the study's directions are. Trials that were
    pruned or failed have no values and no row. An architecture that could not be trained has a
    row: it counts as the worst in each objective, and violates a constraint of its own.

    Args:
        params: Parameters, n dicts.
        values: Objectives, (n, o).
        violations: Values of the constraints, (n, c); more than 0 is a violation. A constraint
            that a trial does not name is 0, as for Optuna.
        seconds: Seconds that each evaluation took, (n,); NaN where unknown.
        keys: Canonical keys, n of them: equal architectures have equal keys.
        pending: Parameters of the architectures in training.
        taken: Canonical keys of all trials: evaluated, pruned, failed, running and waiting.
    """

    params: tuple[Mapping[str, Any], ...]
    values: FloatArray
    violations: FloatArray
    seconds: FloatArray
    keys: tuple[str, ...]
    pending: tuple[Mapping[str, Any], ...]
    taken: frozenset[str]

    def __len__(self) -> int:
        return len(self.params)

    @classmethod
    def of(cls, known: KnownTrials, directions: Sequence[StudyDirection]) -> Evaluated:
        """Collect the trials of a study.

        Args:
            known: The trials, as architectures of a space.
            directions: Which way is better, for each objective.
        """
        sign = np.array([1.0 if d == StudyDirection.MAXIMIZE else -1.0 for d in directions])
        pairs = zip(known.replayable, known.replayable_keys, strict=True)
        rows = [(t, key) for t, key in pairs if _counts(t, len(sign))]
        trials = [trial for trial, _ in rows]
        return cls(
            params=tuple(trial.params for trial in trials),
            values=_values(trials, sign),
            violations=_violations(trials),
            seconds=np.array([_seconds(trial) for trial in trials], dtype=float),
            keys=tuple(key for _, key in rows),
            pending=tuple(known.pending.values()),
            taken=frozenset(known.keys),
        )

    @property
    def is_feasible(self) -> BoolArray:
        """Whether each architecture keeps all constraints, (n,)."""
        return np.asarray((self.violations <= 0).all(axis=1))

    @property
    def front(self) -> IndexArray:
        """Rows of the feasible architectures that no other feasible one dominates."""
        rows = np.flatnonzero(self.is_feasible)
        return np.asarray(rows[non_dominated(self.values[rows])])

    def best(self, n: int = 1) -> IndexArray:
        """Return the rows of the n best architectures, best first.

        Feasible ones come first, then the ones with the smallest violations. With several
        objectives the front comes first, then the front of the rest, and so on. See
        :func:`surrogate_nas.screening.objectives.best_rows`.
        """
        return best_rows(self.values, self.violations, n)


def _counts(trial: FrozenTrial, n_objectives: int) -> bool:
    """Return whether a trial has a row."""
    if trial.state == TrialState.COMPLETE and trial.values is not None:
        return len(trial.values) == n_objectives and all(map(math.isfinite, trial.values))
    return _is_untrainable(trial)


def _is_untrainable(trial: FrozenTrial) -> bool:
    """Return whether a trial ended because its architecture cannot be trained."""
    is_over = trial.state.is_finished() and trial.state != TrialState.COMPLETE
    return is_over and attributes.INFEASIBLE in trial.user_attrs


def _values(trials: Sequence[FrozenTrial], sign: FloatArray) -> FloatArray:
    """Return objectives, larger is better, (n, o)."""
    values = np.full((len(trials), len(sign)), np.nan)
    for row, trial in zip(values, trials, strict=True):
        if not _is_untrainable(trial):
            row[:] = sign * np.array(trial.values)
    missing = np.isnan(values).all(axis=1)
    # NOTE: without any result there is no worst one to count as.
    values[missing] = 0.0 if missing.all() else values[~missing].min(axis=0)
    return values


def _violations(trials: Sequence[FrozenTrial]) -> FloatArray:
    """Return values of the constraints, one column each, in the order of their names, (n, c)."""
    given = [trial.constraints for trial in trials]
    names = sorted({name for one in given for name in one})
    columns = [[one.get(name, 0.0) for one in given] for name in names]
    untrainable = [float(_is_untrainable(trial)) for trial in trials]
    if any(untrainable):
        columns.append(untrainable)
    if not columns:
        return np.zeros((len(trials), 0))
    found = np.array(columns, dtype=float).T
    # A constraint that could not be computed is taken to be violated.
    return np.where(np.isnan(found), np.inf, found)


def _seconds(trial: FrozenTrial) -> float:
    """Return how long the training took, or the whole trial where that is not stored."""
    stored = trial.user_attrs.get(attributes.TRAIN_SECONDS)
    if isinstance(stored, int | float) and not isinstance(stored, bool):
        # NOTE: other programs may store whole numbers of any length.
        with contextlib.suppress(OverflowError):
            return float(stored)
    return math.nan if trial.duration is None else trial.duration.total_seconds()
