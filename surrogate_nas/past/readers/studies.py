"""Studies and their completed trials, out of any Optuna storage.

Results are plain: a dict of parameters and a number for each trial, without Optuna's objects. This
module asks Optuna. :mod:`surrogate_nas.past.readers.sql` asks the tables of a database directly,
which is many times as fast.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

from optuna.distributions import CategoricalDistribution
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas.attributes import FEATURES, violation
from surrogate_nas.errors import StorageError, StudyError
from surrogate_nas.files.checked_json import finite
from surrogate_nas.storage.optuna_private import id_of

DAMAGE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RuntimeError,
)
"""Exceptions raised for damaged rows or files. Optuna raises the last one for a trial that has
another number of values than its study has objectives."""


@final
@dataclass(frozen=True)
class StoredStudy:
    """A study without its trials.

    Args:
        study_id: Number of the study in the storage.
        name: Name of the study.
        directions: "minimize" or "maximize" for each objective, or any other text found there.
        user_attrs: User attributes of the study, or only the wanted ones.
        damage: Reason why it cannot be read, or nothing.
    """

    study_id: int
    name: str
    directions: tuple[str, ...]
    user_attrs: Mapping[str, Any]
    damage: str = ""


@final
@dataclass(frozen=True)
class Results:
    """Results of the completed trials of a study with one objective, in their order.

    Args:
        params: Parameters of each trial, n dicts.
        values: Value of each, n finite numbers. Trials with others are left out. A trial that
            violates a constraint counts at most as the worst of the others.
        n_without_value: Number of completed trials without any value.
        features: Features that each trial has recorded, n dicts; None where one has none.
    """

    params: list[dict[str, Any]]
    values: list[float]
    n_without_value: int = 0
    features: list[dict[str, float]] | None = None


class StudyReader(abc.ABC):
    """Reads the studies of one storage."""

    @abc.abstractmethod
    def studies(self) -> list[StoredStudy]:
        """Return all studies, without their trials."""

    @abc.abstractmethod
    def results(self, study: StoredStudy, *, with_features: bool = False) -> Results:
        """Return the completed trials of a study with one objective.

        Args:
            study: The study.
            with_features: Whether the features that trials have recorded are read as well.

        Raises:
            StudyError: Its rows are damaged.
        """


@final
class OptunaReader(StudyReader):
    """Reads through Optuna's own interface, from any storage.

    Args:
        storage: The storage.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage

    def studies(self) -> list[StoredStudy]:
        """Return all studies, without their trials.

        Raises:
            StorageError: Optuna cannot read one of them, and so none.
        """
        try:
            return [_stored(study) for study in self._storage.get_all_studies()]
        except DAMAGE as error:
            raise StorageError(
                expected="studies that Optuna can read",
                got=_named(error),
                fix="repair or delete the damaged study; its attributes are no JSON",
            ) from error

    def results(self, study: StoredStudy, *, with_features: bool = False) -> Results:
        """Return the completed trials of a study with one objective.

        Raises:
            StudyError: Its rows are damaged.
        """
        with readable(study):
            # NOTE: not copied, as trials are only read here.
            trials = self._storage.get_all_trials(
                study.study_id, deepcopy=False, states=(TrialState.COMPLETE,)
            )
            # Storages do not promise an order.
            return _results(sorted(trials, key=lambda t: t.number), study, with_features)


def _stored(study: Any) -> StoredStudy:
    """Return a study as Optuna has read it, without its trials."""
    is_named = isinstance(study.study_name, str)
    return StoredStudy(
        id_of(study),
        study.study_name if is_named else f"{study.study_name!r:.80}",
        tuple(direction.name.lower() for direction in study.directions),
        study.user_attrs,
        "" if is_named else "its name is no text",
    )


@contextmanager
def readable(study: StoredStudy) -> Iterator[None]:
    """Raise a StudyError in place of the exceptions that damaged rows lead to."""
    try:
        yield
    except DAMAGE as error:
        raise StudyError(
            expected=f"trials of study {study.name!r} that Optuna can read",
            got=_named(error),
            fix="repair or delete the study",
        ) from error


def _named(error: BaseException) -> str:
    """Return an error in a few words, because its text may hold a whole damaged row."""
    return f"{type(error).__name__}: {error!s:.80}".rstrip(": ")


def counted(values: list[float], violates: Sequence[bool], study: StoredStudy) -> list[float]:
    """Return values where violating trials count at most as the worst of the others.

    Args:
        values: Value of each trial.
        violates: Whether each trial violates a constraint.
        study: The study, which has one objective.
    """
    kept = [value for value, is_off in zip(values, violates, strict=True) if not is_off]
    if not kept or len(kept) == len(values):
        return values
    worse, worst = (min, min(kept)) if study.directions == ("maximize",) else (max, max(kept))
    return [
        worse(value, worst) if is_off else value
        for value, is_off in zip(values, violates, strict=True)
    ]


def _results(trials: Sequence[FrozenTrial], study: StoredStudy, with_features: bool) -> Results:
    """Return the results of completed trials."""
    recorded: list[Any] = []
    params: list[dict[str, Any]] = []
    values: list[float] = []
    violates: list[bool] = []
    n_without_value = 0
    for trial in trials:
        if trial.values is None:
            n_without_value += 1
        elif len(trial.values) == 1 and math.isfinite(trial.values[0]):
            params.append(_checked(trial))
            recorded.append(trial.user_attrs.get(FEATURES))
            values.append(float(trial.values[0]))
            violates.append(violation(trial) > 0)
    features = all_features(recorded) if with_features else None
    return Results(params, counted(values, violates, study), n_without_value, features)


def all_features(recorded: Sequence[Any]) -> list[dict[str, float]] | None:
    """Return the features of each trial as its attribute has them; None where one has none."""
    found: list[dict[str, float]] = []
    for one in recorded:
        numbers = {n: finite(v) for n, v in one.items()} if isinstance(one, Mapping) else {}
        if not numbers:
            return None
        found.append({n: math.nan if v is None else v for n, v in numbers.items()})
    return found


def _checked(trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's parameters; refuse a number that is missing."""
    # NOTE: Optuna reads a missing number as None without complaint. Only a choice may be None.
    for name, distribution in trial.distributions.items():
        if trial.params[name] is None and not isinstance(distribution, CategoricalDistribution):
            raise ValueError(f"no value of {name!r} in trial {trial.number}")
    return dict(trial.params)
