"""MetaSurrogate: past tasks in, predictions for a target task out."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import numpy.typing as npt

from surrogate_nas.basis import PastBasis, PastModels, empty_basis, fit_models
from surrogate_nas.draw import Draw, random_chooser
from surrogate_nas.encoding import Encoding, distance
from surrogate_nas.errors import PastTaskError, SurrogateMismatchError
from surrogate_nas.mapping import SpaceMapping
from surrogate_nas.past import Direction, Given, PastTask, as_observations, signed
from surrogate_nas.posterior import Basis, Posterior
from surrogate_nas.scaling import TargetScale
from surrogate_nas.space import SearchSpace, SpaceLike, as_space
from surrogate_nas.surrogate_file import (
    FilePath,
    SavedSurrogate,
    read_surrogate,
    write_surrogate,
)
from surrogate_nas.task_summary import task_summary

FloatArray = npt.NDArray[np.float64]

_SPACE_DRAWS = 1000
_CACHED_ROWS = 20_000


@final
class MetaSurrogate:
    """Predicts architectures of a target task from past tasks and the target's own trials.

    Made by :meth:`fit` or :meth:`load`. Past tasks never mix with the target's data: each is a
    LightGBM model of its ranks; the target is a Bayesian combination of these plus a Gaussian
    process for what none of them knows, conditioned in closed form (see
    :mod:`surrogate_nas.posterior`).
    """

    def __init__(
        self, encoding: Encoding, basis: PastBasis, tasks: Sequence[Mapping[str, Any]]
    ) -> None:
        self.encoding = encoding
        self.tasks = tuple(dict(task) for task in tasks)
        """Each past task's name, number of pairs, scale, direction, meta-features and notes, and
        its quality: how well the others predict it before any result of it, as Spearman's rank
        correlation (see :meth:`surrogate_nas.basis.PastModels.basis`), or None."""
        self._basis = basis
        self._rows: dict[tuple[Any, ...], tuple[FloatArray, FloatArray]] = {}

    @classmethod
    def fit(
        cls, space: SpaceLike, past: Sequence[PastTask] = (), *, seed: int = 0
    ) -> MetaSurrogate:
        """Fit to past tasks; without any, it learns from the target alone.

        Args:
            space: The search space that all architectures come from.
            past: Past tasks. One of an earlier form of the space is used as far as it goes; see
                :func:`surrogate_nas.map_to_space`.
            seed: Fixes the fit bit for bit.

        Raises:
            SpaceError: The space has no parameters.
            PastTaskError: A past task cannot rank anything, or knows less than half of the
                parameters.
        """
        return PastFit.of(space, past, seed=seed).surrogate()

    def predict(
        self,
        params: Sequence[Mapping[str, Any]],
        given: Given | None = None,
        *,
        direction: Direction = "maximize",
    ) -> tuple[FloatArray, FloatArray]:
        """Predict what architectures reach on the target task.

        Args:
            params: Parameters of m architectures.
            given: The target's own results so far: a study, its trials, a PastTask or
                (params, values). Without any, predictions are standard scores.
            direction: Which way is better, where `given` does not say so itself.

        Returns:
            Mean and standard deviation of the measured value, (m,) each, in the target's units.
        """
        return self.condition(given, direction=direction).predict(params)

    def condition(
        self,
        given: Given | None,
        *,
        direction: Direction = "maximize",
        pending: Sequence[Mapping[str, Any]] = (),
    ) -> TargetModel:
        """Condition on the target's own results.

        Args:
            given: See :meth:`predict`.
            direction: See :meth:`predict`.
            pending: Parameters of architectures in training. They count as if they reached what
                is predicted for them, so that other workers look elsewhere (the "kriging
                believer" of Ginsbourger et al. 2010).
        """
        observed = as_observations(given, direction)
        if observed is None:
            return TargetModel(self, [], np.zeros(0), direction, pending)
        return TargetModel(self, observed.params, observed.gains, observed.direction, pending)

    def bind(self, space: SearchSpace) -> MetaSurrogate:
        """Return this surrogate for a space object with the same parameters and features.

        Raises:
            SurrogateMismatchError: The parameters, their ranges or the features differ.
        """
        if space is self.encoding.space:
            return self
        encoding = _checked_encoding(space, self.encoding)
        return MetaSurrogate(encoding, self._basis, self.tasks)

    def save(self, path: FilePath) -> None:
        """Write to a file, as a whole or not at all: JSON text, to read with :meth:`load`.

        Args:
            path: Where; by custom it ends in ``.surrogate``. The folder must exist.

        Raises:
            SurrogateFileError: The folder is missing, or the space's choices have no form in JSON.
        """
        write_surrogate(path, self.encoding, self._basis, self.tasks)

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

    def rows(self, params: Sequence[Mapping[str, Any]]) -> tuple[FloatArray, FloatArray]:
        """Return kernel coordinates (n, p) and basis functions (n, r), each row remembered."""
        keys = [tuple(sorted(one.items())) for one in params]
        if len(self._rows) > _CACHED_ROWS:
            self._rows = {}
        rows = self._rows  # another thread may start afresh in between
        new = [i for i, key in enumerate(keys) if key not in rows]
        if new:
            fresh = [params[i] for i in new]
            points = self.encoding.points(fresh)
            rows_of = self.encoding.encode(fresh, points) if self.tasks else None
            values = None if rows_of is None else self._basis.raw(rows_of)
            for j, i in enumerate(new):
                rows[keys[i]] = (points[j], values[j] if values is not None else _NOTHING)
        picked = [rows[key] for key in keys]
        p = len(self.encoding.is_category)
        stacked = np.array([point for point, _ in picked]).reshape(len(picked), p)
        r = len(self._basis.boosters)
        return stacked, np.array([value for _, value in picked]).reshape(len(picked), r)

    def basis_at(self, values: FloatArray) -> Basis:
        """Attach the prior of the weights to basis functions (n, r)."""
        return Basis(values, self._basis.mean, self._basis.variance)

    @property
    def log_prior(self) -> FloatArray:
        """Log prior of the posterior's hypotheses, (g,)."""
        return self._basis.log_prior

    @property
    def loadings(self) -> FloatArray:
        """Each past task as a sum of basis functions, (number of past tasks, r)."""
        return self._basis.loadings

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
    def of(cls, space: SpaceLike, past: Sequence[PastTask], *, seed: int) -> PastFit:
        """Fit one model to each past task; see :meth:`MetaSurrogate.fit`."""
        encoding = Encoding(as_space(space))
        if not past:
            return cls(encoding, (), None)
        for task in past:
            _check(task)
        mapping = SpaceMapping(encoding.space, known=encoding.distributions)
        past = [mapping.apply(task) for task in past]
        models = fit_models(
            [encoding.encode(task.params, partly_known=True) for task in past],
            [encoding.points(task.params) for task in past],
            [task.gains for task in past],
            space_rows=encoding.encode(_draws(encoding.space, _SPACE_DRAWS, seed)),
            distance=lambda a, b: distance(a, b, encoding.is_category),
            seed=seed,
        )
        return cls(encoding, tuple(past), models)

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


_NOTHING = np.zeros(0)


@final
class TargetModel:
    """A MetaSurrogate conditioned on one target's results.

    Args:
        surrogate: What past tasks say.
        params: Parameters of the n architectures evaluated so far.
        gains: Their values, larger is better, (n,).
        direction: Which way is better in the target's own units.
        pending: Parameters of architectures in training.
    """

    def __init__(
        self,
        surrogate: MetaSurrogate,
        params: Sequence[Mapping[str, Any]],
        gains: FloatArray,
        direction: Direction,
        pending: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._surrogate = surrogate
        self._direction = direction
        self._scale = TargetScale.fit(gains, surrogate.typical_scale)
        y = self._scale.forward(gains)
        self._posterior, self._points = self._fit(params, y)
        if pending and len(y):
            believed, _ = self.latent(pending)
            self._posterior, self._points = self._fit(
                [*params, *pending], np.concatenate([y, believed])
            )
        self.incumbent = float(y.max()) if len(y) else None
        """Best value so far, in working units (larger is better); None without results."""

    def _fit(
        self, params: Sequence[Mapping[str, Any]], y: FloatArray
    ) -> tuple[Posterior, FloatArray]:
        """The posterior of values in working units, and the coordinates that it stands on."""
        points, values = self._surrogate.rows(params)
        near = distance(points, points, self._surrogate.encoding.is_category)
        basis = self._surrogate.basis_at(values)
        return Posterior(basis, near, y, self._surrogate.log_prior), points

    def latent(self, params: Sequence[Mapping[str, Any]]) -> tuple[FloatArray, FloatArray]:
        """Predict the noise-free value in working units, larger is better, (m,) each."""
        points, values = self._surrogate.rows(params)
        near = distance(points, self._points, self._surrogate.encoding.is_category)
        return self._posterior.predict(self._surrogate.basis_at(values), near)

    def own_units(self, mean: FloatArray, std: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Turn latent predictions into measured values: center and half of the 68% interval."""
        std = np.hypot(std, self._posterior.noise)
        low, high = self._scale.backward(mean - std), self._scale.backward(mean + std)
        center = self._scale.backward(mean)
        return signed(center, self._direction), (high - low) / 2

    def predict(self, params: Sequence[Mapping[str, Any]]) -> tuple[FloatArray, FloatArray]:
        """Predict measured values in the target's own units, (m,) each."""
        return self.own_units(*self.latent(params))

    @property
    def transfer(self) -> float:
        """Probability that past tasks say anything about this one, 0 to 1."""
        return self._posterior.transfer if self._surrogate.tasks else 0.0

    @property
    def weights(self) -> dict[str, float]:
        """How much each past task counts in the predictions."""
        loadings = self._surrogate.loadings
        if not len(loadings):
            return {}
        # Spread each basis function's weight over the tasks that it stands for.
        share = loadings @ (self._posterior.weights / np.maximum((loadings**2).sum(axis=0), 1e-12))
        names = [str(task["name"]) for task in self._surrogate.tasks]
        return dict(zip(names, share.tolist(), strict=True))


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


def _draws(space: SearchSpace, n: int, seed: int) -> list[dict[str, Any]]:
    """Parameters of n random architectures."""
    rng = np.random.default_rng(seed)
    params = []
    for _ in range(n):
        draw = Draw(random_chooser(rng))
        space.suggest(draw)
        params.append(draw.params)
    return params
