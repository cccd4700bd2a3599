"""Short trainings, for comparing two checkouts.

``python -m studies.training_speed.study --against CHECKOUT`` runs them. Nothing of the package but
public names is used, as the checkouts may differ in all else.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import optuna
import torch

import surrogate_nas as sn

optuna.logging.set_verbosity(optuna.logging.ERROR)
torch.set_num_threads(1)
TASK = sn.tasks.digits()
SPACE = sn.spaces.CellSpace()
CELL = {
    "op_0": "conv_3x3",
    "op_1": "skip_connect",
    "op_2": "conv_3x3",
    "op_3": "skip_connect",
    "op_4": "conv_1x1",
    "op_5": "avg_pool_3x3",
}
SIZES = {"small": {"width": 8, "depth": 1}, "medium": {"width": 16, "depth": 1}}


def training(size: str, augmentation: float) -> Callable[[], float]:
    """Seconds of a training of two epochs, its network fresh."""

    def probe() -> float:
        torch.manual_seed(0)
        network = SPACE.build(SPACE.from_params({**CELL, **SIZES[size]}), TASK)
        trainer = sn.Trainer(epochs=2, augmentation=augmentation, device="cpu")
        began = time.process_time()
        trainer.train(network, TASK)
        return time.process_time() - began

    return probe


def trial() -> float:
    """Seconds of a trial of a study: the network is built, trained and recorded."""
    study = optuna.create_study(direction="maximize")
    study.enqueue_trial({**CELL, **SIZES["small"]})
    objective = sn.Objective(TASK, SPACE, sn.Trainer(epochs=2, device="cpu"))
    began = time.process_time()
    study.optimize(objective, n_trials=1)
    return time.process_time() - began


PROBES = {
    **{
        f"{size}, augmentation {augmentation:g}": training(size, augmentation)
        for size in SIZES
        for augmentation in (0.0, 1.0)
    },
    "a trial, small": trial,
}
