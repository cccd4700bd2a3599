"""Storages whose running trials hold locks, from their creation until they have finished.

A trial has its lock from the moment in which it is created or taken from the queue. Whenever its
process dies, the next process that opens the study finds the trial (see
:mod:`surrogate_nas.storage.recovery`).
"""

from __future__ import annotations

import contextlib
import logging
import uuid
import weakref
from collections.abc import Callable, Container, Sequence
from typing import final

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from surrogate_nas.attributes import LOCK, QUEUE_LOCK
from surrogate_nas.storage.optuna_private import CachedDatabase, backend_of
from surrogate_nas.storage.places import lock_folder
from surrogate_nas.storage.process_locks import RunningLock
from surrogate_nas.storage.repeats import origin

_logger = logging.getLogger(__name__)

_held: weakref.WeakKeyDictionary[BaseStorage, dict[int, RunningLock]] = weakref.WeakKeyDictionary()
"""Locks that this process holds: storage -> identity of the trial -> lock."""


class _Locking(BaseStorage):
    """What both storages add to Optuna's. Mixed in before one of Optuna's classes."""

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a trial. A running one has its lock at once."""
        create = super().create_new_trial  # type: ignore[safe-super]
        return _create(self, template_trial, lambda template: create(study_id, template))

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Set a trial's state. A trial has its lock before it runs, and until its end."""
        write = super().set_trial_state_values  # type: ignore[safe-super]
        return _set_state(self, trial_id, state, lambda: write(trial_id, state, values))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return trials. Waiting ones are in the order in which they are to run."""
        found = super().get_all_trials(study_id, deepcopy, states)  # type: ignore[safe-super]
        return _queued(found, states)


@final
class LockedJournal(_Locking, JournalStorage):
    """Optuna's journal storage whose running trials hold locks."""


@final
class LockedDatabase(_Locking, CachedDatabase):
    """Optuna's cached database whose running trials hold locks."""


def with_locks(storage: BaseStorage) -> BaseStorage:
    """Return a storage whose running trials hold locks, or the same storage without them."""
    backend = backend_of(storage)
    if type(storage) is CachedDatabase and isinstance(backend, RDBStorage):
        return LockedDatabase(backend)
    return storage


def holds_lock(storage: BaseStorage, trial_id: int) -> bool:
    """Return whether this process holds a lock for a trial through its storage."""
    return trial_id in _held.get(storage, {})


def _queued(trials: list[FrozenTrial], states: Container[TrialState] | None) -> list[FrozenTrial]:
    """Return trials, with the queue in order if only the queue was asked for."""
    # NOTE: Optuna takes trials from the queue in the order of this list. A repeat has the place
    # of the trial that it repeats, before trials that were enqueued later.
    return sorted(trials, key=origin) if states == (TrialState.WAITING,) else trials


def _create(
    storage: BaseStorage, template: FrozenTrial | None, create: Callable[[FrozenTrial | None], int]
) -> int:
    """Create a trial from a template, or a running trial with a lock if there is no template."""
    lock = _new_lock(storage) if template is None else None
    if lock is None:
        return create(template)
    # NOTE: the lock is part of the trial's creation. Written afterwards, it would be missing if
    # the process died between the two.
    running = create_trial(state=TrialState.RUNNING, system_attrs={LOCK: str(lock.path)})
    with contextlib.ExitStack() as undo:
        undo.callback(lock.release)
        trial_id = create(running)
        undo.pop_all()
    _held.setdefault(storage, {})[trial_id] = lock
    return trial_id


def _set_state(
    storage: BaseStorage, trial_id: int, state: TrialState, write: Callable[[], bool]
) -> bool:
    """Write a trial's state, with a lock while it runs."""
    if state is not TrialState.RUNNING:
        is_set = write()
        if (held := _held.get(storage, {}).pop(trial_id, None)) is not None:
            held.release()
        return is_set
    lock = _new_lock(storage)
    if lock is None:
        return write()
    with contextlib.ExitStack() as undo:
        undo.callback(lock.release)
        # NOTE: a name of its own. Another process may want the same trial from the queue at the
        # same time, and must not overwrite the lock of the one that gets it.
        storage.set_trial_system_attr(
            trial_id, f"{QUEUE_LOCK}{uuid.uuid4().hex[:8]}", str(lock.path)
        )
        is_taken = write()
        if is_taken:
            _held.setdefault(storage, {})[trial_id] = lock
            undo.pop_all()
    return is_taken


def _new_lock(storage: BaseStorage) -> RunningLock | None:
    """Return a new lock, or None where files cannot be kept or locked."""
    folder = lock_folder(storage)
    if folder is None:
        return None
    try:
        return RunningLock(folder)
    except OSError as error:
        _logger.debug("A trial runs without a lock in %s: %s", folder, error)
        return None
