"""The best trial of a study: its architecture, and its network before the retraining."""

from __future__ import annotations

import optuna
from torch import nn

from surrogate_nas import attributes
from surrogate_nas.errors import SpaceError, StudyError
from surrogate_nas.results.summary import require_study
from surrogate_nas.space import Architecture, SearchSpace, build_network
from surrogate_nas.task import Task
from surrogate_nas.training.trainer import seeded


def best_trial(study: optuna.Study) -> optuna.trial.FrozenTrial:
    """Return the best completed trial, or say why the study has none."""
    require_study(study)
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
            expected=f"study {study.study_name!r} to have a completed trial that keeps its "
            "constraints",
            got=f"none among {len(study.get_trials(deepcopy=False))} trials",
            fix="run study.optimize first, and look at the trials' stop_reason",
        ) from None


def require_task(study: optuna.Study, task: Task) -> None:
    """Refuse a task that is not the study's."""
    if study.user_attrs.get(attributes.TASK_FINGERPRINT, task.fingerprint) != task.fingerprint:
        raise StudyError(
            expected=f"the task that study {study.study_name!r} was made for",
            got=f"another task, {task!r}",
            fix="pass the task with the data, split and metric of the study",
        )


def architecture_of(
    best: optuna.trial.FrozenTrial, space: SearchSpace, recorded: str | None
) -> Architecture:
    """Return the best trial's architecture, or say that the space does not fit the study."""
    try:
        return space.from_params(best.params)
    except SpaceError as error:
        name = type(space).__name__
        of = "" if recorded in (None, name) else f"an architecture of {recorded}: "
        raise StudyError(
            expected=f"trial {best.number} to be an architecture of {name}",
            got=f"{of}{error.got}",
            fix="pass the search space that the study was made with",
        ) from error


def built(
    best: optuna.trial.FrozenTrial,
    space: SearchSpace,
    architecture: Architecture,
    task: Task,
    seed: int,
) -> nn.Module:
    """Return the best trial's network, untrained, with weights that the seed fixes."""
    try:
        with seeded(seed):
            return build_network(space, architecture, task)
    except Exception as error:  # build may be a user's, and must have changed since the trial
        raise StudyError(
            expected=f"{type(space).__name__} to build the architecture of trial {best.number}",
            got=f"{type(error).__name__}: {error}",
            fix="pass the search space and the task that the study was made with",
        ) from error
