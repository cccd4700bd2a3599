"""Ending weak trainings early where it pays: the pruner of studies that are given none.

A study with long trainings gets *rungs*, numbers of epochs after which a training may end. They
are chosen once, when the first trial begins, and written into the study. So all workers, and
whoever continues the study, keep to them.
"""

from __future__ import annotations

import math
from typing import NamedTuple, final

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial

from surrogate_nas import attributes

_REDUCTION = 6
"""One in this number of trainings that come to a rung goes on. It is also the factor between two
rungs."""
_FIRST_SHARE = 16
"""The first rung is after this part of all epochs."""
_LEAST_EPOCHS = 20
_LEAST_STEPS = 100
"""Optimizer steps before the first rung: a network that has hardly moved has shown nothing."""


class Rungs(NamedTuple):
    """Rungs of a study.

    Args:
        epochs: Numbers of epochs after which a training may end, ascending; none for no pruning.
        words: What was chosen, or why nothing.
    """

    epochs: tuple[int, ...]
    words: str


def chosen_rungs(epochs: int, n_rows: int, batch_size: int) -> Rungs:
    """Choose rungs by the length of the trainings and the size of the data.

    Args:
        epochs: Epochs of a whole training.
        n_rows: Rows of the training split.
        batch_size: Rows of an optimizer step.
    """
    if epochs < _LEAST_EPOCHS:
        return Rungs((), f"none: {epochs} epochs are fewer than {_LEAST_EPOCHS}")
    steps = max(1, math.ceil(n_rows / batch_size))
    first = max(1, epochs // _FIRST_SHARE, math.ceil(_LEAST_STEPS / steps))
    found, rung = [], first
    # The last rung lies in the first half, or it would spare little.
    while 2 * rung <= epochs:
        found.append(rung)
        rung *= _REDUCTION
    if not found:
        why = f"{_LEAST_STEPS} steps take {first} of {epochs} epochs"
        return Rungs((), f"none: {why}, as the data are few")
    after = " and ".join(map(str, found))
    return Rungs(tuple(found), f"after {after} of {epochs} epochs; one in {_REDUCTION} goes on")


@final
class RungPruner(optuna.pruners.BasePruner):
    """Ends a training at a rung of its study unless its metric is among the best there.

    Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934): of all trainings that have
    come to the rung so far, the best sixth goes on, at least one. A study without rungs loses
    no training.
    """

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Return whether a training ends after the epoch that it has reported last."""
        step = trial.last_step
        if step is None or step + 1 not in _rungs_of(study):
            return False
        value = trial.intermediate_values[step]
        sign = 1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1.0
        others = [
            sign * other.intermediate_values[step]
            for other in study.get_trials(deepcopy=False)
            if other.number != trial.number and step in other.intermediate_values
        ]
        n_better = sum(other > sign * value for other in others)
        return n_better >= max(1, (len(others) + 1) // _REDUCTION)


def note_rungs(study: Study, epochs: int, n_rows: int, batch_size: int) -> None:
    """Choose the rungs of a study whose pruner needs them, unless this has been done.

    Args:
        study: The study, before its first training or later.
        epochs: Epochs of a whole training.
        n_rows: Rows of the training split.
        batch_size: Rows of an optimizer step.
    """
    attrs = study.user_attrs
    if not isinstance(study.pruner, RungPruner) or attributes.RUNGS in attrs:
        return
    rungs = chosen_rungs(epochs, n_rows, batch_size)
    if attributes.TRAINER in attrs:
        # NOTE: trainings of an earlier version all went to their end, and later ones do, too.
        rungs = Rungs((), "none: the study was begun without any")
    study.set_user_attr(attributes.RUNGS, list(rungs.epochs))
    study.set_user_attr(attributes.PRUNING, rungs.words)


def _rungs_of(study: Study) -> list[int]:
    """Return the rungs that were written into a study."""
    found = study.user_attrs.get(attributes.RUNGS)
    # NOTE: other programs may store anything under that name.
    return [rung for rung in found if isinstance(rung, int)] if isinstance(found, list) else []
