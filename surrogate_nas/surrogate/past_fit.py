"""PastFit: one model a past task, fitted once and assembled as often as needed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from surrogate_nas.errors import PastTaskError, visible
from surrogate_nas.past.mapping import SpaceMapping
from surrogate_nas.past.past_task import PastTask, as_past
from surrogate_nas.space import SpaceLike, as_space
from surrogate_nas.space.draw import random_params
from surrogate_nas.surrogate.encoding import Encoding, FeatureSets
from surrogate_nas.surrogate.file.task_summary import task_summary
from surrogate_nas.surrogate.model.basis import PastBasis, assemble, empty_basis
from surrogate_nas.surrogate.model.chance import share_at_chance, threshold_at_chance
from surrogate_nas.surrogate.model.distillation import Points
from surrogate_nas.surrogate.model.hypotheses import OF_META_FEATURES, TRANSFERS, Hypotheses
from surrogate_nas.surrogate.model.past_models import (
    MOST_JUDGED,
    MOST_RANKED,
    PastModels,
    fit_models,
)
from surrogate_nas.surrogate.model.threads import one_thread
from surrogate_nas.surrogate.similarity import similarity

_SPACE_DRAWS = 1000
"""Number of random architectures that represent the space."""


@final
@dataclass(frozen=True)
class PastFit:
    """Models fitted to past tasks once, for a surrogate of all of them or of all but one.

    Args:
        encoding: The numbering of the search space.
        past: The past tasks, mapped to this space.
        models: One model each. None without past tasks.
    """

    encoding: Encoding
    past: tuple[PastTask, ...]
    models: PastModels | None

    @classmethod
    def of(
        cls,
        space: SpaceLike,
        past: Sequence[PastTask],
        *,
        seed: int,
        hypotheses: Hypotheses | None = None,
    ) -> PastFit:
        """Fit one model to each past task.

        Args:
            space: The search space.
            past: The past tasks.
            seed: Seed of all draws and fits.
            hypotheses: Hypotheses about the target, or None for the default ones.

        Raises:
            SpaceError: The space has no parameters.
            PastTaskError: A past task cannot rank anything, or knows less than half of the
                parameters.
        """
        encoding = Encoding(as_space(space))
        past = as_past(past)
        if not past:
            return cls(encoding, (), None)
        for task in past:
            _check(task)
        mapping = SpaceMapping(encoding.space, known=encoding.distributions)
        past = [mapping.apply(task) for task in past]
        points = [
            _points(encoding, task.params, partly_known=True, features=task.features)
            for task in past
        ]
        # NOTE: random architectures stand for the space: models are compared on them, and past
        # tasks with few results are taught there.
        rng = np.random.default_rng(seed)
        draws = random_params(encoding.space.suggest, _SPACE_DRAWS, rng)
        with one_thread():
            models = fit_models(
                points,
                [task.y for task in past],
                meta_features=[task.meta_features for task in past],
                space=_points(encoding, draws),
                distance_between=encoding.distances,
                hypotheses=_hypotheses(past) if hypotheses is None else hypotheses,
                seed=seed,
            )
        return cls(encoding, tuple(past), models)

    @one_thread()
    def assemble(self, without: int | None = None) -> tuple[PastBasis, list[dict[str, Any]]]:
        """Return the basis and the summaries of all past tasks, or of all but one.

        No model is fitted again.

        Args:
            without: Place of the past task to leave out.
        """
        kept = [task for k, task in enumerate(self.past) if k != without]
        if self.models is None or not kept:
            return empty_basis(), []
        basis, quality = assemble(self.models, without)
        places = [k for k in range(len(self.past)) if k != without]
        at_chance = _at_chance(self.models, basis, places)
        return basis, [
            task_summary(task, q, chance)
            for task, q, chance in zip(kept, quality, at_chance, strict=True)
        ]


def _at_chance(models: PastModels, basis: PastBasis, kept: Sequence[int]) -> list[float | None]:
    """Return the prediction up to which each past task holds architectures to be at chance.

    Args:
        models: The models of all past tasks.
        basis: The basis of some of them.
        kept: The places of these.
    """
    found: list[float | None] = [None] * len(kept)
    knowing = [i for i, k in enumerate(kept) if share_at_chance(models.y[k]) > 0]
    for i in knowing[:MOST_JUDGED]:
        y, rows = models.y[kept[i]], models.known[kept[i]].rows
        some = np.random.default_rng([models.seed, 4]).permutation(len(y))[:MOST_RANKED]
        predicted = basis.raw(rows[some]) @ basis.loadings[i]
        found[i] = threshold_at_chance(y[some], predicted)
    return found


def _check(task: PastTask) -> None:
    """Refuse a past task that cannot teach anything; warn of one that contradicts itself."""
    if not task.informative():
        raise PastTaskError(
            expected="a past task with at least two different values",
            got=f"{len(task)} equal value(s) in {task.name!r}",
            fix="leave that past task out: it cannot rank architectures",
        )
    # NOTE: repeated trainings differ by noise. By more than half of the range, they are rather the
    # rows of several tasks.
    repeats: dict[str, list[float]] = {}
    for params, value in zip(task.params, task.values, strict=True):
        repeats.setdefault(repr(sorted(params.items())), []).append(float(value))
    apart = max(max(values) - min(values) for values in repeats.values())
    whole = max(task.values) - min(task.values)
    if apart > 0.5 * whole:
        words = (
            f"Expected equal architectures to reach similar values; got values {apart:g} apart, "
            f"of a range of {whole:g}, in past task {task.name!r}. Check that its rows belong "
            "together."
        )
        warnings.warn(visible(words), stacklevel=4)


def _hypotheses(past: Sequence[PastTask]) -> Hypotheses:
    """Return the grid for past tasks, with more in it where meta-features tell them apart."""
    features = [task.meta_features for task in past]
    # NOTE: with two past tasks, leaving one out leaves nothing to tell apart.
    known = len(past) > 2 and any(similarity(one, features) is not None for one in features)
    return Hypotheses.grid(transfers=TRANSFERS + (OF_META_FEATURES if known else ()))


def _points(
    encoding: Encoding,
    params: Sequence[Mapping[str, Any]],
    *,
    partly_known: bool = False,
    features: FeatureSets | None = None,
) -> Points:
    """Return architectures in the form that the models of past tasks take."""
    points = encoding.points(params)
    rows = encoding.encode(params, points, partly_known=partly_known, features=features)
    return Points(rows, np.hstack([points, encoding.traits(rows)]))
