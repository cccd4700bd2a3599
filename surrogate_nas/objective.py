"""A trial of a study, end to end: suggest an architecture, build its network, train it.

The only code that knows trial, space, task and trainer at once. What goes wrong with one network
fails its trial, with the reason in the trial's attributes, and never the study.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import final

import numpy as np
import optuna
from optuna.trial import TrialState

from surrogate_nas.errors import StudyError
from surrogate_nas.space import Architecture, SearchSpace
from surrogate_nas.task import Task
from surrogate_nas.train import Outcome, StopReason, Trainer, seeded

_logger = logging.getLogger(__name__)

INTERRUPTED = "interrupted"
"""The stop_reason of a trial that its user stopped."""

_ERROR = "error: "
"""How the stop_reason of a trial begins that failed by an exception."""

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
    ``numpy.random.SeedSequence([trainer.seed, trial.number])``.

    How a trial ends:

    - complete, with the metric of the last epoch; also when the time limit ended it after at
      least one epoch;
    - pruned, by the pruner, or by a loss that is not finite after at least one epoch;
    - failed, if no epoch ended, or by an error in building or running the network.

    On KeyboardInterrupt the trial fails and its parameters are enqueued again, so that the next
    ``study.optimize`` begins with the same architecture. Optuna itself marks the interrupted
    trial as failed; only an own loop of ``study.ask`` and ``study.tell`` has to tell it.

    Args:
        task: What networks are trained for.
        space: Where they come from.
        trainer: How they are trained; an architecture's own ``learning_rate``, ``weight_decay``
            and ``augmentation`` take the place of the trainer's.
    """

    task: Task
    space: SearchSpace
    trainer: Trainer = field(default_factory=Trainer)

    def __call__(self, trial: optuna.trial.BaseTrial) -> float:
        """Evaluate one trial; return NaN, by which Optuna fails the trial, if there is no value.

        Raises:
            optuna.TrialPruned: The trial was stopped early.
            StudyError: The study's direction is not the task's.
            Exception: What building or training raised, if the study's first trials all failed
                by errors (three of them, and no other got further), or outside a study.
        """
        self._check_direction(trial)
        try:
            return self._attempt(trial, self.space.suggest(trial))
        except KeyboardInterrupt:
            _enqueue_again(trial)
            raise

    def _attempt(self, trial: optuna.trial.BaseTrial, architecture: Architecture) -> float:
        """Evaluate an architecture; its errors are those of one trial, not of the study."""
        try:
            outcome = self._evaluate(trial, architecture)
        except optuna.exceptions.OptunaError:
            raise  # the study itself is in trouble, not this network
        except Exception as error:
            trial.set_user_attr("stop_reason", f"{_ERROR}{type(error).__name__}: {error}"[:500])
            if _is_bug(trial):
                raise
            _logger.warning("Trial %d failed by an error.", trial.number, exc_info=True)
            return float("nan")
        return _value(trial, outcome)

    def _evaluate(self, trial: optuna.trial.BaseTrial, architecture: Architecture) -> Outcome:
        """Describe, build and train an architecture, and note on the trial what is found."""
        space = self.space.for_task(self.task)
        trainer = self.trainer.override(**space.training(architecture))
        seed = int(np.random.SeedSequence([trainer.seed, trial.number]).generate_state(1)[0])

        def report(epoch: int, value: float) -> bool:
            trial.report(value, step=epoch)
            return trial.should_prune()

        with seeded(seed):
            network = space.build(architecture, self.task)
            description = space.describe(architecture)
        trial.set_user_attr("architecture", space.summary(architecture))
        for name, number in description.items():
            trial.set_user_attr(name, number)
        outcome = trainer.train(network, self.task, on_epoch=report, seed=seed)
        trial.set_user_attr("train_seconds", outcome.train_seconds)
        trial.set_user_attr("epochs", outcome.epochs)
        trial.set_user_attr("images_per_second", outcome.images_per_second)
        trial.set_user_attr("stop_reason", outcome.stop_reason.value)
        return outcome

    def _check_direction(self, trial: optuna.trial.BaseTrial) -> None:
        if not isinstance(trial, optuna.Trial):
            return
        directions = [direction.name.lower() for direction in trial.study.directions]
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
    if reason is StopReason.NOT_FINITE or outcome.epochs == 0:
        text = f"{reason.value} after {outcome.epochs} whole epochs"
        _logger.warning("Trial %d ended early: %s.", trial.number, text)
        if outcome.epochs > 0:
            raise optuna.TrialPruned(text)
    return outcome.value


def _is_bug(trial: optuna.trial.BaseTrial) -> bool:
    """Whether an error would hit every trial: enough failed by errors, and none got further."""
    if not isinstance(trial, optuna.Trial):
        return True
    n_errors = 0
    for other in trial.study.get_trials(deepcopy=False):
        if other.state in (TrialState.COMPLETE, TrialState.PRUNED):
            return False
        by_error = str(other.user_attrs.get("stop_reason", "")).startswith(_ERROR)
        n_errors += other.state is TrialState.FAIL and by_error
    return n_errors >= _TOLERATED_ERRORS


def _enqueue_again(trial: optuna.trial.BaseTrial) -> None:
    """Put an interrupted trial's parameters first in the queue of its study."""
    trial.set_user_attr("stop_reason", INTERRUPTED)
    if isinstance(trial, optuna.Trial) and trial.params:
        trial.study.enqueue_trial(trial.params, user_attrs={"continues_trial": trial.number})
