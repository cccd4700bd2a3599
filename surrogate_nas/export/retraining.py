"""Settings of the final training, whose data leave nothing to validate on."""

from __future__ import annotations

from dataclasses import replace

import optuna
from optuna.trial import FrozenTrial

from surrogate_nas import attributes
from surrogate_nas.training.trainer import Trainer


def for_retraining(trainer: Trainer, study: optuna.Study, best: FrozenTrial) -> Trainer:
    """Return a Trainer whose end does not depend on the validation split.

    The final network sees the validation split in training, so neither patience nor the best epoch
    means anything there. It is trained for the share of the epochs that the trial came to.

    Args:
        trainer: Settings with which the architecture was searched, or others.
        study: The study, which knows how many epochs its trials were to have.
        best: The trial whose architecture is trained again.
    """
    if trainer.patience is None and not trainer.keep_best:
        return trainer
    attrs, begun = best.user_attrs, study.user_attrs.get(attributes.TRAINER)
    planned = begun.get("epochs") if isinstance(begun, dict) else None
    last = attrs.get(attributes.BEST_EPOCH)
    came_to = last + 1 if isinstance(last, int) else attrs.get(attributes.EPOCHS)
    epochs = trainer.epochs
    # NOTE: other programs may store anything under these names.
    if isinstance(planned, int) and isinstance(came_to, int) and 0 < came_to <= planned:
        epochs = max(1, round(epochs * came_to / planned))
    return replace(trainer, patience=None, keep_best=False, epochs=epochs)
