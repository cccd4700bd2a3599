"""MetaSurrogate: past tasks in, predictions for a target task out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from surrogate_nas.arrays import FloatArray
from surrogate_nas.draw import random_params
from surrogate_nas.errors import PastTaskError, SurrogateMismatchError
from surrogate_nas.past.mapping import SpaceMapping
from surrogate_nas.past.past_task import Direction, Given, PastTask, as_observations, trials_of
from surrogate_nas.space import SearchSpace, SpaceLike, as_space
from surrogate_nas.surrogate.curves import UnfinishedTrials, unfinished_trials
from surrogate_nas.surrogate.encoding import Encoding
from surrogate_nas.surrogate.features import FeatureCache
from surrogate_nas.surrogate.file.surrogate_file import (
    FilePath,
    SavedSurrogate,
    read_surrogate,
    write_surrogate,
)
from surrogate_nas.surrogate.file.task_summary import task_summary
from surrogate_nas.surrogate.model.basis import PastBasis, PastModels, empty_basis, fit_models
from surrogate_nas.surrogate.model.distillation import Points
from surrogate_nas.surrogate.model.hypotheses import OF_META_FEATURES, TRANSFERS, Hypotheses
from surrogate_nas.surrogate.model.threads import one_thread
from surrogate_nas.surrogate.similarity import MetaFeatures, similarity
from surrogate_nas.surrogate.target_model import TargetModel

_SPACE_DRAWS = 1000


@final
class MetaSurrogate:
    """Predicts architectures of a target task from past tasks and the target's own trials.

    Made by :meth:`fit` or :meth:`load`. Past tasks never mix with the target's data: each is a
    LightGBM model of its ranks; the target is a Bayesian combination of these plus a Gaussian
    process for what none of them knows, conditioned in closed form (see
    :mod:`surrogate_nas.surrogate.model.posterior`).
    """

    def __init__(
        self, encoding: Encoding, basis: PastBasis, tasks: Sequence[Mapping[str, Any]]
    ) -> None:
        self.encoding = encoding
        self.tasks = tuple(dict(task) for task in tasks)
        """Each past task's name, number of pairs, scale, direction, meta-features and notes, and
        its quality: how well the others predict it before any result of it, as Spearman's rank
        correlation (see :meth:`surrogate_nas.surrogate.model.basis.PastModels.basis`), or None."""
        self.basis = basis
        """The fitted basis functions and their prior."""
        self.features = FeatureCache(encoding, basis)

    def __repr__(self) -> str:
        pairs = sum(int(task["pairs"]) for task in self.tasks)
        return (
            f"<MetaSurrogate of {type(self.encoding.space).__name__}: {len(self.tasks)} past "
            f"tasks, {pairs:,} pairs>"
        )

    @classmethod
    def fit(
        cls,
        space: SpaceLike,
        past: Sequence[PastTask] = (),
        *,
        seed: int = 0,
        hypotheses: Hypotheses | None = None,
    ) -> MetaSurrogate:
        """Fit to past tasks; without any, it learns from the target alone.

        Args:
            space: The search space that all architectures come from.
            past: Past tasks. One of an earlier form of the space is used as far as it goes; see
                :func:`surrogate_nas.map_to_space`.
            seed: Fixes the fit bit for bit.
            hypotheses: What the target may be like; other than the default are for ablations.

        Raises:
            SpaceError: The space has no parameters.
            PastTaskError: A past task cannot rank anything, or knows less than half of the
                parameters.
        """
        return PastFit.of(space, past, seed=seed, hypotheses=hypotheses).surrogate()

    def predict(
        self,
        params: Sequence[Mapping[str, Any]],
        given: Given | None = None,
        *,
        direction: Direction = "maximize",
        meta_features: MetaFeatures | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """Predict what architectures reach on the target task.

        Args:
            params: Parameters of m architectures.
            given: The target's own results so far: a study, its trials, a PastTask or
                (params, values). Without any, predictions are standard scores.
            direction: Which way is better, where `given` does not say so itself.
            meta_features: Numbers that describe the target, as past tasks have them: what tells
                past tasks apart may tell which of them it is like.

        Returns:
            Mean and standard deviation of the measured value, (m,) each, in the target's units.
        """
        target = self.condition(given, direction=direction, meta_features=meta_features)
        return target.predict(params)

    def condition(
        self,
        given: Given | None,
        *,
        direction: Direction = "maximize",
        pending: Sequence[Mapping[str, Any]] = (),
        meta_features: MetaFeatures | None = None,
        unfinished: Sequence[UnfinishedTrials] = (),
    ) -> TargetModel:
        """Condition on the target's own results.

        Of more than 512 of them the best, the latest and a random share stand for all; see
        ``surrogate_nas.surrogate.target_model``.

        A study's or its trials' learning curves count, too: what pruned and running trials have
        reported stands for what it leads to; see ``surrogate_nas.surrogate.curves``.

        Args:
            given: See :meth:`predict`.
            direction: See :meth:`predict`.
            pending: Parameters of architectures in training. They count as if they reached what
                is predicted for them, so that other workers look elsewhere (the "kriging
                believer" of Ginsbourger et al. 2010).
            meta_features: See :meth:`predict`.
            unfinished: Learning curves that have not reached their end, where `given` is not a
                study or its trials.
        """
        observed = as_observations(given, direction)
        if meta_features is None and observed is not None:
            meta_features = observed.meta_features
        task_weights = similarity(meta_features, [task["meta_features"] for task in self.tasks])
        if observed is None:
            return TargetModel(self, [], np.zeros(0), direction, pending, task_weights)
        direction = observed.direction
        curves = [*unfinished, *unfinished_trials(trials_of(given), direction)]
        return TargetModel(
            self, observed.params, observed.y, direction, pending, task_weights, curves
        )

    def bind(self, space: SearchSpace) -> MetaSurrogate:
        """Return this surrogate for a space object with the same parameters and features.

        Raises:
            SurrogateMismatchError: The parameters, their ranges or the features differ.
        """
        if space is self.encoding.space:
            return self
        encoding = _checked_encoding(space, self.encoding)
        return MetaSurrogate(encoding, self.basis, self.tasks)

    def save(self, path: FilePath) -> None:
        """Write to a file, as a whole or not at all: JSON text, to read with :meth:`load`.

        Args:
            path: Where; by custom it ends in ``.surrogate``. The folder must exist.

        Raises:
            SurrogateFileError: The folder is missing, or the space's choices have no form in JSON.
        """
        write_surrogate(path, self.encoding, self.basis, self.tasks)

    @classmethod
    def load(cls, path: FilePath, *, space: SpaceLike | None = None) -> MetaSurrogate:
        """Read a file that :meth:`save` wrote; nothing in it is ever run.

        Args:
            path: The file.
            space: The search space; needed where it is your own and has features.

        Raises:
            SurrogateFileError: The file is missing, damaged, not a surrogate, made by a newer
                version, or needs `space`.
            SurrogateMismatchError: It was fitted to another space than `space`.
        """
        saved = read_surrogate(path)
        encoding = saved.encoding() if space is None else _checked_encoding(as_space(space), saved)
        return cls(encoding, saved.basis, saved.tasks)

    @property
    def rows(self) -> FeatureCache:
        """The earlier name of :attr:`features`."""
        return self.features

    @property
    def loadings(self) -> FloatArray:
        """Each past task as a sum of basis functions, (number of past tasks, r)."""
        return self.basis.loadings

    @property
    def typical_scale(self) -> float:
        """Median spread of the past tasks' values, in their own units; 1 without any."""
        return float(np.median([task["scale"] for task in self.tasks])) if self.tasks else 1.0


@final
@dataclass(frozen=True)
class PastFit:
    """What is fitted to past tasks once, for a surrogate of all of them or of all but one.

    Args:
        encoding: The numbering of the search space.
        past: The past tasks, as they are in this space.
        models: One model each; None without past tasks.
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
        """Fit one model to each past task; see :meth:`MetaSurrogate.fit`."""
        encoding = Encoding(as_space(space))
        if not past:
            return cls(encoding, (), None)
        for task in past:
            _check(task)
        mapping = SpaceMapping(encoding.space, known=encoding.distributions)
        past = [mapping.apply(task) for task in past]
        points = [_points(encoding, task.params, partly_known=True) for task in past]
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
    def surrogate(self, without: int | None = None) -> MetaSurrogate:
        """Return the surrogate of all past tasks, or of all but one: no model is fitted again."""
        kept = [task for k, task in enumerate(self.past) if k != without]
        if self.models is None or not kept:
            return self.empty()
        basis, quality = self.models.basis(without)
        tasks = [task_summary(task, q) for task, q in zip(kept, quality, strict=True)]
        return MetaSurrogate(self.encoding, basis, tasks)

    def empty(self) -> MetaSurrogate:
        """Return a surrogate of the same space that knows no past tasks."""
        return MetaSurrogate(self.encoding, empty_basis(), ())


def _checked_encoding(space: SearchSpace, fitted: Encoding | SavedSurrogate) -> Encoding:
    """Encode a space; refuse one with other parameters or features than were fitted to."""
    encoding = Encoding(space)
    if encoding.fingerprint == fitted.fingerprint:
        # A dict may list the same parameters in another order than the fitted columns have.
        encoding = Encoding(space, known=fitted.distributions)
        if encoding.columns == fitted.columns:
            return encoding
    raise _mismatch(fitted, encoding)


def _mismatch(fitted: Encoding | SavedSurrogate, wanted: Encoding) -> SurrogateMismatchError:
    """Name what differs between two spaces."""
    here, there = fitted.distributions, wanted.distributions
    changed = sorted(
        name for name in here.keys() | there.keys() if here.get(name) != there.get(name)
    )
    features = sorted(set(fitted.columns) ^ set(wanted.columns))
    names = ", ".join((changed or features)[:5])
    return SurrogateMismatchError(
        expected="a surrogate of this search space",
        got=f"one of another space, which differs in {names}",
        fix="fit a surrogate to this space, or search the space that it was fitted to",
    )


def _check(task: PastTask) -> None:
    """Refuse a past task that cannot teach anything; warn of one that contradicts itself."""
    if not task.informative():
        raise PastTaskError(
            expected="a past task with at least two different values",
            got=f"{len(task)} equal value(s) in {task.name!r}",
            fix="leave that past task out: it cannot rank architectures",
        )
    repeats: dict[str, list[float]] = {}
    for params, value in zip(task.params, task.values, strict=True):
        repeats.setdefault(repr(sorted(params.items())), []).append(float(value))
    apart = max(max(values) - min(values) for values in repeats.values())
    whole = max(task.values) - min(task.values)
    if apart > 0.5 * whole:
        warnings.warn(
            f"Expected equal architectures to reach similar values; got values {apart:g} apart, "
            f"of a range of {whole:g}, in past task {task.name!r}. Check that its rows belong "
            "together.",
            stacklevel=4,
        )


def _hypotheses(past: Sequence[PastTask]) -> Hypotheses:
    """The grid for past tasks, with more in it where meta-features tell them apart."""
    features = [task.meta_features for task in past]
    known = len(past) > 2 and any(similarity(one, features) is not None for one in features)
    return Hypotheses.grid(transfers=TRANSFERS + (OF_META_FEATURES if known else ()))


def _points(
    encoding: Encoding, params: Sequence[Mapping[str, Any]], *, partly_known: bool = False
) -> Points:
    """Architectures as the past tasks' models take them."""
    points = encoding.points(params)
    rows = encoding.encode(params, points, partly_known=partly_known)
    return Points(rows, np.hstack([points, encoding.traits(rows)]))
