"""Past tasks and a target task's observations, as users hand them in."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast, final

import numpy as np
import numpy.typing as npt
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas.errors import PastTaskError, StudyError

FloatArray = npt.NDArray[np.float64]
Direction = Literal["minimize", "maximize"]
Given: TypeAlias = (
    "PastTask | optuna.Study | Sequence[FrozenTrial] | "
    "tuple[Sequence[Mapping[str, Any]], Sequence[float]]"
)


@final
@dataclass(frozen=True, eq=False)
class PastTask:
    """Architectures of one finished task and what they reached there.

    Args:
        name: Who it is in reports and warnings.
        params: Parameters of each architecture, n dicts as in ``trial.params``.
        values: What each reached, n finite numbers in the task's own units.
        direction: Which way is better.
        meta_features: Numbers that describe the task, or None if unknown.
        notes: What was mapped, filled in or dropped to fit it to a search space, in plain words.

    Raises:
        PastTaskError: Counts differ, nothing is there, or a value is not a finite number.
    """

    name: str
    params: Sequence[Mapping[str, Any]]
    values: Sequence[float]
    direction: Direction = "maximize"
    meta_features: Mapping[str, float] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        fix = f"check the results of past task {self.name!r}"
        if self.direction not in ("minimize", "maximize"):
            raise PastTaskError(
                expected="direction 'minimize' or 'maximize'", got=repr(self.direction), fix=fix
            )
        if len(self.params) != len(self.values) or not len(self.values):
            raise PastTaskError(
                expected="as many parameter sets as values, at least one",
                got=f"{len(self.params)} parameter sets and {len(self.values)} values",
                fix=fix,
            )
        for index, value in enumerate(self.values):
            number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
            if not number or not math.isfinite(value):
                raise PastTaskError(
                    expected="finite numbers as values",
                    got=f"{value!r} at position {index}",
                    fix=f"leave failed trainings out of past task {self.name!r}",
                )

    def __len__(self) -> int:
        return len(self.values)

    @property
    def gains(self) -> FloatArray:
        """Values with the sign turned so that larger is better, (n,)."""
        return signed(np.asarray(self.values, dtype=float), self.direction)

    def informative(self) -> bool:
        """Whether the values rank anything: at least two of them differ."""
        return len(set(self.values)) > 1


def signed(values: FloatArray, direction: Direction) -> FloatArray:
    """Turn values so that larger is better, or back."""
    return values if direction == "maximize" else -values


def from_trials(name: str, trials: Sequence[FrozenTrial], direction: Direction) -> PastTask | None:
    """Collect the completed trials that have one finite value; None if there are none."""
    done = [t for t in trials if t.state == TrialState.COMPLETE and t.values is not None]
    done = [t for t in done if len(t.values) == 1 and math.isfinite(t.values[0])]
    if not done:
        return None
    return PastTask(name, [t.params for t in done], [t.values[0] for t in done], direction)


def as_observations(given: Given | None, direction: Direction) -> PastTask | None:
    """Accept a target's observations in any of their forms; None if there are none.

    Args:
        given: A PastTask, a study, trials, or (params, values).
        direction: Which way is better, where `given` does not say so itself.

    Raises:
        PastTaskError: It is none of these, or (params, values) do not make a PastTask.
        StudyError: The study has several objectives.
    """
    if given is None or isinstance(given, PastTask):
        return given
    if isinstance(given, optuna.Study):
        trials = given.get_trials(deepcopy=False)
        return from_trials(given.study_name, trials, _direction(given))
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


def _direction(study: optuna.Study) -> Direction:
    if len(study.directions) > 1:
        raise StudyError(
            expected="a study with one objective",
            got=f"{len(study.directions)} objectives in study {study.study_name!r}",
            fix="pass (params, values) of the objective that is meant",
        )
    return "maximize" if study.direction == StudyDirection.MAXIMIZE else "minimize"
