"""Scores that are accumulated batch by batch, and what is no score."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState
from torch import nn

from surrogate_nas.errors import TrainingError
from surrogate_nas.metric import Metric
from surrogate_nas.running.objective import Objective
from surrogate_nas.training import scoring
from surrogate_nas.training.trainer import Trainer
from tests.helpers.domains.tiny.tagger_space import TaggerSpace
from tests.helpers.tiny import tagger, tagging
from tests.helpers.toys import ARCHITECTURE, ToySpace, ToyTask

TRAINER = Trainer(epochs=1, device="cpu")


class Gives:
    """A scorer that gives whatever it is told to."""

    def __init__(self, value: object) -> None:
        self._value = value

    def update(self, outputs: Any, targets: Any, /) -> None: ...

    def compute(self) -> Any:
        return self._value


def scored_by(value: object) -> float:
    task = tagging()
    task.metric = Metric("given", "maximize", scorer=lambda: Gives(value))
    return TRAINER.evaluate(tagger(), task, task.validation)


@pytest.mark.parametrize("value", [0.5, torch.tensor(0.5), np.float32(0.5), np.float64(0.5)])
def test_numbers_of_all_kinds_are_scores(value: object) -> None:
    assert scored_by(value) == 0.5
    assert type(scored_by(value)) is float


@pytest.mark.parametrize("value", [None, "0.5", {"f1": 0.5}, torch.zeros(2)])
def test_a_scorer_that_gives_no_number_is_named(value: object) -> None:
    with pytest.raises(TrainingError, match=r"number as the given.*Return a float from Gives\.co"):
        scored_by(value)


def test_a_trial_fails_with_the_name_of_such_a_scorer() -> None:
    task = tagging()
    task.metric = Metric("given", "maximize", scorer=lambda: Gives("high"))
    study = optuna.create_study(direction="maximize")
    study.optimize(Objective(task, TaggerSpace(), TRAINER, dashboard=False), n_trials=1)
    (trial,) = study.trials
    assert trial.state is TrialState.FAIL
    assert "'high' of type str from Gives" in trial.user_attrs["stop_reason"]


def test_a_score_that_is_no_number_is_named() -> None:
    task = ToyTask()
    task.metric = Metric("accuracy", "maximize", lambda targets, outputs: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(TrainingError, match=r"None of type NoneType from ToyTask\.score"):
        TRAINER.evaluate(ToySpace().build(ARCHITECTURE, task), task, task.test)


def test_batches_of_any_size_give_the_same_score(monkeypatch: pytest.MonkeyPatch) -> None:
    task, network = tagging(), tagger()
    whole = TRAINER.evaluate(network, task, task.train)
    monkeypatch.setitem(scoring._BATCHES, "cpu", 7)
    assert TRAINER.evaluate(network, task, task.train) == whole
    assert 0 < whole < 1


def test_a_scorer_sees_no_output_that_is_not_finite() -> None:
    class Refusing(Gives):
        def update(self, outputs: Any, targets: Any, /) -> None:
            raise ValueError("not finite")

    task = ToyTask()
    task.metric = Metric("given", "maximize", scorer=lambda: Refusing(1.0))
    network = ToySpace().build(ARCHITECTURE, task)
    with torch.no_grad():
        next(network.parameters()).fill_(torch.nan)
    assert math.isnan(TRAINER.evaluate(network, task, task.test))


def test_after_memory_ran_out_counting_begins_again(monkeypatch: pytest.MonkeyPatch) -> None:
    task, network = tagging(), tagger()
    whole = TRAINER.evaluate(network, task, task.train)
    failed: list[bool] = []

    class Small(nn.Module):
        def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> Any:
            if len(tokens) == 20 and not failed:  # the last batch of 20: 40 are counted by then
                failed.append(True)
                raise torch.OutOfMemoryError("out of memory")
            return network(tokens, lengths)

    monkeypatch.setitem(scoring._BATCHES, "cpu", 40)
    assert TRAINER.evaluate(Small(), task, task.train) == whole
    assert failed
