from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FixedTrial, TrialState

import surrogate_nas as sn
from surrogate_nas.running.observers import Evaluation, Observer
from tests.helpers.toys import ARCHITECTURE, ToySpace, ToyTask

TRAINER = sn.Trainer(epochs=2, batch_size=50)


class Hears(Observer):
    """Writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def begun(self, evaluation: Evaluation) -> None:
        self.heard.append(("begun", dict(evaluation.architecture), evaluation.network))

    def built(self, evaluation: Evaluation) -> None:
        assert evaluation.network is not None
        self.heard.append(("built", dict(evaluation.architecture), evaluation.outcome))

    def epoch(self, evaluation: Evaluation, epoch: int, loss: float) -> None:
        assert loss > 0
        self.heard.append(("epoch", epoch))

    def ended(self, evaluation: Evaluation) -> None:
        self.heard.append(("ended", evaluation.value, evaluation.failure))


def objective(observer: Observer, **settings: Any) -> sn.Objective:
    return sn.Objective(
        ToyTask(), ToySpace(), TRAINER, dashboard=False, observers=[observer], **settings
    )


def test_an_observer_hears_of_each_step() -> None:
    hears = Hears()
    value = objective(hears)(FixedTrial(dict(ARCHITECTURE)))
    assert hears.heard == [
        ("begun", {}, None),
        ("built", ARCHITECTURE, None),
        ("epoch", 0),
        ("epoch", 1),
        ("ended", value, None),
    ]


class Refuses(sn.SearchSpace):
    """Cannot build what it suggests."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> Any:
        return ToySpace().suggest(trial)

    def build(self, architecture: Any, task: Any) -> Any:
        raise ValueError("no such layer")


def test_an_observer_hears_how_a_network_failed() -> None:
    hears = Hears()
    study = optuna.create_study(direction="maximize")
    refusing = sn.Objective(ToyTask(), Refuses(), TRAINER, dashboard=False, observers=[hears])
    study.optimize(refusing, n_trials=1)
    (begun, (word, value, failure)) = hears.heard
    assert begun[0] == "begun"
    assert (word, str(failure)) == ("ended", "no such layer")
    assert math.isnan(value)


class Stops(Hears):
    """Ctrl-C in the first epoch."""

    def epoch(self, evaluation: Evaluation, epoch: int, loss: float) -> None:
        raise KeyboardInterrupt


def test_an_observer_hears_the_end_of_an_interrupted_trial(tmp_path: Path) -> None:
    """Which has not failed: its checkpoint stays."""
    stops = Stops()
    study = optuna.create_study(direction="maximize")
    with pytest.raises(KeyboardInterrupt):
        study.optimize(objective(stops), n_trials=1)
    assert stops.heard[-1][0] == "ended"
    assert stops.heard[-1][2] is None
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.WAITING]


class Marks(Observer):
    """Changes weights before the training, as warm weights do."""

    def built(self, evaluation: Evaluation) -> None:
        assert evaluation.network is not None
        for parameter in evaluation.network.parameters():
            parameter.data.zero_()


def test_an_observer_may_change_the_first_weights() -> None:
    trial = FixedTrial(dict(ARCHITECTURE))
    assert objective(Marks())(trial) != objective(Observer())(trial)
