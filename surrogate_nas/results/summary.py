"""A study in numbers, from its stored trials alone."""

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
from surrogate_nas.errors import StudyError, visible
from surrogate_nas.files.checked_json import finite
from surrogate_nas.results.damage import readable_study
from surrogate_nas.storage.given import require_study as require_study

_MIN_PAIRS = 3


@final
@dataclass(frozen=True)
class StudySummary:
    """A study in numbers.

    Args:
        name: Name of the study.
        task: Name of the task, or "" for a study of plain Optuna.
        metric: Name of the metric, or "value".
        maximize: Whether larger values are better.
        completed: Trials with a value, in order.
        n_failed: Number of trials that ended without a value, pruned trials not counted.
        n_pruned: Number of trials that a pruner stopped early.
        n_screened: Number of candidates in the pools of all trials.
        n_duplicates: Number of draws turned away because an equivalent trial existed.
        n_infeasible: Number of draws turned away because they exceeded a limit.
        predicted: Predictions for the completed trials that have one, (n,).
        measured: Values of these trials, (n,).
        stds: Standard deviations of these predictions, (n,).
        transfer: Probability that past tasks say anything about this one, after the latest
            suggestion. None without past tasks.
        past_task_weights: Weight of each past task in the predictions, the heaviest first.
        past_tasks_ignored: Names of the past tasks that count for nothing.
        test_value: Value of the latest final network on the test split; None without any.
        n_test_uses: Number of times that networks of the study were evaluated on that split.
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
    test_value: float | None = None
    n_test_uses: int = 0

    def __repr__(self) -> str:
        best = "" if self.best is None else f", best {self.metric} {self.best.value:.4g}"
        return visible(
            f"<StudySummary of {self.name!r}: {len(self.completed)} completed, "
            f"{self.n_pruned} pruned, {self.n_failed} failed trials{best}>"
        )

    @property
    def best(self) -> FrozenTrial | None:
        """The best completed trial that keeps all constraints; None without any."""
        kept = [t for t in self.completed if not attributes.violation(t)]
        if not kept:
            return None
        values = [_value(t) for t in kept]
        return kept[int(np.argmax(values) if self.maximize else np.argmin(values))]

    @property
    def test_words(self) -> str:
        """How often the test split was used, in words."""
        return "measured once" if self.n_test_uses == 1 else f"measured {self.n_test_uses} times"

    @property
    def n_violating(self) -> int:
        """Number of completed trials that violate a constraint."""
        return sum(attributes.violation(t) > 0 for t in self.completed)

    @property
    def rank_correlation(self) -> float:
        """Spearman's rho of predictions, each made before its training, and results, or NaN."""
        return _rank_correlation(self.predicted, self.measured)

    @property
    def rank_correlations(self) -> tuple[tuple[int, float], ...]:
        """Rank correlation after n predicted trainings, as at most 100 pairs (n, rho)."""
        # Each number is a sort of all results before it, so a long study gets a hundred.
        after = (_MIN_PAIRS + step for step in spaced(len(self.predicted) - _MIN_PAIRS + 1, 100))
        pairs = ((n, _rank_correlation(self.predicted[:n], self.measured[:n])) for n in after)
        return tuple((n, rho) for n, rho in pairs if not math.isnan(rho))

    def coverage(self, level: float) -> float:
        """Return the share of results within the central interval of their predictions.

        Args:
            level: Probability of the interval by a normal distribution, in (0, 1).

        Returns:
            The share, or NaN without any prediction.
        """
        if not self.predicted:
            return math.nan
        # A central interval ends at the quantiles (1 - level) / 2 and (1 + level) / 2.
        half = float(ndtri((1 + level) / 2)) * np.array(self.stds)
        error = np.abs(np.array(self.predicted) - np.array(self.measured))
        return float((error <= half).mean())

    @property
    def bests(self) -> FloatArray:
        """The best value so far after each completed trial, (n,).

        It is NaN until a trial keeps all constraints.
        """
        none = -math.inf if self.maximize else math.inf
        values = np.array(
            [none if attributes.violation(t) else _value(t) for t in self.completed], dtype=float
        )
        best = np.maximum.accumulate(values) if self.maximize else np.minimum.accumulate(values)
        begun = np.logical_or.accumulate([not attributes.violation(t) for t in self.completed])
        return np.where(begun, best, np.nan) if len(best) else best

    @property
    def ignores_past(self) -> bool:
        """Whether the study has past tasks and all of them count for nothing."""
        named = self.past_task_weights
        return bool(named) and set(named) <= set(self.past_tasks_ignored)


def summarize(study: optuna.Study) -> StudySummary:
    """Return a study with one objective in numbers.

    Args:
        study: Any Optuna study. Attributes that SurrogateSampler has stored are counted, too.

    Raises:
        StudyError: The study has several objectives or is damaged, or something else is given than
            a study.
        StorageError: The storage fails.
    """
    require_study(study)
    with readable_study(study):
        if len(study.directions) != 1:
            raise StudyError(
                expected="a study with one objective",
                got=f"{len(study.directions)} objectives",
                fix="use optuna-dashboard for this study",
            )
        return sum_up(study, study.get_trials(deepcopy=False))


def sum_up(study: optuna.Study, trials: Sequence[FrozenTrial]) -> StudySummary:
    """Return some trials of a study in numbers, as :func:`summarize` does with all of them."""
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
        n_screened=total(trials, attributes.N_CANDIDATES),
        n_duplicates=total(trials, attributes.N_DUPLICATES),
        n_infeasible=total(trials, attributes.N_INFEASIBLE),
        predicted=tuple(predicted for predicted, _, _ in guesses),
        measured=tuple(measured for _, measured, _ in guesses),
        stds=tuple(std for _, _, std in guesses),
        transfer=finite(attrs.get(attributes.TRANSFER)),
        past_task_weights=_weights(attrs.get(attributes.PAST_TASK_WEIGHTS)),
        past_tasks_ignored=_names(attrs.get(attributes.PAST_TASKS_IGNORED)),
        test_value=finite(attrs.get(attributes.TEST_VALUE)),
        n_test_uses=n_test_uses(study),
    )


def n_test_uses(study: optuna.Study) -> int:
    """Return how often networks of a study have been evaluated on the test split."""
    attrs = study.user_attrs
    found = attrs.get(attributes.TEST_USES)
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    # NOTE: earlier versions wrote down the value alone.
    return int(attrs.get(attributes.TEST_VALUE) is not None)


def spaced(n: int, most: int) -> list[int]:
    """Return at most `most` of the places 0 to n - 1, evenly spaced, with the last one."""
    if n <= most:
        return list(range(max(n, 0)))
    # A set, since two places may round to the same number.
    return sorted({round(place) for place in np.linspace(0, n - 1, most).tolist()})


def number(trial: FrozenTrial, attr: str) -> float | None:
    """Return a trial's user attribute if it is a finite number."""
    # NOTE: other programs may store anything under the name of an attribute.
    return finite(trial.user_attrs.get(attr))


def _weights(found: Any) -> dict[str, float]:
    """Return the named numbers in a study's attribute."""
    named = found if isinstance(found, dict) else {}
    numbers = {str(name): finite(weight) for name, weight in named.items()}
    return {name: weight for name, weight in numbers.items() if weight is not None}


def _names(found: Any) -> tuple[str, ...]:
    """Return the names in a study's attribute."""
    return tuple(str(name) for name in found) if isinstance(found, list) else ()


def _rank_correlation(predicted: tuple[float, ...], measured: tuple[float, ...]) -> float:
    """Return Spearman's rho, or NaN with too few or equal values."""
    constant = len(set(predicted)) < 2 or len(set(measured)) < 2
    if len(predicted) < _MIN_PAIRS or constant:
        return math.nan
    from scipy.stats import spearmanr  # a second of imports that few processes need

    return float(spearmanr(predicted, measured).statistic)


def _value(trial: FrozenTrial) -> float:
    """Return the value of a completed trial."""
    return math.nan if trial.value is None else trial.value


def total(trials: Sequence[FrozenTrial], attr: str) -> int:
    """Return the sum of a count that the sampler has stored with each trial."""
    return sum(int(number(t, attr) or 0) for t in trials)
