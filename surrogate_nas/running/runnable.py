"""What ``optimize`` and ``run_workers`` ask of an objective, and a plain function's answers."""

from __future__ import annotations

import abc
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias, final

import numpy as np
import optuna

from surrogate_nas import attributes
from surrogate_nas.errors import SpaceError, StudyError, TrainingError
from surrogate_nas.results.dashboard.callback import DashboardCallback
from surrogate_nas.results.progress import ProgressBar
from surrogate_nas.running.resuming import begin, interrupt
from surrogate_nas.running.rungs import note_rungs
from surrogate_nas.space import SearchSpace
from surrogate_nas.space.asking import random_architecture
from surrogate_nas.task import Task
from surrogate_nas.training.interruption import terminable
from surrogate_nas.training.trainer import Trainer

_logger = logging.getLogger(__name__)

_PROBES = 64
"""Number of random architectures whose settings are checked before any is trained."""

_OF_MACHINE = ("device", "cuda_graph")
"""Settings that say where networks are trained, and not how."""
_told: set[tuple[str, str]] = set()
"""Names of studies and differences that this process has warned of."""

ObjectiveLike: TypeAlias = Callable[[Any], Any]
"""A function of a trial."""


@final
@dataclass(frozen=True)
class Training:
    """What an objective trains, as far as its trials have it in common.

    Args:
        task: Task that networks are trained for.
        space: Search space that the networks come from.
        trainer: Settings of the training.
    """

    task: Task
    space: SearchSpace
    trainer: Trainer


class Runnable(abc.ABC):
    """An objective, with what runs it has to know. The defaults are those of a plain function."""

    progress: ProgressBar | None = None
    """Bar that is told of each epoch."""

    @abc.abstractmethod
    def __call__(self, trial: optuna.trial.BaseTrial) -> Any:
        """Evaluate a trial."""

    @property
    def training(self) -> Training | None:
        """What is trained; None where nobody but the objective knows."""
        return None

    @property
    def pages(self) -> DashboardCallback | None:
        """Callback that keeps the study's page in optuna-dashboard up to date."""
        return None

    @property
    def checkpoint_folder(self) -> Path | None:
        """Folder for checkpoints of running trainings; None without any."""
        return None

    @property
    def device(self) -> str | None:
        """Device that the user has named; None leaves the choice to the training."""
        return None if self.training is None else self.training.trainer.device

    def for_worker(self) -> Runnable:
        """Return the objective for a process that does not have the study."""
        return self

    def on_device(self, device: str) -> Runnable:
        """Return the objective for a device, if it is one to choose."""
        return self


def check_direction(objective: Runnable, study: optuna.Study) -> None:
    """Refuse a study whose direction is not that of the objective's task.

    Raises:
        StudyError: It is another one.
    """
    if objective.training is None:
        return
    wanted = objective.training.task.direction
    directions = [direction.name.lower() for direction in study.directions]
    if directions != [wanted]:
        raise StudyError(
            expected=f"a study with the direction {wanted!r}",
            got=", ".join(directions),
            fix=f"create the study with direction={wanted!r}, the direction of the task's metric",
        )


def check_training(space: SearchSpace, trainer: Trainer) -> None:
    """Refuse a space whose architectures decide settings that the Trainer cannot use.

    Raises:
        SpaceError: A setting of a random architecture is unusable; the message names it.
    """
    rng = np.random.default_rng(0)
    for _ in range(_PROBES):
        architecture = random_architecture(space, rng)
        if architecture is None:
            return
        settings = space.training(architecture)
        try:
            trainer.override(**settings)
        except TrainingError as error:
            raise SpaceError(
                expected=f"from {type(space).__name__} settings that the Trainer can use: "
                f"{error.expected}",
                got=error.got,
                fix="change that parameter's values or its name, or the space's method training",
            ) from error


def note_settings(objective: Runnable, study: optuna.Study) -> str:
    """Write down in a study how its networks are trained and where weak ones end, if it is known.

    If the study was begun with other settings, these stay, and a warning in the log tells the
    difference once.

    Returns:
        The settings that differ, from what to what; nothing where they are the same.
    """
    if objective.training is None:
        return ""
    task, trainer = objective.training.task, objective.training.trainer
    note_rungs(study, trainer.epochs, len(task.train), trainer.batch_size)
    now = asdict(trainer.for_task(task))
    begun = study.user_attrs.get(attributes.TRAINER)
    if not isinstance(begun, dict):
        study.set_user_attr(attributes.TRAINER, now)
        return ""
    differing = [n for n in now if n in begun and n not in _OF_MACHINE and begun[n] != now[n]]
    changes = ", ".join(f"{name} from {begun[name]} to {now[name]}" for name in differing)
    if changes and (study.study_name, changes) not in _told:
        _told.add((study.study_name, changes))
        _logger.warning(
            "Study %r was begun with other training settings: %s. Its results are compared as if "
            "they were alike. Each new trial records the difference as %s.",
            study.study_name,
            changes,
            attributes.TRAINER_CHANGES,
        )
    return changes


@final
class PlainObjective(Runnable):
    """A function of a trial that knows nothing of this package.

    On Ctrl-C and SIGTERM its trial fails and is enqueued again, as an ``Objective``'s.

    Args:
        function: The function.
    """

    def __init__(self, function: ObjectiveLike) -> None:
        self._function = function

    def __call__(self, trial: optuna.trial.BaseTrial) -> Any:
        """Call the function."""
        with terminable():
            try:
                if isinstance(trial, optuna.Trial):
                    begin(trial, None)
                return self._function(trial)
            except KeyboardInterrupt:
                interrupt(trial)
                raise


def as_objective(function: ObjectiveLike) -> Runnable:
    """Return a function of a trial as an objective that can be run; an ``Objective`` as it is."""
    return function if isinstance(function, Runnable) else PlainObjective(function)
