"""BudgetedStudy: a study in which workers never begin more trials than wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import final

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas import attributes
from surrogate_nas.attributes import counts
from surrogate_nas.running.workers.coordination import Coordination
from surrogate_nas.storage.optuna_private import (
    id_of,
    set_study_system_attr,
    storage_of,
    study_system_attrs,
)
from surrogate_nas.storage.process_locks import clear_locks
from surrogate_nas.storage.recovery import fail_dead

_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 2.0


class BudgetMet(Exception):
    """The study has the wanted number of trials."""


@final
class BudgetedStudy(optuna.Study):
    """A study that gives out trials only within a budget.

    A trial is claimed in the storage before it is trained, by one process at a time. So finished
    and running trials together never exceed the budget. When they reach it, ``ask`` waits until
    the running trials have finished, or until one of them is interrupted and its place is free
    again. Trials that belong to no worker count when they have finished.

    Args:
        study_name: Name of the study.
        storage: Storage of the study.
        sampler: Sampler of this worker.
        pruner: Pruner of this worker.
        n_trials: Number of trials that the study is to have in all, without interrupted ones.
        name: Name of this worker.
        run: Identity of the call of ``run_workers`` that this worker belongs to.
        coordination: Coordination with the other workers.
        is_stopped: Function that returns whether this worker is to end.
    """

    def __init__(
        self,
        study_name: str,
        storage: BaseStorage,
        sampler: BaseSampler,
        pruner: BasePruner,
        *,
        n_trials: int,
        name: str,
        run: str,
        coordination: Coordination,
        is_stopped: Callable[[], bool],
    ) -> None:
        super().__init__(study_name, storage, sampler, pruner)
        self._n_trials = n_trials
        self._name, self._run = name, run
        self._coordination = coordination
        self._is_stopped = is_stopped

    def ask(self, fixed_distributions: dict[str, BaseDistribution] | None = None) -> optuna.Trial:
        """Claim a trial; wait until there is one, or until none is needed.

        Raises:
            BudgetMet: The study has its trials.
            KeyboardInterrupt: This worker is to end.
        """
        wait = _FIRST_WAIT_SECONDS
        while True:
            if self._is_stopped():
                raise KeyboardInterrupt
            if study_system_attrs(self).get(attributes.STOPPED_RUN) == self._run:
                raise BudgetMet
            # NOTE: without the lock at first, or workers that wait would keep others away.
            if self._has_room():
                trial = self._claimed(fixed_distributions)
                if trial is not None:
                    return trial
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT_SECONDS)

    def _has_room(self) -> bool:
        """Return whether one more trial may begin now.

        Raises:
            BudgetMet: No further trial is needed, now or later.
        """
        trials = self.get_trials(deepcopy=False)
        dead = {id_of(trial) for trial in self._coordination.dead(_owned(trials))}
        if dead:  # their workers may have finished them between that reading and their own end
            trials = self.get_trials(deepcopy=False)
        n_done = sum(counts(trial) for trial in trials)
        if n_done >= self._n_trials:
            raise BudgetMet
        n_open = sum(id_of(trial) not in dead for trial in _owned(trials))
        return n_done + n_open < self._n_trials

    def _claimed(
        self, fixed_distributions: dict[str, BaseDistribution] | None
    ) -> optuna.Trial | None:
        """Ask for a trial while no other worker does; None if there is no room any more."""
        with self._coordination.exclusive() as is_held:
            running = _owned(self.get_trials(deepcopy=False))
            for trial in self._coordination.dead(running):
                _requeue(self, trial)
            if not self._has_room():
                return None
            # NOTE: marked before it runs: there is no moment at which nobody would know whose it
            # is.
            marked = self._next_waiting()
            self._mark(marked)
            asked = super().ask(fixed_distributions)
            if id_of(asked) != marked:  # somebody who is no worker has taken that one
                self._mark(id_of(asked))
            if is_held():
                return asked
        # NOTE: the lock was lost meanwhile, so others may have claimed. The trial goes back.
        storage_of(self).set_trial_state_values(id_of(asked), TrialState.WAITING)
        return None

    def _next_waiting(self) -> int:
        """Return the identity of the trial that comes next; create it if the queue is empty."""
        waiting = self.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        if waiting:
            return id_of(waiting[0])
        new = optuna.trial.create_trial(state=TrialState.WAITING)
        return storage_of(self).create_new_trial(id_of(self), new)

    def _mark(self, trial_id: int) -> None:
        """Write down that a trial is this worker's, and that the worker is alive."""
        storage_of(self).set_trial_system_attr(trial_id, attributes.WORKER, self._name)
        self._coordination.note(trial_id)


def _owned(trials: Collection[FrozenTrial]) -> list[FrozenTrial]:
    """Return the running trials that belong to workers."""
    running = [t for t in trials if t.state is TrialState.RUNNING]
    return [t for t in running if attributes.WORKER in t.system_attrs]


def fail_trials_of(
    study: optuna.Study, coordination: Coordination, names: Collection[str]
) -> list[int]:
    """Fail the trials that ended workers have left running, and enqueue them again.

    Args:
        study: The study.
        coordination: Coordination with its workers.
        names: Names of the workers that have ended.

    Returns:
        The numbers of these trials.
    """
    with coordination.exclusive():
        left = _owned(study.get_trials(deepcopy=False))
        left = [trial for trial in left if trial.system_attrs[attributes.WORKER] in names]
        for trial in left:
            _requeue(study, trial)
    return [trial.number for trial in left]


def _requeue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Fail a trial whose worker has ended, and let another worker evaluate it again."""
    fail_dead(storage_of(study), id_of(study), trial)
    clear_locks(trial)


def begin_no_more(study: optuna.Study, run: str) -> None:
    """Let the workers of a run end after the trials that they have."""
    set_study_system_attr(study, attributes.STOPPED_RUN, run)
