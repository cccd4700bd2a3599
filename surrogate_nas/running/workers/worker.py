"""The work of one worker, wherever it runs: trials of a study, until the study has enough.

A worker is given a :class:`WorkerSpec` and nothing else, in a process of its own, and returns a
:class:`WorkerExit`. A :class:`~surrogate_nas.running.workers.placement.Placement` brings it there.
"""

from __future__ import annotations

import contextlib
import logging
import random
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, Literal, TypeAlias, final

import numpy as np
import optuna
import torch
from optuna.storages import BaseStorage
from optuna.trial import TrialState

from surrogate_nas import attributes
from surrogate_nas.attributes import INTERRUPTED
from surrogate_nas.running.attached import with_attached
from surrogate_nas.running.failures import is_bug, note_error
from surrogate_nas.running.observers import RemoteTeller
from surrogate_nas.running.processes.messages import portable, unpacked
from surrogate_nas.running.resuming import interrupt
from surrogate_nas.running.runnable import as_objective
from surrogate_nas.running.workers.address import Address
from surrogate_nas.running.workers.budget import BudgetedStudy, BudgetMet, begin_no_more
from surrogate_nas.running.workers.coordination import Coordination, coordinate
from surrogate_nas.storage.optuna_private import id_of
from surrogate_nas.training.interruption import Terminated, is_in_storage, send_again

How: TypeAlias = Literal["done", "stopped", "failed", "died"]

_logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class WorkerSpec:
    """Everything that a worker needs to know. It can be pickled.

    Args:
        name: Unique name of the worker. A worker that replaces another has its own name.
        run: Identity of the call of ``run_workers`` that it belongs to.
        address: Address of the study's storage. It may hold a password: give it to the worker
            through a pipe or the like, not on a command line.
        study_name: Name of the study.
        n_trials: Number of trials that the study is to have in all.
        packed: Objective, sampler and pruner, by cloudpickle. Contents of files or storages must
            never get here.
        device: Device of an ``Objective``, by its name in the worker's process; None leaves it to
            the objective.
        seed: Seed of the worker's global random states, together with its index.
        index: Index of the worker, from 0. A worker that replaces another has its index.
        dead_after: Seconds without a sign of life after which a trial on another machine is taken
            for dead.
    """

    name: str
    run: str
    address: Address
    study_name: str
    n_trials: int
    packed: bytes = field(repr=False)
    device: str | None = None
    seed: int = 0
    index: int = 0
    dead_after: float = 120.0


@final
@dataclass(frozen=True)
class WorkerExit:
    """How a worker ended.

    Args:
        name: Name of the worker.
        how: "done" if the study has its trials, "stopped" if the worker was told to end, "died" if
            its process is gone, "failed" if other workers will meet its error.
        words: Details, such as an exit code.
        error: Error that was raised.
        said: Last lines that the worker wrote to its error stream, where they are known.
    """

    name: str
    how: How
    words: str = ""
    error: Exception | None = None
    said: str = ""


Description: TypeAlias = WorkerSpec
"""Earlier name of :class:`WorkerSpec`."""
End: TypeAlias = WorkerExit
"""Earlier name of :class:`WorkerExit`."""


def work(spec: WorkerSpec) -> WorkerExit:
    """Run trials of the study until it has as many as it is to have.

    SIGTERM, Ctrl-C and KeyboardInterrupt end it: the trial in training fails, and its parameters
    are enqueued again. If it leaves a trial running all the same, ``run_workers`` gives the trial
    to others, by :func:`~surrogate_nas.running.workers.budget.fail_trials_of`.
    """
    stop = _Stop()
    try:
        with stop.installed():
            _work(spec, stop)
    except BudgetMet:
        return WorkerExit(spec.name, "done")
    except KeyboardInterrupt:
        return WorkerExit(spec.name, "stopped")
    except Exception as error:  # whatever ends this process is told to the one that began it
        return WorkerExit(spec.name, "failed", type(error).__name__, portable(error))
    return WorkerExit(spec.name, "done")


def _work(spec: WorkerSpec, stop: _Stop) -> None:
    """Run trials of the study until none is needed, as :func:`work` does, but raise."""
    _seed(spec)
    RemoteTeller.uses_storage = True
    given, sampler, pruner = unpacked(spec.packed)
    objective = as_objective(given)
    if spec.device is not None:
        objective = objective.on_device(spec.device)
    # All workers got copies of one sampler, and would draw the same numbers.
    sampler.reseed_rng()
    storage = spec.address.open()
    study_id = storage.get_study_id_from_name(spec.study_name)
    with coordinate(spec.address, storage, study_id, spec.name, spec.dead_after) as coordination:
        study = BudgetedStudy(
            spec.study_name,
            storage,
            sampler,
            pruner,
            n_trials=spec.n_trials,
            name=spec.name,
            run=spec.run,
            coordination=coordination,
            is_stopped=lambda: stop.is_wanted,
        )
        study.sampler = with_attached(study.sampler, study)
        guarded = _Guarded(objective, stop, coordination)
        while True:
            try:
                # Without a number of trials it ends by BudgetMet, which `ask` raises.
                study.optimize(guarded)
                break
            except Exception:  # Optuna raises several kinds for a trial that was given away
                if guarded.trial_id is None or not _was_taken(storage, guarded.trial_id):
                    raise
                _logger.warning(
                    "A trial was taken from this silent worker; it goes on with others."
                )
        begin_no_more(study, spec.run)  # the objective has called study.stop


def _was_taken(storage: BaseStorage, trial_id: int) -> bool:
    """Return whether the trial that this worker has just trained was given to another one.

    That happens if the worker was silent for long. The result of the other worker counts.
    """
    trial = storage.get_trial(trial_id)
    return (
        trial.state is TrialState.FAIL
        and trial.user_attrs.get(attributes.STOP_REASON) == INTERRUPTED
    )


def _seed(spec: WorkerSpec) -> None:
    """Seed the worker's global random states. PyTorch's would be the same in every process."""
    entropy = np.random.SeedSequence([spec.seed, spec.index])
    for_numpy, for_torch, for_python = (int(n) for n in entropy.generate_state(3))
    np.random.seed(for_numpy)  # noqa: NPY002  # for objectives that use it
    torch.manual_seed(for_torch)
    random.seed(for_python)


@final
class _Stop:
    """Ends a training at once on a signal, and a worker between two trials.

    A worker that is writing to the storage finishes that first.
    """

    def __init__(self) -> None:
        self.is_wanted = False
        self._may_raise = False

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Listen to SIGTERM and Ctrl-C, if Python lets this thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, self._on_signal) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        self.is_wanted = True
        if not self._may_raise:
            return
        if is_in_storage(frame):
            send_again(number)
            return
        # Once only: a second signal must not interrupt what is done about the first.
        self._may_raise = False
        raise Terminated(signal.Signals(number).name)

    @contextlib.contextmanager
    def may_raise(self) -> Iterator[None]:
        """Let a signal end the training in this block.

        Raises:
            Terminated: The training is not to begin, or has been ended.
        """
        if self.is_wanted:
            raise Terminated("before the training")
        self._may_raise = True
        try:
            yield
        finally:
            self._may_raise = False


@final
class _Guarded:
    """An objective whose errors fail one trial, as in ``sn.optimize``.

    Args:
        objective: Any function of a trial.
        stop: What ends its trainings.
        coordination: Coordination that is told that its trial is alive.
    """

    def __init__(
        self, objective: Callable[[Any], Any], stop: _Stop, coordination: Coordination
    ) -> None:
        self._objective = objective
        self._stop = stop
        self._coordination = coordination
        self.trial_id: int | None = None
        """Of the last trial."""

    def __call__(self, trial: optuna.Trial) -> Any:
        """Evaluate a trial; return NaN, by which Optuna fails it, if it has no value.

        Raises:
            Exception: An error that would hit every trial.
        """
        self.trial_id = id_of(trial)
        try:
            with self._coordination.beating(id_of(trial)), self._stop.may_raise():
                return self._objective(trial)
        except KeyboardInterrupt:
            if trial.user_attrs.get(attributes.STOP_REASON) != INTERRUPTED:
                interrupt(trial)
            raise
        except optuna.exceptions.OptunaError:
            raise  # it was pruned, or the study itself is in trouble
        except Exception as error:  # the objective may be a user's
            note_error(trial, error)
            if is_bug(trial):
                raise
            _logger.warning("Trial %d failed by an error.", trial.number, exc_info=True)
            return float("nan")
