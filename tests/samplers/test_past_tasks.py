"""A sampler that knows past tasks: what it stores of them, and how it ranks candidates."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import numpy as np
import optuna
import pytest

from surrogate_nas import MetaSurrogate, PastTask, SurrogateSampler
from surrogate_nas.errors import SpaceError
from surrogate_nas.screening.acquisition import (
    ACQUISITIONS,
    Prediction,
    feasible,
    hypervolume,
    per_second,
    scalarized,
)
from tests.helpers import synthetic

N_TASKS = 3
WORTH = {"transfer", "past_task_weights", "past_tasks_ignored"}


@functools.cache
def surrogate() -> MetaSurrogate:
    """A surrogate of tasks that agree."""
    return MetaSurrogate.fit(synthetic.SPACE, synthetic.past_tasks(n_tasks=N_TASKS))


def studied(n_trials: int, **changes: Any) -> optuna.Study:
    options = {"surrogate": surrogate(), "n_candidates": 32, "seed": 0, **changes}
    study = optuna.create_study(
        direction="maximize", sampler=SurrogateSampler(synthetic.SPACE, **options)
    )
    study.optimize(synthetic.objective, n_trials=n_trials)
    return study


def test_the_study_says_what_past_tasks_are_worth_by_now() -> None:
    study = studied(6)
    early = dict(study.user_attrs)
    study.optimize(synthetic.objective, n_trials=6)
    late = study.user_attrs

    assert set(early) == set(late) == WORTH
    assert set(late["past_task_weights"]) == {f"past {k}" for k in range(N_TASKS)}
    # The numbers are those that the last trial was chosen by.
    assert late["transfer"] == pytest.approx(study.trials[-1].user_attrs["transfer"], abs=1e-4)
    known = surrogate().condition(study.trials[:-1])
    for name, weight in known.weights.items():
        assert late["past_task_weights"][name] == pytest.approx(weight, abs=1e-4)
    assert late["past_task_weights"] != early["past_task_weights"]
    assert late["past_tasks_ignored"] == []


def test_a_past_task_that_says_nothing_is_named_among_the_ignored() -> None:
    (good,) = synthetic.past_tasks(n_tasks=1)
    shuffled = np.random.default_rng(0).permutation(good.values).tolist()
    nonsense = PastTask("nonsense", good.params, shuffled)
    fitted = MetaSurrogate.fit(synthetic.SPACE, [good, nonsense])
    weights = studied(25, surrogate=fitted).user_attrs["past_task_weights"]

    assert list(weights) == ["past 0", "nonsense"], "the strongest comes first"
    assert abs(weights["nonsense"]) < 0.3 * weights["past 0"]


def test_without_past_tasks_the_study_says_nothing_of_them() -> None:
    assert studied(8, surrogate=None).user_attrs == {}


@pytest.mark.parametrize("n_control", [0, 1, 2])
def test_control_trials_are_predicted_to_be_no_better_than_others(n_control: int) -> None:
    study = studied(5, n_control_trials=n_control)
    predicted = [-trial.user_attrs["predicted_rank"] for trial in study.trials]

    assert len(predicted) == 5
    controls, others = predicted[1 : 1 + n_control], predicted[1 + n_control :]
    assert all(one < min(others) for one in controls)


def test_the_first_trial_and_those_after_the_control_are_better_than_it() -> None:
    values = np.array(
        [[trial.value for trial in studied(4, seed=seed).trials] for seed in range(6)]
    )
    first, control, *others = values.mean(axis=0)

    assert min(first, *others) > control + 1


@pytest.mark.parametrize("name", ["log_ei", "mean", "ucb"])
def test_trials_are_ranked_by_the_acquisition(name: str) -> None:
    study = studied(6, acquisition=name)
    last = study.trials[-1]
    target = surrogate().condition(study.trials[:-1])
    mean, std = target.latent([last.params])

    wanted = {"mean": mean, "ucb": mean + std}
    if name in wanted:
        assert last.user_attrs["acquisition"] == pytest.approx(wanted[name][0])
    assert last.user_attrs["predicted_value"] == pytest.approx(target.predict([last.params])[0][0])


def test_acquisitions_lead_to_different_studies() -> None:
    mean, ucb, log_ei = (
        [trial.params for trial in studied(8, acquisition=name).trials]
        for name in ("mean", "ucb", "log_ei")
    )

    assert log_ei == [trial.params for trial in studied(8).trials], "the default"
    assert mean != log_ei
    assert ucb != mean


def test_an_object_is_an_acquisition_too() -> None:
    named = [trial.params for trial in studied(6, acquisition="ucb").trials]

    same = studied(6, acquisition=pickle.loads(pickle.dumps(ACQUISITIONS["ucb"])))
    assert [trial.params for trial in same.trials] == named
    seen: list[tuple[int, ...]] = []

    def least(prediction: Prediction, front: Any) -> Any:
        seen.append(front.shape)
        return -prediction.mean[:, 0]

    study = studied(3, acquisition=least, n_control_trials=0)
    assert [trial.user_attrs["predicted_rank"] for trial in study.trials] == [
        trial.user_attrs["n_candidates"] for trial in study.trials
    ]
    assert set(seen) == {(0, 1), (1, 1)}, "empty before the first result"


def test_what_wraps_an_acquisition_changes_nothing_where_nothing_is_known() -> None:
    """Predictions of the sampler have no constraints and equal costs."""
    plain = [trial.params for trial in studied(6).trials]

    for wrapped in (feasible(), per_second(), hypervolume(), scalarized([1.0])):
        study = studied(6, acquisition=wrapped)
        assert [trial.params for trial in study.trials] == plain


def test_an_unknown_acquisition_is_refused() -> None:
    with pytest.raises(SpaceError) as caught:
        SurrogateSampler(synthetic.SPACE, acquisition="thompson")

    error = caught.value
    assert error.expected == "an acquisition among log_ei, mean, ucb, or an object like them"
    assert error.got == "'thompson'"
    assert "log_ei" in error.fix
