"""The best trial -> retrained on training and validation data, tested once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import optuna
from torch import nn

from surrogate_nas.errors import SpaceError, StudyError, TrainingError
from surrogate_nas.history import TASK_ATTR
from surrogate_nas.space import Architecture, SearchSpace
from surrogate_nas.task import Task
from surrogate_nas.train import Outcome, StopReason, Trainer, seeded

OnEpoch = Callable[[int, float], bool]


@final
@dataclass(frozen=True)
class FinalNetwork:
    """The winner of a study.

    Args:
        trial_number: The trial that it comes from.
        architecture: What it is.
        summary: The same in plain words.
        description: Its numbers: parameters, multiply-accumulates, ...
        validation_value: The metric that the trial reached in the study.
        test_value: The metric of the retrained network on the test split.
        network: The retrained network, in eval mode on the Trainer's device.
        outcome: How the retraining went. Its validation metrics are of data it was trained on.
    """

    trial_number: int
    architecture: Architecture
    summary: str
    description: dict[str, float]
    validation_value: float
    test_value: float
    network: nn.Module
    outcome: Outcome


def finalize(
    study: optuna.Study,
    task: Task,
    space: SearchSpace,
    trainer: Trainer,
    *,
    on_epoch: OnEpoch | None = None,
) -> FinalNetwork:
    """Retrain the best architecture on training and validation data and test it once.

    The test metric is stored as the study's user attribute ``test_value``.

    Args:
        study: A study with at least one completed trial.
        task: The study's task.
        space: The study's search space.
        trainer: How to train; usually the one of the study.
        on_epoch: Told the epoch, from 0, for showing progress; return False.

    Raises:
        StudyError: No trial is completed, the best one is not of this space, the study is of
            another task, or it has several objectives and so no best trial.
        TrainingError: The retraining diverged, or its time was up within the first epoch.
    """
    best = _best_trial(study)
    if study.user_attrs.get(TASK_ATTR, task.fingerprint) != task.fingerprint:
        raise StudyError(
            expected=f"the task that study {study.study_name!r} was made for",
            got=f"another one ({task!r})",
            fix="pass the task with the data, split and metric of the study",
        )
    space = space.for_task(task)
    try:
        architecture = space.from_params(best.params)
    except SpaceError as error:
        raise StudyError(
            expected=f"trial {best.number} to be an architecture of {type(space).__name__}",
            got=error.got,
            fix="pass the search space that the study was made with",
        ) from error
    with seeded(trainer.seed):
        network = space.build(architecture, task)
    own = trainer.override(**space.training(architecture))
    outcome = own.train(network, task.merged(), on_epoch=on_epoch)
    test_value = own.evaluate(network, task, task.test)
    diverged = outcome.stop_reason is StopReason.NOT_FINITE or not math.isfinite(test_value)
    if diverged or outcome.epochs == 0:
        raise TrainingError(
            expected="a retraining of at least one epoch, with finite outputs",
            got=f"one that ended after {outcome.epochs} with: {outcome.stop_reason.value}",
            fix="lower the Trainer's learning rate, or give it more time",
        )
    assert best.value is not None
    study.set_user_attr("test_value", test_value)
    study.set_user_attr("test_trial", best.number)
    return FinalNetwork(
        trial_number=best.number,
        architecture=architecture,
        summary=space.summary(architecture),
        description=space.describe(architecture),
        validation_value=best.value,
        test_value=test_value,
        network=network.eval(),
        outcome=outcome,
    )


def _best_trial(study: optuna.Study) -> optuna.trial.FrozenTrial:
    """The best completed trial."""
    if len(study.directions) != 1:
        raise StudyError(
            expected="a study with one objective",
            got=f"{len(study.directions)} objectives",
            fix="choose one of study.best_trials and train it with the Trainer",
        )
    try:
        return study.best_trial
    except ValueError:
        raise StudyError(
            expected=f"study {study.study_name!r} to have a completed trial",
            got=f"none among {len(study.get_trials(deepcopy=False))} trials",
            fix="run study.optimize first, and look at the trials' stop_reason",
        ) from None
