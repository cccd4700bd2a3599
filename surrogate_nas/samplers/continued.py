"""A sampler that draws after a stop what it would have drawn without.

Optuna's samplers keep their random states in memory. A study that is continued in another process
would draw from the beginning again, and an interrupted trial has drawn in vain. Here the states
are kept in the study, and the repeat of an interrupted trial draws once more what it has fixed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any, final

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas.attributes import BASE_STATE, FIXED_PARAMS, INTERRUPTED, STOP_REASON
from surrogate_nas.screening.base_proposals import counters_of
from surrogate_nas.screening.random_states import packed, unpack
from surrogate_nas.space import Distributions
from surrogate_nas.storage.optuna_private import (
    id_of,
    set_study_system_attr,
    shown_by_pruner,
    stored_trials,
    study_system_attrs,
)
from surrogate_nas.storage.repeats import (
    effective_number,
    is_chosen,
    is_repeat,
    named,
    whole_study,
    without_interrupted,
)


@final
class ContinuedSampler(BaseSampler):
    """Optuna's sampler, whose random states outlive its process.

    The states are restored where a process begins or repeats a trial and no other trial runs. Of
    trials that run side by side nobody can say in which order they would have drawn.

    Args:
        base: The sampler; it belongs to this one.
    """

    def __init__(self, base: BaseSampler) -> None:
        self.base = base
        self._initial = packed(base)
        self._is_kept = True
        self._begun: set[int] = set()
        self._make_threaded()

    def _make_threaded(self) -> None:
        self._local = threading.local()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_threaded()

    def reseed_rng(self) -> None:
        """Let the base draw otherwise than in other threads and processes, from now on."""
        self._is_kept = False
        self.base.reseed_rng()

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Restore the base's states, if need be, and forward."""
        self._local.owes = self._local.is_used = False
        if self._is_kept and (id_of(study) not in self._begun or is_repeat(trial)):
            self._begun.add(id_of(study))
            self._restore(study, trial)
        self.base.before_trial(*_seen(study, trial))

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> Distributions:
        """Forward; a repeat draws at once what it has fixed."""
        self._local.is_used = True
        if not self._owes():
            return self.base.infer_relative_search_space(*_seen(study, trial))
        space, self._local.drawn = self._draw_fixed(study, trial)
        return space

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: Distributions
    ) -> dict[str, Any]:
        """Forward; of a repeat, return what it has drawn."""
        drawn: dict[str, Any] | None = getattr(self._local, "drawn", None)
        if drawn is not None:
            self._local.drawn = None
            return drawn
        return self.base.sample_relative(*_seen(study, trial), search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Forward."""
        self._local.is_used = True
        return self.base.sample_independent(*_seen(study, trial), param_name, param_distribution)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """Forward, and keep the base's states in the study if they have changed."""
        if self._owes():
            self._draw_fixed(study, trial)
        self.base.after_trial(study, trial, state, values)
        if self._is_kept and trial.user_attrs.get(STOP_REASON) != INTERRUPTED:
            self._keep(study, trial)

    def _owes(self) -> bool:
        """Whether the trial is a repeat that has not drawn what it has fixed."""
        return bool(getattr(self._local, "owes", False))

    def _draw_fixed(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> tuple[Distributions, dict[str, Any]]:
        """Draw for a repeat what the interrupted trial had drawn, in the same order.

        Returns:
            The relative search space, and the values drawn for it.
        """
        self._local.owes = False
        seen, as_new = _seen(study, trial, is_new=True)
        fixed = named(trial.system_attrs.get(FIXED_PARAMS))
        # NOTE: some samplers refuse trials that they have not begun, as a grid does. They draw
        # nothing either.
        with contextlib.suppress(ValueError):
            space = self.base.infer_relative_search_space(seen, as_new)
            relative = self.base.sample_relative(seen, as_new, space)
            for name, distribution in trial.distributions.items():
                if name in fixed and name not in relative and not distribution.single():
                    self.base.sample_independent(seen, as_new, name, distribution)
            return space, relative
        return {}, {}

    def _restore(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Set the base's states to those after the last trial that was not interrupted."""
        trials = stored_trials(study)
        others = [t for t in without_interrupted(trials) if t.number != trial.number]
        if any(other.state is TrialState.RUNNING for other in others):
            return
        kept = study_system_attrs(study).get(BASE_STATE)
        if not isinstance(kept, dict):
            kept = {"number": -1, "states": self._initial, "counters": {}}
        if kept.get("number") == effective_number(trial, trials):
            return  # the process died after all of this trial was drawn, and kept
        if not unpack(kept.get("states"), self.base):
            return
        # NOTE: what a screening sampler had chosen was not drawn here, and is not drawn again.
        if is_repeat(trial) and not is_chosen(trial):
            _set_counters(study, kept.get("counters"))
            self._local.owes = bool(trial.system_attrs.get(FIXED_PARAMS))

    def _keep(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Write the base's states into the study, unless they are there."""
        kept = study_system_attrs(study).get(BASE_STATE)
        states, counters = packed(self.base), counters_of(study)
        before = kept if isinstance(kept, dict) else {"states": self._initial, "counters": {}}
        # NOTE: proposals for a screening sampler advance the counters, but are not drawn here.
        is_used = bool(getattr(self._local, "is_used", False))
        is_advanced = is_used and counters != before.get("counters")
        if states == before.get("states") and not is_advanced:
            return
        number = effective_number(trial, stored_trials(study))
        found = {"number": number, "states": states, "counters": counters}
        set_study_system_attr(study, BASE_STATE, found)


def _seen(
    study: optuna.Study, trial: FrozenTrial, *, is_new: bool = False
) -> tuple[optuna.Study, FrozenTrial]:
    """Return what the base sees of a study and a trial: no trial has been interrupted.

    Args:
        study: Study, or what a pruner shows of it.
        trial: Trial that is sampled.
        is_new: Whether the base sees the trial without what has been drawn for it.
    """
    seen, whole = whole_study(study, trial, is_new=is_new)
    return (study if seen is study else shown_by_pruner(seen, whole)), whole


def _set_counters(study: optuna.Study, counters: Any) -> None:
    """Set the counters that the base keeps in its study back to what they were."""
    if not isinstance(counters, dict):
        return
    for name, value in counters_of(study).items():
        # NOTE: a counter that did not exist begins at 0 after -1.
        then = counters.get(name, -1 if name.startswith("qmc:") else value)
        if isinstance(then, int) and then != value:
            set_study_system_attr(study, name, then)
