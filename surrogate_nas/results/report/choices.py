"""Which choices mattered: LightGBM's SHAP contributions and Optuna's importances."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial

from surrogate_nas.arrays import FloatArray
from surrogate_nas.results.recorded_space import recorded_distributions
from surrogate_nas.space import ParameterSpace, SearchSpace
from surrogate_nas.surrogate.encoding import Encoding
from surrogate_nas.surrogate.model.boosting import fit_trees, predict_trees, rank_correlation

_LEAST_TRIALS = 12
_MOST_TRIALS = 2000
"""Latest trials that the trees are fitted to."""
_FOLDS = 5
_MOST_VALUES = 6
"""Most different numbers that are shown one by one; more are put into three ranges."""
_MOST_SHOWN = 15

_logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class Effect:
    """Mean contribution of one value of a parameter to results.

    Args:
        value: The value, or a range of values, in words.
        effect: Mean SHAP contribution, in the metric's units.
        n_trials: Number of trials with this value.
    """

    value: str
    effect: float
    n_trials: int


@final
@dataclass(frozen=True)
class Choice:
    """How much a parameter mattered.

    Args:
        name: Name of the parameter.
        label: Name of the parameter in the space's own words.
        contribution: Mean absolute SHAP contribution, in the metric's units.
        share: Contribution as a share of the sum over all parameters.
        importance: Optuna's importance, a share; None if it is unknown or the parameter never
            varied.
        best: The value with the best mean contribution.
        worst: The value with the worst mean contribution.
    """

    name: str
    label: str
    contribution: float
    share: float
    importance: float | None
    best: Effect
    worst: Effect


@final
@dataclass(frozen=True)
class Choices:
    """The parameters that mattered most, strongest first.

    Args:
        choices: At most 15 parameters.
        n_left_out: Number of parameters that are not listed.
        held_out: Rank correlation of the trees' predictions with held-out results, by five-fold
            cross-validation. It says how far the contributions can be trusted.
    """

    choices: tuple[Choice, ...]
    n_left_out: int
    held_out: float


def choices_of(
    study: optuna.Study, trials: Sequence[FrozenTrial], space: SearchSpace, *, maximize: bool
) -> Choices | None:
    """Return how much each parameter mattered; None if the trials are too few to tell.

    Boosted trees are fitted to the trials. Each prediction is split into the contributions of the
    parameters (SHAP values of trees, Lundberg et al. 2020, "From local explanations to global
    understanding with explainable AI for trees").

    Args:
        study: A study with one objective.
        trials: Completed trials of the study.
        space: The search space, for the parameters' names in words.
        maximize: Whether larger values are better.
    """
    found = recorded_distributions(study)
    used = [t for t in trials if t.value is not None and math.isfinite(t.value) and t.params]
    used = used[-_MOST_TRIALS:]
    y = np.array([t.value for t in used], dtype=float)
    if len(used) < _LEAST_TRIALS or not found or len(set(y.tolist())) < 2:
        return None
    encoding = Encoding(ParameterSpace(found), known=found)
    widths = [
        len(d.choices) if isinstance(d, CategoricalDistribution) else 1 for d in found.values()
    ]
    # NOTE: behind the parameters' own columns the encoding has counts of equal choices. They are
    # cut off, because they would take part of the parameters' contributions.
    x = encoding.encode([t.params for t in used])[:, : sum(widths)]
    parts = np.asarray(fit_trees(x, y, seed=0).predict(x, pred_contrib=True, num_threads=1))
    # NOTE: the last column of `parts` is the expected value, which belongs to no parameter. A
    # category has a column for each value, and their contributions add up.
    owner = np.repeat(np.arange(len(widths)), widths)
    by_name = np.stack([parts[:, :-1][:, owner == k].sum(axis=1) for k in range(len(widths))], 1)
    strength = np.abs(by_name).mean(axis=0)
    importances = _importances(study)
    listed = []
    for k in np.argsort(-strength, kind="stable")[:_MOST_SHOWN].tolist():
        name = list(found)[k]
        effects = _effects([t.params.get(name) for t in used], by_name[:, k], name, used)
        effects.sort(key=lambda effect: effect.effect, reverse=maximize)
        listed.append(
            Choice(
                name,
                space.label(name),
                float(strength[k]),
                # Trees that never split contribute nothing.
                float(strength[k] / max(strength.sum(), 1e-300)),
                importances.get(name) if len(effects) > 1 else None,
                effects[0],
                effects[-1],
            )
        )
    return Choices(tuple(listed), len(found) - len(listed), _held_out(x, y))


def _held_out(x: FloatArray, y: FloatArray) -> float:
    """Return the rank correlation of five-fold predictions with results."""
    fold = np.random.default_rng(0).permutation(len(y)) % _FOLDS
    predicted = np.zeros(len(y))
    for k in range(_FOLDS):
        predicted[fold == k] = predict_trees(
            fit_trees(x[fold != k], y[fold != k], seed=0), x[fold == k]
        )
    return rank_correlation(predicted, y)


def _effects(
    values: Sequence[Any], parts: FloatArray, name: str, trials: Sequence[FrozenTrial]
) -> list[Effect]:
    """Return the mean contribution of each value, or of three ranges if there are many."""
    there = [name in trial.params for trial in trials]
    words = [
        _spell(value) if is_there else "not there"
        for value, is_there in zip(values, there, strict=True)
    ]
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) == sum(there) and len(set(numbers)) > _MOST_VALUES:
        # Thirds of the trials, and not of the range, so that each group has enough of them.
        edges = np.quantile(np.array(numbers, dtype=float), [1 / 3, 2 / 3])
        words = [
            _range(value, edges) if is_there else "not there"
            for value, is_there in zip(values, there, strict=True)
        ]
    groups: dict[str, list[float]] = {}
    for word, part in zip(words, parts.tolist(), strict=True):
        groups.setdefault(word, []).append(part)
    return [Effect(word, float(np.mean(found)), len(found)) for word, found in groups.items()]


def _range(value: float, edges: FloatArray) -> str:
    """Return in words which third of the values a value lies in."""
    low, high = (f"{edge:.3g}" for edge in edges.tolist())
    if value <= edges[0]:
        return f"up to {low}"
    return f"above {high}" if value > edges[1] else f"{low} to {high}"


def _spell(value: Any) -> str:
    """Return a value as text, numbers with four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _importances(study: optuna.Study) -> dict[str, float]:
    """Return Optuna's importance of each parameter; an empty dict if Optuna refuses the study."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return optuna.importance.get_param_importances(study)
    except Exception as error:  # an evaluator of Optuna's raises anything on unusual trials
        _logger.info("Optuna's importances are not known: %s", error)
        return {}
