"""Keep trainings within a share of a search's time, on the device at hand.

The time of a training is predicted from its operations: a few random networks are timed before the
search, and each finished training corrects the seconds an operation takes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import final

import numpy as np
import optuna
from optuna.trial import FrozenTrial

from surrogate_nas import attributes
from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.space import Architecture, SearchSpace, build_network
from surrogate_nas.space.asking import random_architecture
from surrogate_nas.task import Task
from surrogate_nas.tensors.counting import tried
from surrogate_nas.training.estimate import expected_seconds
from surrogate_nas.training.trainer import Trainer, seeded

_NAME = "multiply_accumulates"
_N_TRAININGS = 10
"""A search should have time for this number of its largest trainings."""
_N_DRAWN = 32
_TIMED = (0.25, 0.5)
"""Places of the timed networks among random ones, ordered by operations."""
_LEAST_KEPT = 0.25
"""Share of random architectures that no limit leaves out."""
_PRIOR = 2.0
"""Number of trainings that the timing before the search is worth."""
_CHANGE = 1.2

_logger = logging.getLogger(__name__)


@final
class EpochLimit:
    """A callback that corrects a study's limit on operations by the seconds of its trainings.

    Args:
        most_seconds: Seconds that an epoch may take.
        rate: Seconds of an epoch for one operation, as timed before the search.
        least: Smallest limit: a quarter of random architectures have no more operations.
        limit: Largest allowed number of operations now.
    """

    def __init__(self, most_seconds: float, rate: float, least: float, limit: float) -> None:
        self._most_seconds, self._rate, self._least = most_seconds, rate, least
        self.limit = limit

    def __call__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Correct the limit after a trial, where that makes a difference."""
        del trial
        measured = _measured(study.get_trials(deepcopy=False))
        if not measured:
            return
        logs = _PRIOR * math.log(self._rate) + float(np.log(measured).sum())
        rate = math.exp(logs / (_PRIOR + len(measured)))
        limit = max(self._most_seconds / rate, self._least)
        if max(limit, self.limit) > _CHANGE * min(limit, self.limit):
            self.limit = limit
            _apply(study, limit)


def limit_epochs(
    study: optuna.Study, task: Task, space: SearchSpace, trainer: Trainer, seconds: float
) -> EpochLimit | None:
    """Limit the operations of a study's networks so that ten trainings fit into its time.

    The limit is on ``multiply_accumulates``, and is written into the study. A later call with the
    same time takes it from there. At least a quarter of random architectures stay allowed.

    Args:
        study: A study whose sampler screens candidates.
        task: Its task.
        space: Its search space.
        trainer: Settings of its trainings.
        seconds: Time of the search.

    Returns:
        A callback that corrects the limit by the trainings' own seconds. None where there is no
        such limit: the sampler screens nothing, the user has set one, the space counts no
        operations, or no network can be timed.
    """
    sampler, bound = study.sampler, space.for_task(task)
    if not isinstance(sampler, SurrogateSampler) or not sampler.screens:
        return None
    found = study.user_attrs.get(attributes.EPOCH_LIMIT)
    noted = found if isinstance(found, dict) else {}
    if sampler.limits.get(_NAME) not in (None, noted.get(_NAME)):
        return None
    drawn = _drawn(bound)
    if not drawn:
        return None
    rate = _timed(bound, task, trainer, drawn)
    if rate is None:
        return None
    most_seconds = seconds / (_N_TRAININGS * trainer.epochs)
    least = drawn[int(_LEAST_KEPT * (len(drawn) - 1))][0]
    limit = noted.get(_NAME) if noted.get("seconds") == seconds else None
    if not isinstance(limit, int | float) or not limit > 0:
        limit = max(most_seconds / rate, least)
    made = EpochLimit(most_seconds, rate, least, float(limit))
    study.set_user_attr(attributes.EPOCH_LIMIT, {"seconds": seconds, _NAME: made.limit})
    sampler.set_limit(_NAME, made.limit)
    return made


def _apply(study: optuna.Study, limit: float) -> None:
    """Let a study keep to a corrected limit, and write it down."""
    if isinstance(study.sampler, SurrogateSampler):
        study.sampler.set_limit(_NAME, limit)
    found = study.user_attrs.get(attributes.EPOCH_LIMIT)
    known = found if isinstance(found, dict) else {}
    study.set_user_attr(attributes.EPOCH_LIMIT, {**known, _NAME: limit})
    _logger.info("Networks may have up to %.3g operations from now on.", limit)


def _drawn(space: SearchSpace) -> list[tuple[float, Architecture]]:
    """Return random architectures with their operations, fewest first."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(_N_DRAWN):
        architecture = random_architecture(space, rng)
        operations = 0.0 if architecture is None else space.describe(architecture).get(_NAME, 0.0)
        if architecture is not None and operations > 0:
            found.append((operations, architecture))
    return sorted(found, key=lambda one: one[0])


def _timed(
    space: SearchSpace,
    task: Task,
    trainer: Trainer,
    drawn: Sequence[tuple[float, Architecture]],
) -> float | None:
    """Return the seconds of an epoch for one operation, by timing two networks."""
    one_epoch = replace(trainer, epochs=1, start_resolution=1.0, time_limit_seconds=None)
    rates = []
    for place in _TIMED:
        operations, architecture = drawn[int(place * (len(drawn) - 1))]
        with seeded(0):
            network = tried(partial(build_network, space, architecture, task))
        if not isinstance(network, Exception):
            seconds = expected_seconds(network, task, one_epoch)
            rates += [seconds / operations] if seconds > 0 else []
    return float(np.exp(np.mean(np.log(rates)))) if rates else None


def _measured(trials: Sequence[FrozenTrial]) -> list[float]:
    """Return the seconds of an epoch for one operation, of each training."""
    found = []
    for trial in trials:
        attrs = trial.user_attrs
        seconds = _number(attrs.get(attributes.TRAIN_SECONDS))
        work = _number(attrs.get(attributes.EPOCHS))
        work *= _number(attrs.get(attributes.MULTIPLY_ACCUMULATES))
        if seconds > 0 and work > 0:
            found.append(seconds / work)
    return found


def _number(value: object) -> float:
    """Return a number; 0 for anything else, which other programs may have stored."""
    return float(value) if isinstance(value, int | float) else 0.0
