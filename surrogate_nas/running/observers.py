"""Observers: what happens beside a training, told of each step of a trial's evaluation.

An :class:`~surrogate_nas.running.objective.Objective` suggests, builds and trains. Pages of the
dashboard, progress, checkpoints and warm weights hear of it through four methods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, final

import optuna
from torch import nn

from surrogate_nas import attributes
from surrogate_nas.results.dashboard.callback import DashboardCallback
from surrogate_nas.results.progress import ProgressBar
from surrogate_nas.results.training_progress import training_words
from surrogate_nas.running.processes.remote_trial import Begun, Epoch, RemoteTrial, study_name
from surrogate_nas.running.resuming import begin, checkpoint_path
from surrogate_nas.space import Architecture, SearchSpace
from surrogate_nas.task import Task
from surrogate_nas.training.device import find_device
from surrogate_nas.training.estimate import expected_seconds
from surrogate_nas.training.outcome import Outcome, StopReason
from surrogate_nas.training.trainer import Trainer
from surrogate_nas.training.warm_weights import Place, WarmWeights

_WHOLE = (StopReason.FINISHED, StopReason.TIME_LIMIT)
"""Ends of trainings whose weights are worth keeping."""


@final
@dataclass(eq=False)
class Evaluation:
    """A trial that is being evaluated, as far as it has come.

    Args:
        trial: The trial.
        task: Task that the network is trained for.
        space: Search space for this task.
        trainer: Settings of the training; after the architecture is known, with its own.
        architecture: Suggested architecture; empty before.
        network: Network that has been built; None before. Observers may change its weights.
        checkpoint: File for the training's checkpoint; None for no checkpoint. Observers may set
            it until the network is built.
        outcome: Result of the training; None before.
        value: Value of the trial; NaN if it has none.
        failure: Error by which the network failed, and the trial with it.
    """

    trial: optuna.trial.BaseTrial
    task: Task
    space: SearchSpace
    trainer: Trainer
    architecture: Architecture = field(default_factory=dict)
    network: nn.Module | None = field(default=None, repr=False)
    checkpoint: Path | None = None
    outcome: Outcome | None = None
    value: float = math.nan
    failure: Exception | None = None


class Observer:
    """Hears how trials are evaluated. Each method may be left out."""

    def begun(self, evaluation: Evaluation) -> None:
        """Hear that a trial has begun; nothing is suggested yet."""

    def built(self, evaluation: Evaluation) -> None:
        """Hear that a network has been built; its training begins next."""

    def epoch(self, evaluation: Evaluation, epoch: int, loss: float) -> None:
        """Hear of an epoch's training, before its validation.

        Args:
            evaluation: The evaluation.
            epoch: Number of the epoch, from 0.
            loss: Mean training loss.
        """

    def ended(self, evaluation: Evaluation) -> None:
        """Hear that an evaluation has ended, however it ended."""


@final
class CheckpointKeeper(Observer):
    """Keeps a training's checkpoint in a folder until the training has ended.

    Args:
        folder: The folder; it is made if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begun(self, evaluation: Evaluation) -> None:
        """Hear that a trial has begun."""
        if isinstance(evaluation.trial, optuna.Trial):
            begin(evaluation.trial, self._folder)

    def built(self, evaluation: Evaluation) -> None:
        """Hear that a network has been built."""
        evaluation.checkpoint = self._path(evaluation)

    def ended(self, evaluation: Evaluation) -> None:
        """Hear that an evaluation has ended."""
        # NOTE: an interrupted training keeps its checkpoint, and a whole one has removed it.
        if evaluation.failure is not None and (path := self._path(evaluation)) is not None:
            path.unlink(missing_ok=True)

    def _path(self, evaluation: Evaluation) -> Path | None:
        """Return the checkpoint's path; None for a trial that nobody can continue."""
        if study_name(evaluation.trial) is None:
            return None
        return checkpoint_path(self._folder, evaluation.trial)


@final
class PageKeeper(Observer):
    """Keeps the study's page in optuna-dashboard up to date.

    Args:
        pages: What writes the page.
    """

    def __init__(self, pages: DashboardCallback) -> None:
        self._pages = pages

    def begun(self, evaluation: Evaluation) -> None:
        """Hear that a trial has begun."""
        self._pages.begin()

    def built(self, evaluation: Evaluation) -> None:
        """Hear that a network has been built."""
        space, architecture = evaluation.space, evaluation.architecture
        self._pages.show(evaluation.trial, lambda: space.picture(architecture))

    def ended(self, evaluation: Evaluation) -> None:
        """Hear that an evaluation has ended."""
        self._pages.trained(evaluation.trial)
        if math.isfinite(evaluation.value):
            self._pages.completed(evaluation.trial, evaluation.value)


@final
class ProgressTeller(Observer):
    """Tells a progress bar of each epoch.

    Args:
        bar: The bar.
    """

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar

    def built(self, evaluation: Evaluation) -> None:
        """Hear that a network has been built."""
        words = _training_words(evaluation) if self._bar.wants_words else ""
        self._bar.begin(evaluation.trial.number, evaluation.trainer.epochs, words)

    def ended(self, evaluation: Evaluation) -> None:
        """Hear that an evaluation has ended."""
        self._bar.ended(evaluation.trial.number)

    def epoch(self, evaluation: Evaluation, epoch: int, loss: float) -> None:
        """Hear of an epoch's training."""
        self._bar.epoch(evaluation.trial.number, epoch + 1, evaluation.trainer.epochs, loss)


@final
class RemoteTeller(Observer):
    """Tells the study's own process of each epoch of a trial that is trained elsewhere."""

    uses_storage: ClassVar[bool] = False
    """Whether the study's own process looks into the storage, as it does at workers."""
    _is_described: ClassVar[bool] = False
    """Whether this process has described a training. One is enough for the first line."""

    def built(self, evaluation: Evaluation) -> None:
        """Hear that a network has been built."""
        is_first, trial = not RemoteTeller._is_described, evaluation.trial
        if isinstance(trial, RemoteTrial):
            RemoteTeller._is_described = True
            words = _training_words(evaluation) if is_first else ""
            trial.say(Begun(evaluation.trainer.epochs, words))
        elif RemoteTeller.uses_storage and is_first and isinstance(trial, optuna.Trial):
            RemoteTeller._is_described = True
            seconds = _seconds(evaluation)
            if math.isfinite(seconds):
                trial.set_user_attr(attributes.EXPECTED_SECONDS, round(seconds, 3))

    def epoch(self, evaluation: Evaluation, epoch: int, loss: float) -> None:
        """Hear of an epoch's training."""
        if isinstance(evaluation.trial, RemoteTrial):
            evaluation.trial.say(Epoch(epoch + 1, evaluation.trainer.epochs, loss))


@final
class WeightKeeper(Observer):
    """Lets networks start from trained weights, and keeps the weights of whole trainings.

    Args:
        weights: Where the weights are kept.
    """

    def __init__(self, weights: WarmWeights) -> None:
        self._weights = weights

    def built(self, evaluation: Evaluation) -> None:
        """Hear that a network has been built."""
        if evaluation.network is None:
            return
        start = self._weights.start(evaluation.network, _place(evaluation))
        if start is not None:
            evaluation.trial.set_user_attr(attributes.WARM_SHARE, round(start.share, 4))
            evaluation.trial.set_user_attr(attributes.WARM_FROM, start.architecture)

    def ended(self, evaluation: Evaluation) -> None:
        """Hear that an evaluation has ended."""
        network, outcome = evaluation.network, evaluation.outcome
        if network is not None and outcome is not None and outcome.stop_reason in _WHOLE:
            self._weights.keep(network, _place(evaluation), outcome.value)


def _training_words(evaluation: Evaluation) -> str:
    """Return a training in words, before it begins."""
    if evaluation.network is None:
        return ""
    attrs = evaluation.trial.user_attrs
    return training_words(attrs, evaluation.trainer.epochs, _seconds(evaluation))


def _seconds(evaluation: Evaluation) -> float:
    """Return the seconds that a training is expected to take; NaN where that cannot be told."""
    if evaluation.network is None:
        return math.nan
    trainer = evaluation.trainer
    seen = evaluation.space.training_view(
        evaluation.network, evaluation.task, find_device(trainer.device)
    )
    return expected_seconds(*seen, trainer)


def _place(evaluation: Evaluation) -> Place:
    """Return what the network is."""
    space = evaluation.space
    return type(space).__name__, space.canonical(evaluation.architecture), evaluation.task
