"""Evaluate a trial of a study: suggest an architecture, build its network, train it.

This is the only code that knows trial, space, task and trainer at once. An error of one network
fails its trial, with the reason in the trial's attributes, and never the study.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

import numpy as np
import optuna

from surrogate_nas import attributes
from surrogate_nas.errors import StorageError
from surrogate_nas.results.dashboard.callback import DashboardCallback
from surrogate_nas.results.progress import ProgressBar
from surrogate_nas.running.failures import infeasible, is_bug, note_error
from surrogate_nas.running.observers import (
    CheckpointKeeper,
    Evaluation,
    Observer,
    PageKeeper,
    ProgressTeller,
    RemoteTeller,
    WeightKeeper,
)
from surrogate_nas.running.resuming import begin, interrupt, random_number
from surrogate_nas.running.runnable import (
    Runnable,
    Training,
    check_direction,
    check_training,
    note_settings,
)
from surrogate_nas.running.set_aside import is_set_aside
from surrogate_nas.space import SearchSpace, build_network
from surrogate_nas.storage.repeats import should_prune
from surrogate_nas.task import Task
from surrogate_nas.training.device import find_device
from surrogate_nas.training.interruption import terminable
from surrogate_nas.training.memory import is_out_of_memory
from surrogate_nas.training.trainer import Outcome, StopReason, Trainer, seeded
from surrogate_nas.training.warm_weights import WarmWeights

_logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True, eq=False)
class Objective(Runnable):
    """The function that ``study.optimize`` maximizes or minimizes: the validation metric.

    Every trial gets flat user attributes. Numbers are the quantities that ``space.describe``
    counts (``parameters``, …), ``train_seconds``, ``epochs`` and ``rows_per_second``. Strings
    are ``architecture`` (in plain words) and ``stop_reason``. Any Optuna pruner works: the metric
    is reported after each epoch, from step 0.

    A trial's network and training are seeded by
    ``numpy.random.SeedSequence([trainer.seed, trial.number])``. If trials have been interrupted,
    the number is the one that the trial would have without the interruptions. So the study goes on
    as if nobody had stopped it.

    How a trial ends:

    - Complete, with the metric of the last epoch. A trial whose time limit is up is complete, too,
      after at least one epoch.
    - Pruned, by the pruner, or by a loss that is not finite after at least one epoch.
    - Pruned, with the attribute ``infeasible``, if not even two inputs fit into memory.
      ``SurrogateSampler`` counts it as bad as the worst result so far.
    - Failed, if no epoch ended, or by an error in building or running the network.
    - Failed without any training, if it was enqueued and exceeds a limit of the sampler.

    If the study was begun with other settings of the trainer, a warning in the log
    says which, and the attribute ``trainer_changes`` of each trial records them.

    On KeyboardInterrupt (Ctrl-C, or SIGTERM during training) the trial fails and its parameters
    are enqueued again. The next ``study.optimize`` begins with the same architecture. Optuna
    itself marks the interrupted trial as failed. In a loop of your own, tell it with
    ``study.tell``.

    If the process dies without a word, ``create_study`` or the next trial in the same storage
    finds out, and does the same. Studies in memory are the exception. An architecture in whose
    training three processes died is given up.

    With `checkpoints` the training of an interrupted trial goes on from its last checkpoint.
    Without, it begins again, to the same result.

    Args:
        task: Task that networks are trained for.
        space: Search space that architectures come from.
        trainer: Settings of the training. An architecture's own settings, such as
            ``learning_rate``, take the place of the trainer's.
        checkpoints: Folder for checkpoints of running trainings; it is made if it does not exist.
        warm_weights: Store of trained weights from which similar networks start; by default each
            network starts from its initialization. Trials get two more attributes:
            ``warm_share``, the share of the weights that were found, and ``warm_from``, the
            architecture that these were trained in.
        dashboard: Callback that keeps the study's page in optuna-dashboard up to date: a picture
            of each architecture, figures, a note. True makes a DashboardCallback, False none.
        progress: ProgressBar that is told of each epoch. Pass it to ``study.optimize`` as a
            callback, too.
        observers: Further observers, which hear how each trial is evaluated; see
            :class:`~surrogate_nas.running.observers.Observer`.

    Raises:
        SpaceError: The space decides a setting, such as ``learning_rate``, by a value that the
            Trainer cannot use.
    """

    task: Task
    space: SearchSpace
    trainer: Trainer = field(default_factory=Trainer)
    checkpoints: str | os.PathLike[str] | None = None
    warm_weights: WarmWeights | None = None
    dashboard: DashboardCallback | bool = True
    progress: ProgressBar | None = None
    observers: Sequence[Observer] = ()

    def __post_init__(self) -> None:
        check_training(self.space, self.trainer)
        if self.dashboard is True:
            bound = DashboardCallback(self.space.for_task(self.task))
            object.__setattr__(self, "dashboard", bound)

    @property
    def pages(self) -> DashboardCallback | None:
        """What keeps the study's page in optuna-dashboard up to date; None without it."""
        return self.dashboard if isinstance(self.dashboard, DashboardCallback) else None

    @property
    def training(self) -> Training:
        """What is trained."""
        return Training(self.task, self.space, self.trainer)

    @property
    def checkpoint_folder(self) -> Path | None:
        """Folder for checkpoints of running trainings; None without any."""
        return None if self.checkpoints is None else Path(self.checkpoints)

    def _all_observers(self) -> list[Observer]:
        """Return the observers that the arguments stand for, and the given ones after them."""
        found: list[Observer] = []
        if self.checkpoint_folder is not None:
            found.append(CheckpointKeeper(self.checkpoint_folder))
        if self.warm_weights is not None:
            found.append(WeightKeeper(self.warm_weights))
        if self.pages is not None:
            found.append(PageKeeper(self.pages))
        found.append(RemoteTeller() if self.progress is None else ProgressTeller(self.progress))
        return [*found, *self.observers]

    def __call__(self, trial: optuna.trial.BaseTrial) -> float:
        """Evaluate one trial.

        Returns:
            The trial's value; NaN, by which Optuna fails the trial, if it has none.

        Raises:
            optuna.TrialPruned: The trial was stopped early.
            StudyError: The study's direction is not the task's.
            TrainingError: The trainer's device does not exist, or the first three trials all ran
                out of memory.
            Exception: The error of building or training, if the study's first three trials all
                failed by errors, or outside a study.
        """
        space = self.space.for_task(self.task)
        evaluation = Evaluation(trial, self.task, space, self.trainer)
        observers = self._all_observers()
        with terminable():
            try:
                for observer in observers:
                    observer.begun(evaluation)
                # NOTE: after the observers. With checkpoints the lock lies in their folder.
                self._check(trial)
                if isinstance(trial, optuna.Trial) and is_set_aside(trial):
                    return math.nan
                try:
                    evaluation.value = self._attempt(evaluation, observers)
                finally:
                    for observer in observers:
                        observer.ended(evaluation)
                return evaluation.value
            except KeyboardInterrupt:
                interrupt(trial)
                raise

    def _check(self, trial: optuna.trial.BaseTrial) -> None:
        """Hold the trial's lock, and refuse what would fail every trial."""
        if isinstance(trial, optuna.Trial):
            begin(trial, None)
            check_direction(self, trial.study)
            changes = note_settings(self, trial.study)
            if changes:
                trial.set_user_attr(attributes.TRAINER_CHANGES, changes)
        find_device(self.trainer.device)

    def _attempt(self, evaluation: Evaluation, observers: Sequence[Observer]) -> float:
        """Evaluate an architecture; its errors fail one trial, not the study."""
        trial = evaluation.trial
        evaluation.architecture = self.space.suggest(trial)
        try:
            outcome = self._train(evaluation, observers)
        except (optuna.exceptions.OptunaError, StorageError):
            raise  # NOTE: the study itself is in trouble, not this network
        except Exception as error:  # space, network and task may be a user's
            if is_out_of_memory(error):
                raise infeasible(trial) from error
            evaluation.failure = error
            note_error(trial, error)
            if is_bug(trial):
                raise
            _logger.warning("Trial %d failed by an error.", trial.number, exc_info=True)
            return math.nan
        return _value(trial, outcome)

    def _train(self, evaluation: Evaluation, observers: Sequence[Observer]) -> Outcome:
        """Build and train a network, and write down on the trial what was counted and measured."""
        trial, space = evaluation.trial, evaluation.space
        architecture = evaluation.architecture
        trainer = evaluation.trainer = self.trainer.override(**space.training(architecture))
        entropy = np.random.SeedSequence([trainer.seed, random_number(trial)])
        seed = int(entropy.generate_state(1)[0])

        def on_epoch(epoch: int, value: float) -> bool:
            trial.report(value, step=epoch)
            return should_prune(trial)

        def on_loss(epoch: int, loss: float) -> None:
            for observer in observers:
                observer.epoch(evaluation, epoch, loss)

        # NOTE: the training seeds the generators again. So it draws the same numbers however many
        # the space draws here.
        with seeded(seed):
            network = evaluation.network = build_network(space, architecture, self.task)
            description = space.describe(architecture)
        # Before the training, so that a trial that dies says what it was.
        trial.set_user_attr(attributes.ARCHITECTURE, space.summary(architecture))
        for name, number in description.items():
            trial.set_user_attr(name, number)
        if space.described_params:
            trial.set_user_attr(attributes.FEATURES, space.features(architecture))
        for observer in observers:
            observer.built(evaluation)
        # NOTE: what was frozen is run once, here. The rest is trained on its outputs.
        device = find_device(trainer.device)
        part, view = space.training_view(network, self.task, device)
        outcome = evaluation.outcome = trainer.train(
            part,
            view,
            on_epoch=on_epoch,
            on_loss=on_loss,
            seed=seed,
            checkpoint=evaluation.checkpoint,
            groups=space.parameter_groups(part),
        )
        trial.set_user_attr(attributes.TRAIN_SECONDS, outcome.train_seconds)
        trial.set_user_attr(attributes.EPOCHS, outcome.epochs)
        trial.set_user_attr(attributes.ROWS_PER_SECOND, outcome.rows_per_second)
        trial.set_user_attr(attributes.STOP_REASON, outcome.stop_reason.value)
        return outcome

    def for_worker(self) -> Objective:
        """Return this objective for a process that does not have the study."""
        # Page and bar belong to the process that has the study.
        return replace(self, dashboard=False, progress=None)

    def on_device(self, device: str) -> Objective:
        """Return this objective for another device."""
        return replace(self, trainer=replace(self.trainer, device=device))


def _value(trial: optuna.trial.BaseTrial, outcome: Outcome) -> float:
    """Return a trial's value.

    Raises:
        optuna.TrialPruned: The trial ended early.
        TrainingError: The first trials of the study all ran out of memory.
    """
    reason = outcome.stop_reason
    if reason is StopReason.PRUNED:
        raise optuna.TrialPruned(f"{reason.value} in epoch {outcome.epochs - 1}")
    if reason is StopReason.OUT_OF_MEMORY:
        raise infeasible(trial)
    if reason is StopReason.NOT_FINITE or outcome.epochs == 0:
        text = f"{reason.value} after {outcome.epochs} whole epochs"
        _logger.warning("Trial %d ended early: %s.", trial.number, text)
        if outcome.epochs > 0:
            raise optuna.TrialPruned(text)
    # Without a whole epoch this is NaN, by which Optuna fails the trial.
    return outcome.value
