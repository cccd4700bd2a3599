from __future__ import annotations

import logging

import numpy as np
import optuna
import pytest

from surrogate_nas.results.report.choices import choices_of
from surrogate_nas.space import ParameterSpace

PLAIN = ParameterSpace({})


def objective(trial: optuna.Trial) -> float:
    value = 2.0 if trial.suggest_categorical("op", ["conv", "pool", "skip"]) == "conv" else 0.0
    value += trial.suggest_float("rate", 0.0, 1.0)
    trial.suggest_int("idle", 0, 3)
    if trial.suggest_categorical("deep", [True, False]):
        trial.suggest_int("depth", 1, 3)
    return value


@pytest.fixture(scope="module")
def study() -> optuna.Study:
    made = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
    made.optimize(objective, 150)
    return made


def test_what_matters_most_comes_first_with_its_effect(study: optuna.Study) -> None:
    """In the metric's units: a convolution against the rest is worth 2."""
    found = choices_of(study, study.trials, PLAIN, maximize=True)

    assert found is not None
    first, second = found.choices[:2]
    assert (first.name, second.name) == ("op", "rate")
    assert first.best.value == "conv"
    assert first.best.effect - first.worst.effect == pytest.approx(2.0, abs=0.2)
    assert first.best.n_trials == sum(t.params["op"] == "conv" for t in study.trials)
    assert second.best.value.startswith("above 0.")
    assert second.worst.value.startswith("up to 0.")
    assert sum(c.share for c in found.choices) == pytest.approx(1.0)
    assert found.held_out > 0.9
    assert found.n_left_out == 0


def test_the_direction_says_which_value_is_best(study: optuna.Study) -> None:
    """Smaller is better: convolutions are the worst."""
    found = choices_of(study, study.trials, PLAIN, maximize=False)

    assert found is not None
    assert found.choices[0].worst.value == "conv"


def test_contributions_add_up_to_predictions(study: optuna.Study) -> None:
    """SHAP values are additive, so mean effects weighted by trials vanish."""
    found = choices_of(study, study.trials, PLAIN, maximize=True)

    assert found is not None
    (op,) = (c for c in found.choices if c.name == "op")
    n = len(study.trials)
    n_conv = op.best.n_trials
    rest = -op.best.effect * n_conv / (n - n_conv)
    assert op.worst.effect == pytest.approx(rest, abs=0.15)


def test_optuna_s_importances_stand_beside_them(study: optuna.Study) -> None:
    """They are shares, too."""
    found = choices_of(study, study.trials, PLAIN, maximize=True)

    assert found is not None
    importances = {c.name: c.importance for c in found.choices}
    assert importances["op"] is not None
    assert importances["idle"] is not None
    assert importances["op"] > importances["idle"]


def test_a_conditional_parameter_may_be_absent(study: optuna.Study) -> None:
    """Its absence is a value, too."""
    found = choices_of(study, study.trials, PLAIN, maximize=True)

    assert found is not None
    (depth,) = (c for c in found.choices if c.name == "depth")
    assert {depth.best.value, depth.worst.value} <= {"1", "2", "3", "not there"}


def test_noise_is_not_trusted() -> None:
    """Held-out rank correlation says so."""
    rng = np.random.default_rng(0)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda t: t.suggest_float("x", 0, 1) * 0 + float(rng.random()), 60)
    found = choices_of(study, study.trials, PLAIN, maximize=False)

    assert found is not None
    assert found.held_out < 0.3


def test_too_few_or_equal_results_say_nothing(study: optuna.Study) -> None:
    """Eleven trials, no parameters, one value."""
    assert choices_of(study, study.trials[:11], PLAIN, maximize=True) is None
    bare = optuna.create_study()
    bare.optimize(lambda t: 1.0 * t.number, 20)
    assert choices_of(bare, bare.trials, PLAIN, maximize=True) is None


def test_importances_that_optuna_refuses_are_left_out(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The rest is shown."""

    def refusing(*_: object) -> None:
        raise ValueError("not this study")

    monkeypatch.setattr(optuna.importance, "get_param_importances", refusing)
    with caplog.at_level(logging.INFO, "surrogate_nas"):
        found = choices_of(study, study.trials, PLAIN, maximize=True)

    assert found is not None
    assert all(choice.importance is None for choice in found.choices)
    assert "not this study" in caplog.text
