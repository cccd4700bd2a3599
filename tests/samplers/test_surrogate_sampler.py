from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState

from surrogate_nas.past.past_task import PastTask
from surrogate_nas.space import Distributions
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from tests.helpers import synthetic
from tests.helpers.samplers import (
    SCREENED,
    SIZE,
    SMALL,
    distinct,
    experimental,
    narrow,
    parameters,
    sampler,
    small,
    studied,
)
from tests.helpers.toys import ToySpace

# What is stored with a trial


def test_screened_trials_carry_flat_numbers() -> None:
    study = studied(sampler(synthetic.SPACE), synthetic.objective, 8)

    for trial in study.trials[:5]:
        assert set(trial.user_attrs) == {"n_candidates", "n_duplicates", "n_infeasible"}
    for trial in study.trials[5:]:
        assert set(trial.user_attrs) == SCREENED
        assert all(type(number) in (int, float) for number in trial.user_attrs.values())


@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1.0), ("minimize", -1.0)])
def test_predictions_have_the_target_s_sign_and_units(direction: str, sign: float) -> None:
    study = studied(
        sampler(synthetic.SPACE, n_candidates=32),
        lambda trial: sign * synthetic.objective(trial),
        30,
        direction=direction,
    )
    late = study.trials[15:]
    predicted = np.array([trial.user_attrs["predicted_value"] for trial in late])
    measured = np.array([trial.value for trial in late])

    assert np.abs(predicted - measured).mean() < 2
    assert sign * study.best_value > 82


def test_limits_and_repeats_are_counted() -> None:
    study = studied(sampler(limits={"width": 2}), small, 6)

    assert sum(trial.user_attrs["n_infeasible"] for trial in study.trials) > 0
    assert sum(trial.user_attrs["n_duplicates"] for trial in study.trials) > 0
    assert {trial.params["width"] for trial in study.trials} == {1, 2}


# Nothing is evaluated twice


def test_a_small_space_is_covered_without_repeats() -> None:
    study = studied(sampler(), small, SIZE)

    assert distinct(study) == SIZE


def test_whatever_becomes_of_a_trial_it_is_not_suggested_again() -> None:
    def objective(trial: optuna.Trial) -> float:
        value = small(trial)
        if trial.number % 4 == 0:
            raise ValueError("out of memory")
        if trial.number % 4 == 1:
            return float("nan")
        if trial.number % 4 == 2:
            raise optuna.TrialPruned
        return value

    study = studied(sampler(), objective, SIZE, catch=[ValueError])

    states = [trial.state for trial in study.trials]
    assert states[:4] == [
        TrialState.FAIL,
        TrialState.FAIL,
        TrialState.PRUNED,
        TrialState.COMPLETE,
    ]
    assert distinct(study) == SIZE


def test_a_trial_that_failed_halfway_through_its_parameters_is_not_suggested_again() -> None:
    halfway: list[str] = []

    def objective(trial: optuna.Trial) -> float:
        op = trial.suggest_categorical("op", ("conv", "pool", "skip"))
        if trial.number < 3:
            halfway.append(op)
            raise ValueError
        return trial.suggest_int("width", 1, 4) + float(len(op))

    study = studied(sampler(), objective, SIZE, catch=[ValueError])

    planned = [t.system_attrs["surrogate_nas:params"] for t in study.trials]
    assert len({str(sorted(plan.items())) for plan in planned}) == SIZE
    assert len(halfway) == 3


def test_trials_in_training_are_not_suggested_again() -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler())
    asked = [study.ask(SMALL) for _ in range(SIZE)]

    assert len({str(sorted(trial.params.items())) for trial in asked}) == SIZE


def test_a_trial_that_was_asked_for_half_its_parameters_is_in_training() -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler())
    asked = [study.ask() for _ in range(SIZE)]
    for trial in asked:
        trial.suggest_categorical("op", ("conv", "pool", "skip"))
    for trial in asked:
        trial.suggest_int("width", 1, 4)

    assert distinct(study) == SIZE


def test_waiting_trials_are_not_suggested() -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler())
    trial = study.ask()
    waiting = [{"op": op, "width": width} for op in ("conv", "pool") for width in (1, 2, 3, 4)]
    for params in waiting:
        study.enqueue_trial(params)
    small(trial)

    assert trial.params["op"] == "skip"


def test_equivalent_architectures_are_one() -> None:
    class Unordered(ToySpace.__mro__[1]):  # type: ignore[misc, name-defined]
        def suggest(self, trial: optuna.trial.BaseTrial) -> dict[str, int]:
            return {"a": trial.suggest_int("a", 0, 3), "b": trial.suggest_int("b", 0, 3)}

        def build(self, architecture: Any, task: Any) -> Any:
            raise NotImplementedError

        def canonical(self, architecture: Any) -> str:
            return str(sorted(architecture.values()))

    space = Unordered()
    study = studied(sampler(space), lambda trial: float(sum(space.suggest(trial).values())), 10)

    assert len({str(sorted(trial.params.values())) for trial in study.trials}) == 10


def test_an_exhausted_space_repeats_and_warns(caplog: pytest.LogCaptureFixture) -> None:
    study = studied(sampler(), small, SIZE + 2)

    assert len(study.trials) == SIZE + 2
    assert distinct(study) == SIZE
    assert [r.getMessage()[:37] for r in caplog.records if r.name.startswith("surrogate_nas")] == [
        "Every architecture of the space that "
    ] * 2


def test_a_space_with_one_architecture_is_searched() -> None:
    one: Distributions = {"op": CategoricalDistribution(("conv",)), "width": IntDistribution(3, 3)}
    study = optuna.create_study(direction="maximize", sampler=sampler(one))
    for _ in range(8):
        study.tell(study.ask(one), 1.0)

    assert parameters(study) == [{"op": "conv", "width": 3}] * 8


def test_a_space_with_one_feasible_architecture_is_searched() -> None:
    study = studied(sampler({"width": IntDistribution(1, 9)}, limits={"width": 1}), narrow, 8)

    assert parameters(study) == [{"width": 1}] * 8


def test_one_sampler_in_two_studies_knows_them_apart() -> None:
    chosen = sampler(seed=3)
    first = studied(chosen, small, SIZE)
    second = studied(chosen, small, SIZE)

    assert distinct(first) == distinct(second) == SIZE


# In the company of Optuna's other parts


def test_threads_never_choose_the_same() -> None:
    surrogate = MetaSurrogate.fit(
        SMALL,
        [
            PastTask(
                "past", [{"op": "conv", "width": w} for w in (1, 2, 3, 4)], [1.0, 2.0, 3.0, 4.0]
            )
        ],
    )
    barrier = threading.Barrier(4, timeout=20)

    def objective(trial: optuna.Trial) -> float:
        if trial.number < 4:
            barrier.wait()  # all ask at once
        value = small(trial)
        time.sleep(0.01)
        return value

    study = optuna.create_study(direction="maximize", sampler=sampler(surrogate=surrogate))
    study.optimize(objective, n_trials=SIZE, n_jobs=4)

    assert distinct(study) == SIZE
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)


@pytest.mark.parametrize("end", [None, TrialState.COMPLETE], ids=["runs", "is done"])
def test_workers_that_choose_the_same_at_once_part(
    end: TrialState | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = studied(sampler(), small, 6)
    storage = study._storage
    write = storage.set_trial_system_attr
    rivals: list[dict[str, Any]] = []

    def raced(trial_id: int, key: str, value: Any) -> None:
        """Let another worker, unseen so far, choose the same first."""
        if key == "surrogate_nas:params" and len(rivals) < 2:
            rivals.append(value)
            rival = storage.create_new_trial(study._study_id)
            write(rival, key, value)
            if end is not None:
                for name, distribution in SMALL.items():
                    internal = distribution.to_internal_repr(value[name])
                    storage.set_trial_param(rival, name, internal, distribution)
                storage.set_trial_state_values(rival, end, [1.0])
        write(trial_id, key, value)

    monkeypatch.setattr(storage, "set_trial_system_attr", raced)
    trial = study.ask()
    small(trial)

    assert len(rivals) == 2
    assert rivals[0] != rivals[1]
    assert trial.params not in rivals


def test_a_worker_that_is_always_late_chooses_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("surrogate_nas.samplers.trial_draws._MOST_ATTEMPTS", 3)
    study = studied(sampler(), small, 6)
    storage = study._storage
    write = storage.set_trial_system_attr
    rivals: list[dict[str, Any]] = []

    def raced(trial_id: int, key: str, value: Any) -> None:
        if key == "surrogate_nas:params":
            rivals.append(value)
            write(storage.create_new_trial(study._study_id), key, value)
        write(trial_id, key, value)

    monkeypatch.setattr(storage, "set_trial_system_attr", raced)
    trial = study.ask()
    small(trial)

    assert len(rivals) == 3
    assert trial.params == rivals[-1]


@pytest.mark.parametrize(
    "pruner",
    [
        optuna.pruners.MedianPruner(n_startup_trials=2),
        optuna.pruners.HyperbandPruner(max_resource=9),
    ],
    ids=["median", "hyperband"],
)
def test_pruners_work_with_real_reports(pruner: optuna.pruners.BasePruner) -> None:
    def objective(trial: optuna.Trial) -> float:
        value = synthetic.objective(trial)
        for step in range(9):
            trial.report(value * (1 - 0.5 ** (step + 1)), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    study = studied(sampler(synthetic.SPACE), objective, 24, pruner=pruner)

    states = {trial.state for trial in study.trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}
    assert distinct(study) == 24
    assert study.trials[-1].user_attrs.keys() == SCREENED
    assert study.best_value > 80


def test_an_enqueued_architecture_is_evaluated_as_it_is() -> None:
    params = {"op": "skip", "width": 2}
    study = optuna.create_study(direction="maximize", sampler=sampler())
    study.enqueue_trial(params)
    study.optimize(small, n_trials=SIZE)

    assert study.trials[0].params == params
    assert study.trials[0].user_attrs == {}
    assert distinct(study) == SIZE


def test_the_rest_of_a_partly_enqueued_architecture_is_screened() -> None:
    study = studied(sampler(synthetic.SPACE), synthetic.objective, 10)
    fixed = {"op0": "e", "op3": "d"}
    study.enqueue_trial(fixed)
    study.optimize(synthetic.objective, n_trials=1)

    trial = study.trials[-1]
    assert {name: trial.params[name] for name in fixed} == fixed
    assert trial.user_attrs.keys() == SCREENED
    predicted, _ = MetaSurrogate.fit(synthetic.SPACE).predict(
        [trial.params], given=study.trials[:10]
    )
    assert trial.user_attrs["predicted_value"] == pytest.approx(predicted[0])


@experimental
def test_partly_fixed_parameters_from_outside_are_kept() -> None:
    fixed = optuna.samplers.PartialFixedSampler({"op": "pool"}, sampler())
    study = studied(fixed, small, 6)

    assert {trial.params["op"] for trial in study.trials} == {"pool"}
    assert {trial.params["width"] for trial in study.trials} <= {1, 2, 3, 4}
