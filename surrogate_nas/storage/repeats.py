"""Trials that repeat interrupted ones, and a study as it would be if none had been interrupted.

An interrupted trial fails, and a new trial, its *repeat*, evaluates the same architecture. An
uninterrupted study would have one trial in place of the two. Whatever draws random numbers by a
trial's number, or learns from other trials, therefore uses the functions of this module:

- a repeat has the number of the first trial that it repeats, and the trials after it have the
  numbers that they would have had without it (:func:`effective_number`);
- trials that have a repeat are left out (:func:`without_interrupted`).
"""

from __future__ import annotations

import copy
from bisect import bisect_left
from collections.abc import Callable, Container, Sequence
from typing import Any, cast, final

import optuna
from optuna.storages import BaseStorage
from optuna.trial import BaseTrial, FrozenTrial, TrialState

from surrogate_nas.attributes import CONTINUES_TRIAL, FIXED_PARAMS, PLANNED_PARAMS
from surrogate_nas.storage.optuna_private import id_of, latest_trial, storage_of, stored_trials

_COUNTED = (TrialState.COMPLETE, TrialState.PRUNED)


def origin(trial: BaseTrial | FrozenTrial) -> int:
    """Return the number of the first trial of the same evaluation, which may be the trial's."""
    number = trial.user_attrs.get(CONTINUES_TRIAL)
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < trial.number:
        return number
    return trial.number


def is_repeat(trial: BaseTrial | FrozenTrial) -> bool:
    """Return whether a trial repeats an interrupted trial."""
    return origin(trial) != trial.number


def effective_number(trial: BaseTrial | FrozenTrial, trials: Sequence[FrozenTrial]) -> int:
    """Return the number that a trial would have if no trial had been interrupted.

    The number never changes, because the repeats before a trial exist when it is created.

    Args:
        trial: A trial of the study.
        trials: All trials of the study.
    """
    return _numbering(trials)(trial)


def without_interrupted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that no other trial repeats, in the order of their effective numbers."""
    last: dict[int, int] = {}
    for trial in trials:
        if is_repeat(trial):
            first = origin(trial)
            last[first] = max(last.get(first, 0), trial.number)
    if not last:
        return list(trials)
    number = _numbering(trials)
    kept = [t for t in trials if t.state in _COUNTED or t.number >= last.get(origin(t), 0)]
    return sorted(kept, key=number)


def has_repeat(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> bool:
    """Return whether a later trial repeats a trial."""
    first = origin(trial)
    return any(t.number > trial.number and origin(t) == first for t in trials)


def is_chosen(trial: FrozenTrial) -> bool:
    """Return whether a trial repeats one whose candidate a screening sampler had chosen."""
    return is_repeat(trial) and PLANNED_PARAMS in trial.system_attrs


def planned(trial: FrozenTrial) -> dict[str, Any]:
    """Return a trial's parameters, and the planned ones that its objective has not asked for."""
    attrs = trial.system_attrs
    plan = named(attrs.get(PLANNED_PARAMS))
    found = {**named(attrs.get(FIXED_PARAMS)), **plan, **trial.params}
    # NOTE: of choices that Python calls equal, as True and 1, Optuna stores the first one. The
    # plan knows which one was evaluated.
    for name, value in plan.items():
        if isinstance(value, bool | int | float) and found[name] == value:
            found[name] = value
    return found


def named(found: Any) -> dict[str, Any]:
    """Return an attribute of values by name; empty if there is none, or something else."""
    # NOTE: other programs may store anything under the name of an attribute.
    return found if isinstance(found, dict) else {}


def whole_study(
    study: optuna.Study, trial: FrozenTrial, *, is_new: bool = False
) -> tuple[optuna.Study, FrozenTrial]:
    """Return a study and one of its trials as if no trial had been interrupted.

    Optuna's samplers and pruners read trials and their numbers from this study. Their writes go
    to the real study.

    Args:
        study: The study.
        trial: The trial.
        is_new: Whether to leave out the parameters that have been drawn for the trial.
    """
    trials = stored_trials(study)
    if not any(map(is_repeat, trials)):
        return study, trial
    seen = optuna.Study(
        study.study_name,
        cast(BaseStorage, _WholeStorage(storage_of(study), id_of(trial) if is_new else None)),
        study.sampler,
        study.pruner,
    )
    whole = _renumbered(trial, effective_number(trial, trials))
    return seen, _undrawn(whole) if is_new else whole


def should_prune(trial: BaseTrial) -> bool:
    """Return the decision of the study's pruner as if no trial had been interrupted."""
    # NOTE: reports of an interrupted trial would count twice, and Hyperband chooses the bracket of
    # a trial by its number.
    if not isinstance(trial, optuna.Trial) or len(trial.study.directions) > 1:
        return trial.should_prune()
    study, whole = whole_study(trial.study, latest_trial(trial))
    return study.pruner.prune(study, whole)


@final
class _WholeStorage:
    """A storage whose lists of trials leave out interrupted ones. All other calls go through.

    Args:
        storage: The real storage.
        new_id: Identity of a trial to show without its drawn parameters, or None.
    """

    def __init__(self, storage: BaseStorage, new_id: int | None) -> None:
        self._storage = storage
        self._new_id = new_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials that no other trial repeats, under their effective numbers."""
        trials = self._storage.get_all_trials(study_id, deepcopy=deepcopy)
        number = _numbering(trials)
        kept = [t for t in without_interrupted(trials) if states is None or t.state in states]
        kept = [_undrawn(t) if id_of(t) == self._new_id else t for t in kept]
        return [_renumbered(trial, number(trial)) for trial in kept]


def _numbering(trials: Sequence[FrozenTrial]) -> Callable[[BaseTrial | FrozenTrial], int]:
    """Return a function that gives trials of a study their effective numbers."""
    repeats = sorted(trial.number for trial in trials if is_repeat(trial))

    def number(trial: BaseTrial | FrozenTrial) -> int:
        """Return the effective number of a trial."""
        first = origin(trial)
        # Each earlier repeat has used a number that an uninterrupted study would not have given.
        return first - bisect_left(repeats, first)

    return number


def _undrawn(trial: FrozenTrial) -> FrozenTrial:
    """Return a trial without the parameters that have been drawn for it."""
    twin = copy.copy(trial)
    twin.params, twin.distributions = {}, {}
    # TPE and the Gaussian process sampler keep what they have drawn at once in such attributes.
    attrs = trial.system_attrs
    twin.system_attrs = {k: v for k, v in attrs.items() if ":relative_params" not in k}
    return twin


def _renumbered(trial: FrozenTrial, number: int) -> FrozenTrial:
    """Return a trial under another number, with shared contents."""
    if trial.number == number:
        return trial
    twin = copy.copy(trial)
    twin.number = number
    return twin
