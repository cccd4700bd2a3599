"""Studies and their completed trials, out of any Optuna storage.

What is read is plain: a dict of parameters and a number for each trial, nothing of Optuna's. This
module asks Optuna; :mod:`surrogate_nas.past.readers.sql` asks the tables of a database directly,
which is many times as fast; :mod:`surrogate_nas.past.readers.cache` remembers what was read.
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

from surrogate_nas.errors import StorageError, StudyError
from surrogate_nas.storage.optuna_private import id_of

DAMAGE = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    RecursionError,
)
"""What comes out of rows, or files, that are not what they should be."""


@final
@dataclass(frozen=True)
class StoredStudy:
    """A study without its trials.

    Args:
        study_id: Its number in the storage.
        name: Its name.
        directions: "minimize" or "maximize" for each objective, or what else stands there.
        user_attrs: Its user attributes, or only the wanted ones.
        damage: Why it cannot be read, or nothing.
    """

    study_id: int
    name: str
    directions: tuple[str, ...]
    user_attrs: Mapping[str, Any]
    damage: str = ""


@final
@dataclass(frozen=True)
class Results:
    """What the completed trials of a study with one objective reached, in their order.

    Args:
        params: Parameters of each trial, n dicts.
        values: What each reached, n finite numbers; others are left out.
        n_without_value: How many completed trials had no value at all.
    """

    params: list[dict[str, Any]]
    values: list[float]
    n_without_value: int = 0


class StudyReader(abc.ABC):
    """Reads the studies of one storage."""

    @abc.abstractmethod
    def studies(self) -> list[StoredStudy]:
        """Return all studies, without their trials."""

    @abc.abstractmethod
    def results(self, study: StoredStudy) -> Results:
        """Return the completed trials of a study with one objective.

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
            found = self._storage.get_all_studies()
        except DAMAGE as error:
            raise StorageError(
                expected="studies that Optuna can read",
                got=_named(error),
                fix="repair or delete the damaged study; its attributes are no JSON",
            ) from error
        return [
            StoredStudy(
                id_of(s),
                s.study_name if isinstance(s.study_name, str) else f"{s.study_name!r:.80}",
                tuple(direction.name.lower() for direction in s.directions),
                s.user_attrs,
                "" if isinstance(s.study_name, str) else "its name is no text",
            )
            for s in found
        ]

    def results(self, study: StoredStudy) -> Results:
        """Return the completed trials of a study with one objective.

        Raises:
            StudyError: Its rows are damaged.
        """
        with readable(study):
            trials = self._storage.get_all_trials(
                study.study_id, deepcopy=False, states=(TrialState.COMPLETE,)
            )
            return _results(sorted(trials, key=lambda trial: trial.number))


@contextmanager
def readable(study: StoredStudy) -> Iterator[None]:
    """Turn what damaged rows lead to into a StudyError."""
    try:
        yield
    except DAMAGE as error:
        raise StudyError(
            expected=f"trials of study {study.name!r} that Optuna can read",
            got=_named(error),
            fix="repair or delete the study",
        ) from error


def _named(error: BaseException) -> str:
    """Say in a few words what went wrong; a whole damaged row may be in an error's text."""
    return f"{type(error).__name__}: {error!s:.80}".rstrip(": ")


def _results(trials: Sequence[FrozenTrial]) -> Results:
    params: list[dict[str, Any]] = []
    values: list[float] = []
    n_without_value = 0
    for trial in trials:
        if trial.values is None:
            n_without_value += 1
        elif len(trial.values) == 1 and math.isfinite(trial.values[0]):
            params.append(_checked(trial))
            values.append(float(trial.values[0]))
    return Results(params, values, n_without_value)


def _checked(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's parameters; Optuna reads a missing number as None without complaint."""
    for name, distribution in trial.distributions.items():
        if trial.params[name] is None and not isinstance(distribution, CategoricalDistribution):
            raise ValueError(f"no value of {name!r} in trial {trial.number}")
    return dict(trial.params)
