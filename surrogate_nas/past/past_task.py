"""Past tasks and a target task's observations, as users hand them in.

Tables are read by :mod:`surrogate_nas.past.tables.tasks`.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast, final

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas import attributes
from surrogate_nas.arrays import FloatArray
from surrogate_nas.errors import PastTaskError, StudyError, visible
from surrogate_nas.files.checked_json import finite
from surrogate_nas.past.tables.checks import Check, Duplicates
from surrogate_nas.past.tables.checks import Direction as Direction
from surrogate_nas.past.tables.reading import TableLike, TablePath, as_table, read_csv
from surrogate_nas.past.tables.tasks import TableOptions, TableTask, read_tasks
from surrogate_nas.space import SpaceLike
from surrogate_nas.storage.given import kind_of

Given: TypeAlias = (
    "PastTask | optuna.Study | Sequence[FrozenTrial] | "
    "tuple[Sequence[Mapping[str, Any]], Sequence[float]]"
)


@final
@dataclass(frozen=True, eq=False)
class PastTask:
    """Architectures of one finished task and the values that they reached there.

    Args:
        name: Name of the task in reports and warnings.
        params: Parameters of each architecture, n dicts as in ``trial.params``.
        values: Value that each reached, n finite numbers in the task's own units.
        direction: Which way is better.
        meta_features: Numbers that describe the task, or None if unknown.
        notes: Changes that fit it to a search space, in plain words: values that were mapped,
            filled in or dropped.
        features: Features of each architecture as its space gave them, n dicts. They are needed
            where the space of today cannot compute them, as it has not the same backbones.

    Raises:
        PastTaskError: Counts differ, there are no pairs, or a value is not a finite number.
    """

    name: str
    params: Sequence[Mapping[str, Any]]
    values: Sequence[float]
    direction: Direction = "maximize"
    meta_features: Mapping[str, float] | None = None
    notes: tuple[str, ...] = ()
    features: Sequence[Mapping[str, float]] | None = None

    def __post_init__(self) -> None:
        fix = f"check the results of past task {self.name!r}"
        if self.direction not in ("minimize", "maximize"):
            raise PastTaskError(
                expected="direction 'minimize' or 'maximize'", got=repr(self.direction), fix=fix
            )
        for what, given in (("parameter sets", self.params), ("values", self.values)):
            if not _is_row(given):
                raise PastTaskError(
                    expected=f"a sequence of {what}",
                    got=f"{given!r:.60} of type {type(given).__name__}",
                    fix=fix,
                )
        if len(self.params) != len(self.values) or not len(self.values):
            raise PastTaskError(
                expected="as many parameter sets as values, at least one",
                got=f"{len(self.params)} parameter sets and {len(self.values)} values",
                fix=fix,
            )
        if self.features is not None and len(self.features) != len(self.params):
            got = f"{len(self.features)} sets of features for {len(self.params)} architectures"
            raise PastTaskError(expected="features of each architecture", got=got, fix=fix)
        odd = next((one for one in self.params if not isinstance(one, Mapping)), None)
        if odd is not None or not isinstance(self.meta_features, Mapping | None):
            raise PastTaskError(
                expected="parameter sets and meta-features as dicts of values by name",
                got=f"{self.meta_features if odd is None else odd!r:.60}",
                fix=fix,
            )
        for index, value in enumerate(self.values):
            if finite(_plain(value)) is None:
                raise PastTaskError(
                    expected="finite numbers as values",
                    got=f"{value!r:.100} at position {index}",
                    fix=f"leave failed trainings out of past task {self.name!r}",
                )

    @classmethod
    def from_csv(
        cls,
        path: TablePath,
        *,
        value: str,
        direction: Direction | None = None,
        name: str | None = None,
        space: SpaceLike | None = None,
        meta_features: Mapping[str, float] | None = None,
        fill: Mapping[str, Any] | None = None,
        duplicates: Duplicates = "refuse",
        allow: tuple[Check, ...] = (),
    ) -> PastTask:
        """Read the results of one task from a CSV file, one architecture a row.

        Exports of Optuna (``study.trials_dataframe()``) and optuna-dashboard are recognized. Only
        their completed trials count. Rows whose value is empty or not finite are failed trainings
        and left out. Equal rows are merged. The notes of the task say so.

        Args:
            path: Path of a file in UTF-8, separated by commas, semicolons or tabs, with a header.
            value: Name of the column with the value that each architecture reached.
            direction: Which way is better. It may be None where the column's name says it
                ("val_accuracy", "loss").
            name: Name of the task; by default the file's name.
            space: The search space. Then its parameters are read from the columns of their names,
                in their own types, and checked against their ranges. An empty cell is an inactive
                parameter. Without it every other column is a parameter: int, float, bool or text.
            meta_features: Numbers that describe the task.
            fill: Values of parameters that have no column or an empty cell.
            duplicates: Treatment of rows of one architecture whose values differ: "refuse", or
                "mean" for repeated trainings.
            allow: Checks to leave out: "direction" (that the column's name does not contradict
                it) and "mixed_units" (fractions beside percentages).

        Raises:
            PastTaskError: A column is missing, a cell is no number or not in the space, rows
                disagree, units look mixed, or the direction contradicts the column's name. The
                message says where.
            SpaceError: The space has no parameters.
        """
        options = TableOptions(value, None, direction, space, fill, duplicates, allow)
        read = read_tasks(read_csv(path), name or Path(path).stem, options)
        return _with_meta_features(read, lambda _name: meta_features)[0]

    @classmethod
    def from_table(
        cls,
        table: TableLike,
        *,
        value: str,
        direction: Direction | None = None,
        name: str | None = None,
        space: SpaceLike | None = None,
        meta_features: Mapping[str, float] | None = None,
        fill: Mapping[str, Any] | None = None,
        duplicates: Duplicates = "refuse",
        allow: tuple[Check, ...] = (),
    ) -> PastTask:
        """Take the results of one task from a data frame, a dict of columns or a list of dicts.

        Args:
            table: The table. Data frames of pandas and Polars are taken as they are.
            value: Name of the column of values. See :meth:`from_csv`, here and below.
            direction: Which way is better.
            name: Name of the task; "table" by default.
            space: The search space.
            meta_features: Numbers that describe the task.
            fill: Values of parameters that have no column or an empty cell.
            duplicates: Treatment of rows of one architecture whose values differ.
            allow: Checks to leave out.

        Raises:
            PastTaskError: See :meth:`from_csv`.
            SpaceError: The space has no parameters.
        """
        options = TableOptions(value, None, direction, space, fill, duplicates, allow)
        read = read_tasks(as_table(table), name or "table", options)
        return _with_meta_features(read, lambda _name: meta_features)[0]

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        notes = f", {len(self.notes)} notes" if self.notes else ""
        return visible(f"<PastTask {self.name!r}: {len(self)} pairs, {self.direction}{notes}>")

    @property
    def y(self) -> FloatArray:
        """The values with the sign turned so that larger is better, (n,)."""
        return signed(np.asarray(self.values, dtype=float), self.direction)

    @property
    def gains(self) -> FloatArray:
        """The earlier name of :attr:`y`."""
        return self.y

    def informative(self) -> bool:
        """Whether the values rank anything: at least two of them differ."""
        return len(set(self.values)) > 1


def _plain(value: object) -> object:
    """Return a number of NumPy as Python's, and anything else as it is."""
    return float(value) if isinstance(value, np.floating | np.integer) else value


def _is_row(given: object) -> bool:
    """Return whether something is a sequence of items: a list, a tuple, a column."""
    if isinstance(given, str | bytes | Mapping | Set) or not isinstance(given, Collection):
        return False
    return getattr(given, "ndim", 1) == 1


def read_table(
    table: TablePath | TableLike,
    *,
    value: str,
    task: str = "task",
    direction: Direction | None = None,
    space: SpaceLike | None = None,
    meta_features: Mapping[str, Mapping[str, float]] | None = None,
    fill: Mapping[str, Any] | None = None,
    duplicates: Duplicates = "refuse",
    allow: tuple[Check, ...] = (),
) -> list[PastTask]:
    """Read a table of several tasks, one architecture of one task a row.

    Args:
        table: Path of a CSV file, or a table as :meth:`PastTask.from_table` takes it.
        value: Name of the column of values. See :meth:`PastTask.from_csv`, here and below.
        task: Name of the column with the name of each row's task.
        direction: Which way is better, the same for all tasks.
        space: The search space.
        meta_features: Numbers that describe each task, by its name.
        fill: Values of parameters that have no column or an empty cell.
        duplicates: Treatment of rows of one task and architecture whose values differ.
        allow: Checks to leave out.

    Returns:
        The tasks, in the order in which they first occur.

    Raises:
        PastTaskError: A row names no task, or any of the reasons of :meth:`PastTask.from_csv`.
        SpaceError: The space has no parameters.
    """
    options = TableOptions(value, task, direction, space, fill, duplicates, allow)
    found = read_csv(table) if isinstance(table, str | os.PathLike) else as_table(table)
    return _with_meta_features(read_tasks(found, "", options), (meta_features or {}).get)


def _with_meta_features(
    tasks: Sequence[TableTask], features: Callable[[str], Mapping[str, float] | None]
) -> list[PastTask]:
    """Return past tasks with the meta-features that a function gives for their names."""
    return [
        PastTask(t.name, t.params, t.values, t.direction, features(t.name), t.notes) for t in tasks
    ]


def as_past(past: Any) -> list[PastTask]:
    """Return past tasks as a list.

    Raises:
        PastTaskError: Something else is given. The message says what, and how past tasks are made.
    """
    items = [past] if isinstance(past, str | Mapping | PastTask) else past
    if isinstance(items, Iterable) and not isinstance(past, PastTask):
        found = list(items)
        if all(isinstance(task, PastTask) for task in found):
            return found
    fix = "read them by sn.read_history(storage, space=space), or by PastTask.from_csv"
    if isinstance(past, PastTask):
        fix = "put it into a list"
    raise PastTaskError(expected="a list of past tasks", got=kind_of(past), fix=fix)


def signed(values: FloatArray, direction: Direction) -> FloatArray:
    """Return values (n,) with the sign turned so that larger is better, or turned back."""
    return values if direction == "maximize" else -values


def from_trials(name: str, trials: Sequence[FrozenTrial], direction: Direction) -> PastTask | None:
    """Return the completed trials with one finite value as a past task; None without any.

    Trials that keep all constraints come first. A trial that violates one counts at most as the
    worst of these, so that similar architectures are avoided. If no trial keeps them, the values
    are the violations.

    Args:
        name: Name of the past task.
        trials: The trials.
        direction: Which way is better.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    done = [t for t in trials if _has_result(t)]
    kept = feasible(trials)
    # NOTE: trials that could not be trained count as the worst of the others.
    untrainable = [
        t for t in trials if t.state.is_finished() and attributes.INFEASIBLE in t.user_attrs
    ]
    violating = [
        t
        for t in trials
        if (_has_result(t) or t.state == TrialState.PRUNED)
        and attributes.violation(t)
        and attributes.INFEASIBLE not in t.user_attrs
    ]
    if not done:
        return None
    if kept:
        values = [sign * t.values[0] for t in kept]
        worst = min(values)
        values += [min(sign * t.values[0], worst) if _has_result(t) else worst for t in violating]
    else:
        # NOTE: before any trial keeps the constraints, less of a violation is what is searched.
        violations = [attributes.violation(t) for t in violating]
        most = max((v for v in violations if math.isfinite(v)), default=1.0)
        values = [-min(v, most) for v in violations]
        worst = -most
    values += [worst] * len(untrainable)
    counted = [*kept, *violating, *untrainable]
    return PastTask(name, [t.params for t in counted], [sign * v for v in values], direction)


def feasible(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the completed trials with one finite value that keep all their constraints."""
    return [t for t in trials if _has_result(t) and not attributes.violation(t)]


def _has_result(trial: FrozenTrial) -> bool:
    """Return whether a trial has completed with one finite value, as no diverged training has."""
    values = trial.values if trial.state == TrialState.COMPLETE else None
    return values is not None and len(values) == 1 and math.isfinite(values[0])


def as_observations(given: Given | None, direction: Direction) -> PastTask | None:
    """Accept a target's observations in any of their forms; None if there are none.

    Args:
        given: A PastTask, a study, trials, or (params, values).
        direction: Which way is better, where `given` does not say so itself.

    Raises:
        PastTaskError: `given` has another form, or (params, values) do not make a PastTask.
        StudyError: The study has several objectives.
    """
    if given is None or isinstance(given, PastTask):
        return given
    if isinstance(given, optuna.Study):
        trials = given.get_trials(deepcopy=False)
        return from_trials(given.study_name, trials, _direction(given))
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise PastTaskError(
            expected="a study, a list of its trials, a PastTask or a tuple (params, values)",
            got=kind_of(given),
            fix="pass the study itself, loaded by optuna.load_study where it is stored",
        )
    # An empty list has no trials and is none of the other forms, so it counts as no observations.
    trials = [t for t in given if isinstance(t, FrozenTrial)]
    if len(trials) == len(given):
        return from_trials("target", trials, direction)
    if isinstance(given, tuple) and len(given) == 2:
        params, values = cast(tuple[Sequence[Mapping[str, Any]], Sequence[float]], given)
        if not len(params) and not len(values):
            return None
        return PastTask("target", params, values, direction)
    raise PastTaskError(
        expected="a study, a list of its trials, a PastTask or a tuple (params, values)",
        got=f"a {type(given).__name__} of {len(given)} items that are not all trials",
        fix="pass parameters and values as a tuple of two lists",
    )


def trials_of(given: Given | None) -> Sequence[FrozenTrial]:
    """Return the trials of a target's observations, or none where these are no trials."""
    if isinstance(given, optuna.Study):
        return given.get_trials(deepcopy=False)
    if given is None or isinstance(given, PastTask):
        return ()
    trials = [one for one in given if isinstance(one, FrozenTrial)]
    return trials if len(trials) == len(given) else ()


def _direction(study: optuna.Study) -> Direction:
    """Return the direction of a study; refuse one with several objectives."""
    if len(study.directions) > 1:
        raise StudyError(
            expected="a study with one objective",
            got=f"{len(study.directions)} objectives in study {study.study_name!r}",
            fix="pass (params, values) of the objective that is meant",
        )
    return "maximize" if study.direction == StudyDirection.MAXIMIZE else "minimize"
