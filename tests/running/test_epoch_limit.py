from __future__ import annotations

from typing import Any

import optuna
import pytest

from surrogate_nas import attributes
from surrogate_nas.running import epoch_limit as module
from surrogate_nas.running.epoch_limit import EpochLimit, limit_epochs
from surrogate_nas.running.objective import Objective
from surrogate_nas.running.study import create_study
from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.training.trainer import Trainer
from tests.helpers.toys import ToySpace, ToyTask

TASK, SPACE = ToyTask(), ToySpace()
TRAINER = Trainer(epochs=2, device="cpu")


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch takes a thousandth of a second for each operation of a network."""

    def seconds(network: Any, task: Any, trainer: Trainer) -> float:
        assert trainer.epochs == 1
        counted = SPACE.for_task(task).describe(_architecture(network))
        return counted["multiply_accumulates"] / 1000

    monkeypatch.setattr(module, "expected_seconds", seconds)


def _architecture(network: Any) -> dict[str, Any]:
    convolutions = [
        one for one in network if hasattr(one, "kernel_size") and hasattr(one, "groups")
    ]
    found = {"width": convolutions[0].out_channels, "kernel": convolutions[0].kernel_size[0]}
    found |= {"activation": "relu", "depth": len(convolutions)}
    return found | (
        {"second_width": convolutions[1].out_channels} if len(convolutions) > 1 else {}
    )


def new_study(**arguments: Any) -> optuna.Study:
    return create_study(TASK, SPACE, seed=0, **{"n_candidates": 8, **arguments})


def sampler(study: optuna.Study) -> SurrogateSampler:
    assert isinstance(study.sampler, SurrogateSampler)
    return study.sampler


def test_ten_trainings_fit_into_the_time() -> None:
    study = new_study()
    limit = limit_epochs(study, TASK, SPACE, TRAINER, seconds=120.0)
    assert limit is not None
    assert limit.limit == pytest.approx(1000 * 120 / (10 * TRAINER.epochs))
    assert sampler(study).limits == {"multiply_accumulates": limit.limit}
    study.optimize(Objective(TASK, SPACE, TRAINER, dashboard=False), 4)
    counted = [trial.user_attrs["multiply_accumulates"] for trial in study.trials]
    assert max(counted) <= limit.limit


def test_a_quarter_of_the_space_stays() -> None:
    study = new_study()
    limit = limit_epochs(study, TASK, SPACE, TRAINER, seconds=1e-9)
    assert limit is not None
    drawn = [operations for operations, _ in module._drawn(SPACE.for_task(TASK))]
    assert 0.2 < sum(one <= limit.limit for one in drawn) / len(drawn) < 0.5


def test_a_study_that_goes_on_keeps_its_limit() -> None:
    storage = optuna.storages.InMemoryStorage()
    first = limit_epochs(new_study(storage=storage, study_name="s"), TASK, SPACE, TRAINER, 120.0)
    assert first is not None
    study = new_study(storage=storage, study_name="s")
    study.set_user_attr(attributes.EPOCH_LIMIT, {"seconds": 120.0, "multiply_accumulates": 1234.0})
    again = limit_epochs(study, TASK, SPACE, TRAINER, 120.0)
    assert again is not None
    assert again.limit == 1234.0
    other = limit_epochs(study, TASK, SPACE, TRAINER, 240.0)
    assert other is not None
    assert other.limit == pytest.approx(2 * first.limit)
    study = new_study(storage=storage, study_name="s")
    study.set_user_attr(attributes.EPOCH_LIMIT, {"seconds": 240.0, "multiply_accumulates": "x"})
    assert limit_epochs(study, TASK, SPACE, TRAINER, 240.0) is not None


def finished(study: optuna.Study, seconds: float) -> None:
    attrs = {"train_seconds": seconds, "epochs": 2, "multiply_accumulates": 1000.0}
    study.add_trial(optuna.trial.create_trial(value=0.5, user_attrs=attrs))


def test_measured_seconds_correct_it() -> None:
    """Timing counts for two trainings: two that took four times as long halve the limit."""
    study = new_study()
    limit = limit_epochs(study, TASK, SPACE, TRAINER, 120.0)
    assert limit is not None
    before = limit.limit
    finished(study, seconds=2.0)
    limit(study, study.trials[-1])
    assert limit.limit == before
    for _ in range(2):
        finished(study, seconds=8.0)
    study.add_trial(optuna.trial.create_trial(value=0.5, user_attrs={"epochs": 0}))
    limit(study, study.trials[-1])
    assert limit.limit == pytest.approx(before / 4 ** (2 / 5))
    assert sampler(study).limits == {"multiply_accumulates": limit.limit}
    assert study.user_attrs[attributes.EPOCH_LIMIT] == {
        "seconds": 120.0,
        "multiply_accumulates": limit.limit,
    }


@pytest.mark.parametrize(
    "arguments", [{"limits": {"multiply_accumulates": 5000.0}}, {"n_candidates": 1}]
)
def test_a_limit_of_the_user_s_own_and_a_study_without_screening_are_left_alone(
    arguments: dict[str, Any],
) -> None:
    study = new_study(**arguments)
    assert limit_epochs(study, TASK, SPACE, TRAINER, 120.0) is None
    assert attributes.EPOCH_LIMIT not in study.user_attrs


def test_without_screening_or_a_timing_there_is_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = optuna.create_study(direction="maximize")
    assert limit_epochs(plain, TASK, SPACE, TRAINER, 120.0) is None
    EpochLimit(1.0, 1.0, 1.0, 1.0)(plain, optuna.trial.create_trial(value=1.0))
    monkeypatch.setattr(module, "expected_seconds", lambda *_: float("nan"))
    assert limit_epochs(new_study(), TASK, SPACE, TRAINER, 120.0) is None
    monkeypatch.setattr(ToySpace, "describe", lambda *_: {"parameters": 1.0})
    assert limit_epochs(new_study(), TASK, SPACE, TRAINER, 120.0) is None
