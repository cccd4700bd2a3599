"""What a study's trials mean in a search space."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas.errors import SpaceError
from surrogate_nas.past.past_task import Direction, PastTask, feasible, from_trials
from surrogate_nas.screening.feasibility import constraint_values
from surrogate_nas.space import SearchSpace, params_key
from surrogate_nas.storage.repeats import planned
from surrogate_nas.surrogate.curves import UnfinishedTrials, unfinished_trials


@final
@dataclass(frozen=True)
class TargetTrials:
    """What a study with one objective knows of its own task.

    Args:
        observed: Results so far; None without any. The feasible ones come first.
        direction: Which way is better.
        pending: Parameters of architectures in training.
        meta_features: Numbers that describe the task; None where they are unknown.
        unfinished: Architectures whose training was pruned or has reported something.
        n_feasible: Number of results that keep all constraints; None for all.
        constraints: Values so far of each constraint that was violated.
    """

    observed: PastTask | None
    direction: Direction
    pending: Sequence[Mapping[str, Any]]
    meta_features: Mapping[str, float] | None = None
    unfinished: Sequence[UnfinishedTrials] = ()
    n_feasible: int | None = None
    constraints: tuple[PastTask, ...] = ()

    @property
    def parents(self) -> PastTask | None:
        """The results that keep all constraints, whose neighbours are worth a look."""
        if self.observed is None or self.n_feasible is None:
            return self.observed
        n, all_ = self.n_feasible, self.observed
        if not n:
            return None
        return PastTask(all_.name, all_.params[:n], all_.values[:n], all_.direction)

    @property
    def n_observed(self) -> int:
        """Number of results so far; a value that a learning curve leads to counts as one."""
        n = 0 if self.observed is None else len(self.observed)
        return n + sum(len(group.params) for group in self.unfinished)


@final
class KnownTrials:
    """A study's trials, sorted by what they mean in a space."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        """Canonical keys of all trials: finished, running and waiting."""
        self.pending: dict[int, Mapping[str, Any]] = {}
        """Parameters of the architectures in training, by number of their trials."""
        self.replayable: list[FrozenTrial] = []
        """Trials that have all their parameters."""
        self.replayable_keys: list[str] = []
        """Their canonical keys, in the same order."""

    def target_trials(
        self, direction: StudyDirection, meta_features: Mapping[str, float] | None
    ) -> TargetTrials:
        """Return the results so far and the architectures in training."""
        kind: Direction = "maximize" if direction == StudyDirection.MAXIMIZE else "minimize"
        curves = unfinished_trials(self.replayable, kind)
        known = {number for group in curves for number in group.numbers}
        # A running trial whose curve leads to a value is not pending as well.
        pending = [params for number, params in self.pending.items() if number not in known]
        observed = from_trials("target", self.replayable, kind)
        n = len(feasible(self.replayable))
        constraints = constraint_values(self.replayable)
        return TargetTrials(observed, kind, pending, meta_features, curves, n, constraints)


@final
@dataclass(frozen=True)
class _Read:
    """A trial as it was read last.

    Args:
        trial: The trial.
        key: Its canonical key; None if it is no architecture of the space.
        is_replayable: Whether it has all its parameters.
    """

    trial: FrozenTrial
    key: str | None
    is_replayable: bool


@final
class TrialReader:
    """Reads a study's trials as architectures of a space; each finished one is read once.

    Args:
        space: The space.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._keys: dict[Hashable, str | None] = {}
        self._finished: dict[int, _Read] = {}

    def __call__(self, trials: Sequence[FrozenTrial]) -> KnownTrials:
        """Sort trials into those of this space, with their keys, and others.

        Args:
            trials: Trials of a study, in the order of their numbers.
        """
        known = KnownTrials()
        finished: dict[int, _Read] = {}
        for trial in trials:
            # NOTE: a finished trial never changes, and storages hand out the same object again.
            # Reading each one again would cost more than all the rest of a suggestion.
            read = self._finished.get(id(trial))
            if read is None or read.trial is not trial:
                read = self._read(trial)
            if trial.state.is_finished():
                finished[id(trial)] = read
            if read.key is None:
                continue
            known.keys.add(read.key)
            if trial.state == TrialState.RUNNING:
                known.pending[trial.number] = planned(trial)
            if read.is_replayable:
                known.replayable.append(trial)
                known.replayable_keys.append(read.key)
        # Replaced as a whole, so trials that are no longer handed out are forgotten.
        self._finished = finished
        return known

    def _read(self, trial: FrozenTrial) -> _Read:
        """Return a trial with its canonical key in this space."""
        key = self._key(planned(trial))
        if key is None or trial.state == TrialState.WAITING:
            return _Read(trial, key, False)
        return _Read(trial, key, self._key(trial.params) is not None)

    def _key(self, params: Mapping[str, Any]) -> str | None:
        """Return the canonical key of parameters, or None if they are none of this space."""
        at = params_key(params)
        if at not in self._keys:
            try:
                self._keys[at] = self._space.canonical(self._space.from_params(params))
            except SpaceError:
                self._keys[at] = None
        return self._keys[at]
