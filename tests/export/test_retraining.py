from __future__ import annotations

from typing import Any

import optuna
import pytest

from surrogate_nas import attributes
from surrogate_nas.export.retraining import for_retraining
from surrogate_nas.running.objective import Objective
from surrogate_nas.training.trainer import Trainer
from tests.helpers.toys import ToySpace, ToyTask


def studied(trainer: Trainer | None, **attrs: Any) -> optuna.Study:
    study = optuna.create_study()
    if trainer is not None:
        study.set_user_attr(attributes.TRAINER, {"epochs": trainer.epochs})
    study.add_trial(optuna.trial.create_trial(value=0.0, user_attrs=attrs))
    return study


@pytest.mark.parametrize(
    ("attrs", "epochs"),
    [
        ({"best_epoch": 4, "epochs": 8}, 10),
        ({"epochs": 8}, 16),
        ({"best_epoch": 9, "epochs": 10}, 20),
        ({"best_epoch": 0}, 2),
        ({"best_epoch": 99}, 20),
        ({"best_epoch": "x", "epochs": None}, 20),
        ({}, 20),
    ],
)
def test_a_retraining_has_the_share_of_epochs_that_the_trial_came_to(
    attrs: dict[str, Any], epochs: int
) -> None:
    searched = Trainer(epochs=10, patience=3, keep_best=True)
    study = studied(searched, **attrs)
    given = Trainer(epochs=20, patience=3, keep_best=True, ema_decay=0.9)
    found = for_retraining(given, study, study.best_trial)
    assert found == Trainer(epochs=epochs, ema_decay=0.9)


def test_other_trainers_stay_as_they_are() -> None:
    study = studied(None, best_epoch=1, epochs=2)
    trainer = Trainer(epochs=20)
    assert for_retraining(trainer, study, study.best_trial) == trainer
    patient = Trainer(epochs=20, patience=2)
    assert for_retraining(patient, study, study.best_trial) == trainer


def test_a_trial_says_its_best_epoch() -> None:
    task, trainer = ToyTask(), Trainer(epochs=3, keep_best=True, device="cpu")
    study = optuna.create_study(direction="maximize")
    study.optimize(Objective(task, ToySpace(), trainer, dashboard=False), 1)
    (trial,) = study.trials
    values = [trial.intermediate_values[epoch] for epoch in range(3)]
    assert trial.value == max(values)
    assert trial.user_attrs[attributes.BEST_EPOCH] == values.index(max(values))
    assert study.user_attrs[attributes.TRAINER]["augmentation"] == 0.0
