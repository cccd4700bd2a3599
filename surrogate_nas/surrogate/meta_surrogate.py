"""MetaSurrogate: past tasks in, predictions for a target task out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import numpy as np

from surrogate_nas.arrays import FloatArray
from surrogate_nas.errors import SurrogateMismatchError
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
from surrogate_nas.surrogate.model.basis import PastBasis, empty_basis
from surrogate_nas.surrogate.model.hypotheses import Hypotheses
from surrogate_nas.surrogate.past_fit import PastFit
from surrogate_nas.surrogate.similarity import MetaFeatures, similarity
from surrogate_nas.surrogate.target_model import TargetModel


@final
class MetaSurrogate:
    """Predicts architectures of a target task from past tasks and the target's own trials.

    Made by :meth:`fit` or :meth:`load`. Past tasks never mix with the target's data: each is a
    LightGBM model of its ranks. The target is a Bayesian combination of these models, plus a
    Gaussian process for what none of them knows. It is conditioned in closed form: see
    :mod:`surrogate_nas.surrogate.model.posterior`.
    """

    def __init__(
        self, encoding: Encoding, basis: PastBasis, tasks: Sequence[Mapping[str, Any]]
    ) -> None:
        self.encoding = encoding
        self.tasks = tuple(dict(task) for task in tasks)
        """Summary of each past task: name, number of pairs, scale, direction, meta-features,
        notes, and quality.

        The quality says how well the others predict it before any of its results, as Spearman's
        rank correlation. It may be None: see
        :func:`surrogate_nas.surrogate.model.basis.assemble`.
        """
        self.basis = basis
        """The fitted basis functions and their prior."""
        self.features = FeatureCache(encoding, basis)
        """Features of architectures, each computed once."""

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
        """Fit to past tasks; without any, the surrogate learns from the target alone.

        Args:
            space: The search space that all architectures come from.
            past: Past tasks. One of an earlier form of the space is mapped to this one: see
                :func:`surrogate_nas.map_to_space`.
            seed: Seed that fixes the fit bit for bit.
            hypotheses: Hypotheses about the target. Others than the default are for ablations.

        Raises:
            SpaceError: The space has no parameters.
            PastTaskError: A past task cannot rank anything, or knows less than half of the
                parameters.
        """
        return cls.of(PastFit.of(space, past, seed=seed, hypotheses=hypotheses))

    @classmethod
    def of(cls, fitted: PastFit, *, without: int | None = None) -> MetaSurrogate:
        """Return the surrogate of past tasks that have been fitted already.

        Args:
            fitted: The fitted past tasks.
            without: Place of a past task to leave out.
        """
        basis, tasks = fitted.assemble(without)
        return cls(fitted.encoding, basis, tasks)

    @classmethod
    def empty(cls, encoding: Encoding) -> MetaSurrogate:
        """Return a surrogate that knows no past tasks.

        Args:
            encoding: The numbering of the search space.
        """
        return cls(encoding, empty_basis(), ())

    def predict(
        self,
        params: Sequence[Mapping[str, Any]],
        given: Given | None = None,
        *,
        direction: Direction = "maximize",
        meta_features: MetaFeatures | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """Predict the values of architectures on the target task.

        Args:
            params: Parameters of m architectures.
            given: The target's own results so far: a study, its trials, a PastTask or
                (params, values). Without any, predictions are standard scores.
            direction: Which way is better, where `given` does not say so itself.
            meta_features: Numbers that describe the target, with the names that past tasks have.
                Features that tell past tasks apart may tell which of them the target is like.

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

        Of more than 512 results, the best, the latest and a random share represent all: see
        ``surrogate_nas.surrogate.target_model``.

        Learning curves of a study or its trials count, too. A pruned or running trial counts with
        the value that its curve leads to: see ``surrogate_nas.surrogate.curves``.

        Args:
            given: See :meth:`predict`.
            direction: See :meth:`predict`.
            pending: Parameters of architectures in training. They count as if they reached their
                prediction, so that other workers look elsewhere (the "kriging believer" of
                Ginsbourger et al. 2010).
            meta_features: See :meth:`predict`.
            unfinished: Trials whose learning curve has not reached its end, where `given` is not
                a study or its trials.
        """
        # A study or a past task brings its own direction and meta-features.
        observed = as_observations(given, direction)
        if meta_features is None and observed is not None:
            meta_features = observed.meta_features
        task_weights = similarity(meta_features, [task["meta_features"] for task in self.tasks])
        if observed is None:
            return TargetModel(self, [], np.zeros(0), direction, pending, task_weights)
        direction = observed.direction
        # NOTE: learning curves are read from trials only, which have intermediate values.
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
            path: Path of the file. By custom it ends in ``.surrogate``. Its folder must exist.

        Raises:
            SurrogateFileError: The folder is missing, or the space's choices have no form in JSON.
        """
        write_surrogate(path, self.encoding, self.basis, self.tasks)

    @classmethod
    def load(cls, path: FilePath, *, space: SpaceLike | None = None) -> MetaSurrogate:
        """Read a file that :meth:`save` wrote; nothing in it is ever run.

        Args:
            path: Path of the file.
            space: The search space. It is needed where the space is your own and has features.

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


def _checked_encoding(space: SearchSpace, fitted: Encoding | SavedSurrogate) -> Encoding:
    """Return the encoding of a space; refuse other parameters or features than the fitted ones."""
    encoding = Encoding(space)
    if encoding.fingerprint == fitted.fingerprint:
        # NOTE: a dict may list the same parameters in another order than the fitted columns have.
        # Choices that are described by features are the space's own.
        own = {n: d for n, d in encoding.distributions.items() if n in space.described_params}
        encoding = Encoding(space, known={**fitted.distributions, **own})
        if encoding.columns == fitted.columns:
            return encoding
    raise _mismatch(fitted, encoding)


def _mismatch(fitted: Encoding | SavedSurrogate, wanted: Encoding) -> SurrogateMismatchError:
    """Return the error that names the differences between two spaces."""
    here, there = fitted.distributions, wanted.fitted
    names_of_both = (here.keys() | there.keys()).difference(wanted.space.described_params)
    changed = sorted(name for name in names_of_both if here.get(name) != there.get(name))
    features = sorted(set(fitted.columns) ^ set(wanted.columns))
    names = ", ".join((changed or features)[:5])
    return SurrogateMismatchError(
        expected="a surrogate of this search space",
        got=f"one of another space, which differs in {names}",
        fix="fit a surrogate to this space, or search the space that it was fitted to",
    )
