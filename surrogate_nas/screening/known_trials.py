"""A space with what belongs to it, and what a study's trials mean in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas.errors import SpaceError
from surrogate_nas.past.past_task import Direction, from_trials
from surrogate_nas.screening.pool import Limits
from surrogate_nas.screening.ranking import TargetTrials
from surrogate_nas.screening.whole_space import WholeSpace
from surrogate_nas.space import SearchSpace
from surrogate_nas.storage.repeats import planned
from surrogate_nas.surrogate.curves import stages
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate


@final
class Known:
    """What a study's trials mean in a space."""

    def __init__(self) -> None:
        self.keys: set[str] = set()
        """Canonical keys of all trials: finished, running and waiting."""
        self.pending: dict[int, Mapping[str, Any]] = {}
        """Parameters of the architectures in training, by number of their trials."""
        self.replayable: list[FrozenTrial] = []
        """Trials that have all their parameters."""

    def target_trials(
        self, direction: StudyDirection, meta_features: Mapping[str, float] | None
    ) -> TargetTrials:
        """Return the results so far and the architectures in training."""
        kind: Direction = "maximize" if direction == StudyDirection.MAXIMIZE else "minimize"
        curves = stages(self.replayable, kind)
        known = {number for stage in curves for number in stage.numbers}
        pending = [params for number, params in self.pending.items() if number not in known]
        observed = from_trials("target", self.replayable, kind)
        return TargetTrials(observed, kind, pending, meta_features, curves)


@final
class Screens:
    """A space with the surrogate and the limits that belong to it."""

    def __init__(
        self,
        space: SearchSpace,
        surrogate: MetaSurrogate | None,
        limits: Mapping[str, float] | None,
    ) -> None:
        self.space = space
        self.surrogate = MetaSurrogate.fit(space) if surrogate is None else surrogate.bind(space)
        self.limits = Limits(space, limits)
        self._remembered: dict[tuple[Any, ...], str | None] = {}
        self._finished: dict[int, tuple[FrozenTrial, str | None, bool]] = {}
        self._whole: WholeSpace | None = None
        self._most = 0

    def whole(self, most: int) -> WholeSpace | None:
        """All architectures, where there are no more combinations of parameters than that."""
        if most != self._most:
            self._whole, self._most = WholeSpace.of(self.space, self.limits, most), most
        return self._whole

    def known(self, trials: Sequence[FrozenTrial]) -> Known:
        """Sort trials into those of this space, with their keys, and others."""
        known = Known()
        finished: dict[int, tuple[FrozenTrial, str | None, bool]] = {}
        for trial in trials:
            # A finished trial never changes, and storages hand out the same object again.
            found = self._finished.get(id(trial))
            if found is None or found[0] is not trial:
                found = self._read(trial)
            if trial.state.is_finished():
                finished[id(trial)] = found
            _, key, is_replayable = found
            if key is None:
                continue
            known.keys.add(key)
            if trial.state == TrialState.RUNNING:
                known.pending[trial.number] = planned(trial)
            if is_replayable:
                known.replayable.append(trial)
        self._finished = finished
        return known

    def _read(self, trial: FrozenTrial) -> tuple[FrozenTrial, str | None, bool]:
        """A trial, its canonical key in this space, and whether it has all its parameters."""
        key = self._key(planned(trial))
        if key is None or trial.state == TrialState.WAITING:
            return trial, key, False
        return trial, key, self._key(trial.params) is not None

    def _key(self, params: Mapping[str, Any]) -> str | None:
        """The canonical key of parameters, or None if they are none of this space."""
        at = tuple(sorted(params.items()))
        if at not in self._remembered:
            try:
                self._remembered[at] = self.space.canonical(self.space.from_params(params))
            except SpaceError:
                self._remembered[at] = None
        return self._remembered[at]
