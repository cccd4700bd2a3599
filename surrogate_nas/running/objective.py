"""A trial of a study, end to end: suggest an architecture, build its network, train it.

The only code that knows trial, space, task and trainer at once. What goes wrong with one network
fails its trial, with the reason in the trial's attributes, and never the study.
"""

from __future__ import annotations

import logging
import math
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import final

import numpy as np
import optuna
from optuna.trial import TrialState
from torch import nn

from surrogate_nas import attributes
from surrogate_nas.attributes import INTERRUPTED as INTERRUPTED
from surrogate_nas.errors import StorageError, StudyError, TrainingError
from surrogate_nas.results.dashboard.callback import DashboardCallback
from surrogate_nas.results.progress import ProgressBar
from surrogate_nas.running.processes.remote_trial import Epoch, RemoteTrial, study_name
from surrogate_nas.running.resuming import (
    begin,
    checkpoint_path,
    interrupt,
    random_number,
)
from surrogate_nas.space import Architecture, SearchSpace
from surrogate_nas.storage.repeats import should_prune
from surrogate_nas.task import Task
from surrogate_nas.training.device import find_device
from surrogate_nas.training.interruption import terminable
from surrogate_nas.training.memory import is_out_of_memory
from surrogate_nas.training.trainer import Outcome, StopReason, Trainer, seeded
from surrogate_nas.training.warm_weights import Place, WarmWeights

_logger = logging.getLogger(__name__)

ERROR = "error: "
"""How the stop_reason of a trial begins that failed by an exception."""

_WHOLE = (StopReason.FINISHED, StopReason.TIME_LIMIT)
"""How a training ends whose weights are worth keeping."""

_TOLERATED_ERRORS = 2
"""Failed trials of a study without a good one, after which an error is taken for a bug."""


@final
@dataclass(frozen=True, eq=False)
class Objective:
    """The function that ``study.optimize`` maximizes or minimizes: the validation metric.

    Every trial gets flat user attributes: what ``space.describe`` counts (``parameters``, …),
    ``train_seconds``, ``epochs`` and ``images_per_second`` as numbers; ``architecture`` (in plain
    words) and ``stop_reason`` as strings. Any Optuna pruner works: the metric is reported after
    each epoch, from step 0.

    A trial's network and training are seeded by
    ``numpy.random.SeedSequence([trainer.seed, trial.number])``. A trial that repeats an
    interrupted one has the number of that one there, and later trials have the numbers that they
    would have had without the interruption.

    How a trial ends:

    - complete, with the metric of the last epoch; also when the time limit ended it after at
      least one epoch;
    - pruned, by the pruner, or by a loss that is not finite after at least one epoch;
    - pruned, with the attribute ``infeasible``, if not even two inputs fit into memory:
      ``SurrogateSampler`` takes it for as bad as the worst result so far;
    - failed, if no epoch ended, or by an error in building or running the network.

    On KeyboardInterrupt (Ctrl-C, or SIGTERM during training) the trial fails and its parameters
    are enqueued again, so that the next ``study.optimize`` begins with the same architecture.
    Optuna itself marks the interrupted trial as failed; only an own loop of ``study.ask`` and
    ``study.tell`` has to tell it. The same holds for a process that died without a word
    (``create_study``, or the next trial in the same storage, finds out), unless the study is in
    memory. An architecture in whose training three processes died is given up.

    With `checkpoints` the training of an interrupted trial goes on from its last checkpoint.
    Without, it begins again, to the same result.

    Args:
        task: What networks are trained for.
        space: Where they come from.
        trainer: How they are trained; an architecture's own ``learning_rate``, ``weight_decay``
            and ``augmentation`` take the place of the trainer's.
        checkpoints: A folder for checkpoints of running trainings, made if need be.
        warm_weights: Where networks that are alike take their first weights from; by default each
            starts afresh. Its trials have two attributes more: ``warm_share``, the part of the
            weights that were there, and ``warm_from``, the architecture they were trained in.
        dashboard: Keeps the study's page in optuna-dashboard up to date: a picture of each
            architecture, figures, a note. True makes a DashboardCallback; False leaves it out.
        progress: A ProgressBar that is told of each epoch; pass it to ``study.optimize`` as a
            callback, too.
    """

    task: Task
    space: SearchSpace
    trainer: Trainer = field(default_factory=Trainer)
    checkpoints: str | os.PathLike[str] | None = None
    warm_weights: WarmWeights | None = None
    dashboard: DashboardCallback | bool = True
    progress: ProgressBar | None = None

    def __post_init__(self) -> None:
        if self.dashboard is True:
            bound = DashboardCallback(self.space.for_task(self.task))
            object.__setattr__(self, "dashboard", bound)

    @property
    def pages(self) -> DashboardCallback | None:
        """What keeps the study's page in optuna-dashboard up to date; None without it."""
        return self.dashboard if isinstance(self.dashboard, DashboardCallback) else None

    def __call__(self, trial: optuna.trial.BaseTrial) -> float:
        """Evaluate one trial; return NaN, by which Optuna fails the trial, if there is no value.

        Raises:
            optuna.TrialPruned: The trial was stopped early.
            StudyError: The study's direction is not the task's.
            TrainingError: The trainer's device does not exist, or the first three trials all ran
                out of memory.
            Exception: What building or training raised, if the study's first trials all failed
                by errors (three of them, and no other got further), or outside a study.
        """
        with terminable():
            try:
                return self._called(trial)
            except KeyboardInterrupt:
                interrupt(trial)
                raise

    def _called(self, trial: optuna.trial.BaseTrial) -> float:
        if isinstance(trial, optuna.Trial):
            begin(trial, None if self.checkpoints is None else Path(self.checkpoints))
            self.check_direction(trial.study)
        find_device(self.trainer.device)
        if trial.number == 0 and isinstance(trial, optuna.Trial):
            self.note_settings(trial.study)
        if self.pages is not None:
            self.pages.begin()
        try:
            value = self._attempt(trial, self.space.suggest(trial))
        finally:
            if self.pages is not None:
                self.pages.trained(trial)
        if self.pages is not None and math.isfinite(value):
            self.pages.completed(trial, value)
        return value

    def _attempt(self, trial: optuna.trial.BaseTrial, architecture: Architecture) -> float:
        """Evaluate an architecture; its errors are those of one trial, not of the study."""
        try:
            outcome = self._evaluate(trial, architecture)
        except (optuna.exceptions.OptunaError, StorageError):
            raise  # the study itself is in trouble, not this network
        except Exception as error:
            if is_out_of_memory(error):
                raise _infeasible(trial) from error
            note_error(trial, error)
            if (path := self._checkpoint(trial)) is not None:
                path.unlink(missing_ok=True)
            if is_bug(trial):
                raise
            _logger.warning("Trial %d failed by an error.", trial.number, exc_info=True)
            return float("nan")
        return _value(trial, outcome)

    def _checkpoint(self, trial: optuna.trial.BaseTrial) -> Path | None:
        if self.checkpoints is None or study_name(trial) is None:
            return None
        return checkpoint_path(Path(self.checkpoints), trial)

    def _evaluate(self, trial: optuna.trial.BaseTrial, architecture: Architecture) -> Outcome:
        """Describe, build and train an architecture, and note on the trial what is found."""
        space = self.space.for_task(self.task)
        trainer = self.trainer.override(**space.training(architecture))
        seed = int(
            np.random.SeedSequence([trainer.seed, random_number(trial)]).generate_state(1)[0]
        )

        def report(epoch: int, value: float) -> bool:
            trial.report(value, step=epoch)
            return should_prune(trial)

        def on_loss(epoch: int, loss: float) -> None:
            if self.progress is not None:
                self.progress.epoch(trial.number, epoch + 1, trainer.epochs, loss)
            elif isinstance(trial, RemoteTrial):
                trial.say(Epoch(epoch + 1, trainer.epochs, loss))

        with seeded(seed):
            network = space.build(architecture, self.task)
            description = space.describe(architecture)
        trial.set_user_attr(attributes.ARCHITECTURE, space.summary(architecture))
        for name, number in description.items():
            trial.set_user_attr(name, number)
        place = self._warm_up(trial, network, architecture)
        if self.pages is not None:
            self.pages.show(trial, lambda: space.picture(architecture))
        outcome = trainer.train(
            network,
            self.task,
            on_epoch=report,
            on_loss=on_loss,
            seed=seed,
            checkpoint=self._checkpoint(trial),
            groups=space.parameter_groups(network),
        )
        if self.warm_weights is not None and place and outcome.stop_reason in _WHOLE:
            self.warm_weights.keep(network, place, outcome.value)
        trial.set_user_attr(attributes.TRAIN_SECONDS, outcome.train_seconds)
        trial.set_user_attr(attributes.EPOCHS, outcome.epochs)
        trial.set_user_attr(attributes.IMAGES_PER_SECOND, outcome.images_per_second)
        trial.set_user_attr(attributes.STOP_REASON, outcome.stop_reason.value)
        return outcome

    def _warm_up(
        self, trial: optuna.trial.BaseTrial, network: nn.Module, architecture: Architecture
    ) -> Place | None:
        """Give a network trained weights, if that is wanted and there are any."""
        if self.warm_weights is None:
            return None
        place = (type(self.space).__name__, self.space.canonical(architecture), self.task)
        start = self.warm_weights.start(network, place)
        if start is not None:
            trial.set_user_attr(attributes.WARM_SHARE, round(start.share, 4))
            trial.set_user_attr(attributes.WARM_FROM, start.architecture)
        return place

    def note_settings(self, study: optuna.Study) -> None:
        """Write down in a study how its networks are trained."""
        study.set_user_attr(attributes.TRAINER, asdict(self.trainer))

    def for_worker(self) -> Objective:
        """Return this objective for a process that does not have the study."""
        return replace(self, dashboard=False, progress=None)

    def check_direction(self, study: optuna.Study) -> None:
        """Refuse a study whose direction is not the task's.

        Raises:
            StudyError: It is another one.
        """
        directions = [direction.name.lower() for direction in study.directions]
        if directions != [self.task.direction]:
            raise StudyError(
                expected=f"a study with the direction {self.task.direction!r}",
                got=", ".join(directions),
                fix=f"create the study with direction={self.task.direction!r}, "
                "the direction of the task's metric",
            )


def _value(trial: optuna.trial.BaseTrial, outcome: Outcome) -> float:
    """Return a trial's value, or raise that it was pruned."""
    reason = outcome.stop_reason
    if reason is StopReason.PRUNED:
        raise optuna.TrialPruned(f"{reason.value} in epoch {outcome.epochs - 1}")
    if reason is StopReason.OUT_OF_MEMORY:
        raise _infeasible(trial)
    if reason is StopReason.NOT_FINITE or outcome.epochs == 0:
        text = f"{reason.value} after {outcome.epochs} whole epochs"
        _logger.warning("Trial %d ended early: %s.", trial.number, text)
        if outcome.epochs > 0:
            raise optuna.TrialPruned(text)
    return outcome.value


def _infeasible(trial: optuna.trial.BaseTrial) -> Exception:
    """Mark a trial that ran out of memory, and return what to raise."""
    reason = StopReason.OUT_OF_MEMORY.value
    trial.set_user_attr(attributes.STOP_REASON, reason)
    trial.set_user_attr(attributes.INFEASIBLE, reason)
    if is_bug(trial):
        return TrainingError(
            expected="memory for two inputs at a time of at least one architecture",
            got="none in which a trial of this study could run",
            fix="free memory on the device, or search smaller architectures on smaller inputs",
        )
    _logger.warning("Trial %d ran out of memory, with two inputs at a time.", trial.number)
    return optuna.TrialPruned(reason)


def note_error(trial: optuna.trial.BaseTrial, error: BaseException) -> None:
    """Write down by which error a trial failed, unless that is known."""
    if attributes.STOP_REASON not in trial.user_attrs:
        text = f"{ERROR}{type(error).__name__}: {error}"
        trial.set_user_attr(attributes.STOP_REASON, text[:500])


def is_bug(trial: optuna.trial.BaseTrial) -> bool:
    """Whether a failure would hit every trial: enough of them failed, and none got further."""
    if isinstance(trial, RemoteTrial):
        return trial.is_bug()
    if not isinstance(trial, optuna.Trial):
        return True
    n_errors = 0
    for other in trial.study.get_trials(deepcopy=False):
        is_infeasible = attributes.INFEASIBLE in other.user_attrs and other.number != trial.number
        if other.state in (TrialState.COMPLETE, TrialState.PRUNED) and not is_infeasible:
            return False
        by_error = str(other.user_attrs.get(attributes.STOP_REASON, "")).startswith(ERROR)
        n_errors += is_infeasible or (other.state is TrialState.FAIL and by_error)
    return n_errors >= _TOLERATED_ERRORS
