"""What a study has come to, in numbers; reads stored trials only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.special import ndtri

from surrogate_nas import attributes
from surrogate_nas.arrays import FloatArray
from surrogate_nas.errors import StudyError

_MIN_PAIRS = 3


@final
@dataclass(frozen=True)
class StudySummary:
    """A study in numbers.

    Args:
        name: The study's name.
        task: The task's name, or "" for a study of plain Optuna.
        metric: The metric's name, or "value".
        maximize: Whether larger values are better.
        completed: Trials with a value, in order.
        n_failed: Trials that ended without one, pruned ones left out.
        n_pruned: Trials stopped early by a pruner.
        n_screened: Candidates that the surrogate or the limits had a look at, over all trials.
        n_duplicates: Draws turned away because an equivalent trial existed.
        n_infeasible: Draws turned away because they exceeded a limit.
        predicted: Predictions of the completed trials that had one, (n,).
        measured: What these reached, (n,).
        stds: Standard deviations of the predictions, (n,).
        transfer: Probability, by now, that past tasks say anything about this one; None without.
        past_task_weights: How much each of them counts in the predictions, strongest first.
        past_tasks_ignored: Those that count for nothing.
    """

    name: str
    task: str
    metric: str
    maximize: bool
    completed: tuple[FrozenTrial, ...]
    n_failed: int
    n_pruned: int
    n_screened: int
    n_duplicates: int
    n_infeasible: int
    predicted: tuple[float, ...]
    measured: tuple[float, ...]
    stds: tuple[float, ...]
    transfer: float | None = None
    past_task_weights: Mapping[str, float] = field(default_factory=dict)
    past_tasks_ignored: tuple[str, ...] = ()

    def __repr__(self) -> str:
        best = "" if self.best is None else f", best {self.metric} {self.best.value:.4g}"
        return (
            f"<StudySummary of {self.name!r}: {len(self.completed)} completed, "
            f"{self.n_pruned} pruned, {self.n_failed} failed trials{best}>"
        )

    @property
    def best(self) -> FrozenTrial | None:
        """The best completed trial."""
        if not self.completed:
            return None
        values = [_value(t) for t in self.completed]
        return self.completed[int(np.argmax(values) if self.maximize else np.argmin(values))]

    @property
    def rank_correlation(self) -> float:
        """Spearman's rho of predictions, each made before its training, and results; or NaN."""
        return _rank_correlation(self.predicted, self.measured)

    @property
    def rank_correlations(self) -> tuple[tuple[int, float], ...]:
        """The same after n of the predicted trainings, as (n, rho); at most 100 of them."""
        after = (_MIN_PAIRS + step for step in spaced(len(self.predicted) - _MIN_PAIRS + 1, 100))
        pairs = ((n, _rank_correlation(self.predicted[:n], self.measured[:n])) for n in after)
        return tuple((n, rho) for n, rho in pairs if not math.isnan(rho))

    def coverage(self, level: float) -> float:
        """Return the share of results within the predictions' central interval, NaN without any.

        Args:
            level: Probability that a normal distribution gives the interval, in (0, 1).
        """
        if not self.predicted:
            return math.nan
        half = float(ndtri((1 + level) / 2)) * np.array(self.stds)
        error = np.abs(np.array(self.predicted) - np.array(self.measured))
        return float((error <= half).mean())

    @property
    def bests(self) -> FloatArray:
        """The best value so far after each completed trial, (n,)."""
        values = np.array([_value(t) for t in self.completed], dtype=float)
        return np.maximum.accumulate(values) if self.maximize else np.minimum.accumulate(values)

    @property
    def ignores_past(self) -> bool:
        """Whether there are past tasks, and all of them count for nothing."""
        named = self.past_task_weights
        return bool(named) and set(named) <= set(self.past_tasks_ignored)


def summarize(study: optuna.Study) -> StudySummary:
    """Sum a study with one objective up.

    Args:
        study: Any Optuna study; what our sampler stored with it is counted, too.

    Raises:
        StudyError: The study has several objectives.
    """
    if len(study.directions) != 1:
        raise StudyError(
            expected="a study with one objective",
            got=f"{len(study.directions)} objectives",
            fix="use optuna-dashboard for this study",
        )
    return sum_up(study, study.get_trials(deepcopy=False))


def sum_up(study: optuna.Study, trials: Sequence[FrozenTrial]) -> StudySummary:
    """Sum trials of a study with one objective up, as :func:`summarize` does all of them."""
    # NOTE: a damaged storage may hold completed trials without their value.
    completed = tuple(t for t in trials if t.state == TrialState.COMPLETE and t.value is not None)
    predictions = [
        (number(t, attributes.PREDICTED_VALUE), number(t, attributes.PREDICTED_STD))
        for t in completed
    ]
    guesses = [
        (value, _value(trial), std)
        for trial, (value, std) in zip(completed, predictions, strict=True)
        if value is not None and std is not None
    ]
    attrs = study.user_attrs
    return StudySummary(
        name=study.study_name,
        task=str(attrs.get(attributes.TASK, "")),
        metric=str(attrs.get(attributes.METRIC, "value")),
        maximize=study.direction == StudyDirection.MAXIMIZE,
        completed=completed,
        n_failed=sum(t.state == TrialState.FAIL for t in trials),
        n_pruned=sum(t.state == TrialState.PRUNED for t in trials),
        n_screened=_total(trials, attributes.N_CANDIDATES),
        n_duplicates=_total(trials, attributes.N_DUPLICATES),
        n_infeasible=_total(trials, attributes.N_INFEASIBLE),
        predicted=tuple(predicted for predicted, _, _ in guesses),
        measured=tuple(measured for _, measured, _ in guesses),
        stds=tuple(std for _, _, std in guesses),
        transfer=finite(attrs.get(attributes.TRANSFER)),
        past_task_weights=_weights(attrs.get(attributes.PAST_TASK_WEIGHTS)),
        past_tasks_ignored=_names(attrs.get(attributes.PAST_TASKS_IGNORED)),
    )


def spaced(n: int, most: int) -> list[int]:
    """Return at most so many of the places 0 to n - 1, evenly spaced, the last one included."""
    if n <= most:
        return list(range(max(n, 0)))
    return sorted({round(place) for place in np.linspace(0, n - 1, most).tolist()})


def number(trial: FrozenTrial, attr: str) -> float | None:
    """Return a trial's user attribute if it is a finite number."""
    return finite(trial.user_attrs.get(attr))


def finite(found: Any) -> float | None:
    """Return a finite number as it is, anything else as None: anybody may store anything."""
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found):
        return None
    return float(found)


def _weights(found: Any) -> dict[str, float]:
    """The named numbers in a study's attribute: anybody may store anything."""
    named = found if isinstance(found, dict) else {}
    numbers = {str(name): finite(weight) for name, weight in named.items()}
    return {name: weight for name, weight in numbers.items() if weight is not None}


def _names(found: Any) -> tuple[str, ...]:
    """The names in a study's attribute."""
    return tuple(str(name) for name in found) if isinstance(found, list) else ()


def _rank_correlation(predicted: tuple[float, ...], measured: tuple[float, ...]) -> float:
    constant = len(set(predicted)) < 2 or len(set(measured)) < 2
    if len(predicted) < _MIN_PAIRS or constant:
        return math.nan
    from scipy.stats import spearmanr  # a second of imports that few processes need

    return float(spearmanr(predicted, measured).statistic)


def _value(trial: FrozenTrial) -> float:
    return math.nan if trial.value is None else trial.value


def _total(trials: Sequence[FrozenTrial], attr: str) -> int:
    """Sum of a count that sampling stored with each trial."""
    return sum(int(number(t, attr) or 0) for t in trials)
