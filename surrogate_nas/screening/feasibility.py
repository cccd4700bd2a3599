"""Feasibility: the probability that candidates keep the constraints that a study has shown.

Notation: m candidates. A constraint is kept if its value is 0 or less, as for Optuna.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from scipy.special import log_ndtr

from surrogate_nas import attributes
from surrogate_nas.arrays import FloatArray
from surrogate_nas.past.past_task import PastTask
from surrogate_nas.surrogate.encoding import Encoding
from surrogate_nas.surrogate.features import Features
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate

_SIDES = (TrialState.COMPLETE, TrialState.PRUNED)


def constraint_values(trials: Sequence[FrozenTrial]) -> tuple[PastTask, ...]:
    """Return the values of each constraint that any trial violates, smaller is better.

    Args:
        trials: Trials of a study, in the order of their numbers.
    """
    known = [t for t in trials if t.state in _SIDES]
    if not any(map(attributes.violation, known)):
        return ()
    found: dict[str, list[tuple[Mapping[str, Any], float]]] = {}
    for trial in known:
        for name, value in trial.constraints.items():
            if math.isfinite(value):
                found.setdefault(name, []).append((trial.params, float(value)))
    return tuple(
        PastTask(name, [params for params, _ in rows], [value for _, value in rows], "minimize")
        for name, rows in sorted(found.items())
        if any(value > 0 for _, value in rows)
    )


@final
class Feasibility:
    """Predicts from a study's own trials whether candidates keep its constraints.

    Each constraint has a model of its own. Past tasks have no say in it.

    Args:
        encoding: The numbering of the search space.
        constraints: Values of each constraint so far, from :func:`constraint_values`.
    """

    def __init__(self, encoding: Encoding, constraints: Sequence[PastTask]) -> None:
        self._surrogate = MetaSurrogate.empty(encoding)
        self._models = [self._surrogate.condition(task) for task in constraints]

    def of_params(self, params: Sequence[Mapping[str, Any]]) -> FloatArray:
        """Return the logarithm of the probability that each candidate keeps all, (m,)."""
        return self.of_features(self._surrogate.features(params))

    def of_features(self, features: Features, *, is_rough: bool = False) -> FloatArray:
        """Return the same from the features of m candidates, (m,).

        Args:
            features: Features, which may be those of a surrogate with past tasks.
            is_rough: Whether standard deviations may be rough, for many candidates at once.
        """
        n = len(features)
        # NOTE: these models know no past tasks, and so nothing of their basis functions.
        own = Features(
            features.points, features.traits, np.zeros((n, 0)), np.zeros((n, 0), dtype=np.int16)
        )
        total = np.zeros(n)
        for model in self._models:
            mean, std = model.preview(own) if is_rough else model.latent_of(own)
            limit = model.working_units(np.zeros(1))[0]
            total += log_ndtr((mean - limit) / np.maximum(std, 1e-9))
        return total
