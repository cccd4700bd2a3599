from __future__ import annotations

import copy
import pickle
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import TrialState

from surrogate_nas.errors import InfeasibleError, SpaceError, SurrogateMismatchError
from surrogate_nas.past import PastTask
from surrogate_nas.sampler import SurrogateSampler
from surrogate_nas.screening import PoolMix
from surrogate_nas.space import Distributions, ParameterSpace
from surrogate_nas.spaces import ConvNetSpace
from surrogate_nas.surrogate import MetaSurrogate
from tests import synthetic
from tests.toys import ToySpace, ToyTask

SCREENED = {
    "predicted_value",
    "predicted_std",
    "predicted_rank",
    "acquisition",
    "n_candidates",
    "n_duplicates",
    "n_infeasible",
}
SMALL: Distributions = {
    "op": CategoricalDistribution(("conv", "pool", "skip")),
    "width": IntDistribution(1, 4),
}
SIZE = 12
"""Architectures of SMALL."""

experimental = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def sampler(space: Any = SMALL, **changes: Any) -> SurrogateSampler:
    """One that is fast enough for many trials."""
    return SurrogateSampler(space, **{"n_candidates": 16, "seed": 0, **changes})


def studied(
    chosen: BaseSampler,
    objective: Callable[[optuna.Trial], float],
    n_trials: int,
    catch: Sequence[type[Exception]] = (),
    **study: Any,
) -> optuna.Study:
    made = optuna.create_study(sampler=chosen, **{"direction": "maximize", **study})
    made.optimize(objective, n_trials=n_trials, catch=tuple(catch))
    return made


def small(trial: optuna.trial.BaseTrial) -> float:
    op = trial.suggest_categorical("op", ("conv", "pool", "skip"))
    return trial.suggest_int("width", 1, 4) + 10.0 * (op == "conv")


def random_base(seed: int) -> BaseSampler:
    return optuna.samplers.RandomSampler(seed=seed)


def narrow(trial: optuna.trial.BaseTrial) -> float:
    return float(trial.suggest_int("width", 1, 9))


def toy(trial: optuna.trial.BaseTrial) -> float:
    architecture = ToySpace().suggest(trial)
    return float(architecture["width"] + 3 * architecture.get("second_width", 0))


def parameters(study: optuna.Study) -> list[dict[str, Any]]:
    return [trial.params for trial in study.trials]


def distinct(study: optuna.Study) -> int:
    return len({str(sorted(trial.params.items())) for trial in study.trials})


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
    monkeypatch.setattr("surrogate_nas.sampler._ATTEMPTS", 3)
    monkeypatch.setattr("surrogate_nas.sampler._LAST_ATTEMPTS", 0)
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


def test_ask_and_tell() -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler())
    for _ in range(8):
        trial = study.ask()
        study.tell(trial, small(trial))

    assert distinct(study) == 8
    assert study.trials[-1].user_attrs.keys() == SCREENED


def test_several_objectives_are_the_base_s() -> None:
    def objective(trial: optuna.Trial) -> tuple[float, float]:
        return synthetic.objective(trial), -synthetic.objective(trial)

    ours, theirs = (
        optuna.create_study(directions=["maximize", "minimize"], sampler=chosen)
        for chosen in (sampler(synthetic.SPACE), TPESampler(seed=0))
    )
    for study in (ours, theirs):
        study.optimize(objective, n_trials=14)

    assert parameters(ours) == parameters(theirs)


def test_a_parameter_that_the_space_does_not_know_is_the_base_s() -> None:
    def objective(trial: optuna.Trial) -> float:
        return synthetic.objective(trial) + trial.suggest_float("extra", 0, 1)

    study = studied(sampler(synthetic.SPACE), objective, 8)

    assert all(0 <= trial.params["extra"] <= 1 for trial in study.trials)
    assert len({trial.params["extra"] for trial in study.trials}) == 8
    assert study.trials[-1].user_attrs.keys() == SCREENED


def test_without_a_space_it_is_inferred() -> None:
    study = studied(sampler(None), synthetic.objective, 10)

    assert study.trials[0].user_attrs == {}
    assert study.trials[-1].user_attrs.keys() == SCREENED


def test_without_a_space_it_is_the_surrogate_s() -> None:
    surrogate = MetaSurrogate.fit(synthetic.SPACE, synthetic.past_tasks())
    study = studied(sampler(None, surrogate=surrogate), synthetic.objective, 2)

    assert [trial.user_attrs.keys() for trial in study.trials] == [SCREENED | {"transfer"}] * 2


def test_trials_of_another_space_are_passed_over() -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler())
    stranger = optuna.trial.create_trial(
        params={"z": 0.5}, distributions={"z": FloatDistribution(0, 1)}, value=1e9
    )
    study.add_trials([stranger] * 6)
    study.optimize(small, n_trials=8)

    own = study.trials[6:]
    assert [trial.user_attrs.keys() == SCREENED for trial in own] == [False] * 5 + [True] * 3
    assert own[-1].user_attrs["predicted_value"] < 100


def test_values_that_are_not_finite_teach_nothing() -> None:
    def objective(trial: optuna.Trial) -> float:
        return small(trial) + (float("inf") if trial.number % 2 else 0.0)

    study = studied(sampler(), objective, SIZE)

    assert distinct(study) == SIZE
    assert study.trials[-2].user_attrs.keys() == SCREENED
    assert study.trials[-2].user_attrs["predicted_value"] < 100


# Conditional spaces


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_conditional_space_is_searched_well(direction: str) -> None:
    study = studied(sampler(ToySpace(), n_candidates=32), toy, 25, direction=direction)

    assert distinct(study) == 25
    assert study.best_value == (32 if direction == "maximize" else 2)
    for trial in study.trials:
        assert ("second_width" in trial.params) == (trial.params["depth"] == 2)


# Limits


@pytest.mark.parametrize("seed", range(5))
def test_nothing_beyond_a_limit_is_suggested(seed: int) -> None:
    space = ConvNetSpace().for_task(ToyTask())
    limit = 3e4

    def numbers(trial: optuna.trial.BaseTrial) -> dict[str, float]:
        return space.describe(space.suggest(trial))

    study = studied(
        sampler(space, limits={"parameters": limit}, seed=seed, base_sampler=random_base),
        lambda trial: numbers(trial)["depth"],
        20,
    )

    described = [space.describe(space.from_params(params)) for params in parameters(study)]
    assert max(one["parameters"] for one in described) <= limit
    assert sum(trial.user_attrs["n_infeasible"] for trial in study.trials) > 0


def test_limits_that_nothing_satisfies_stop_the_study() -> None:
    start = time.perf_counter()
    with pytest.raises(InfeasibleError, match="width <= 0"):
        studied(sampler(limits={"width": 0}, n_candidates=256), small, 1)

    assert time.perf_counter() - start < 5


def test_limits_hold_in_an_inferred_space() -> None:
    study = studied(sampler(None, limits={"width": 2}), small, 6)

    assert all(trial.params["width"] <= 2 for trial in study.trials[1:])


# Construction


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"n_candidates": 0}, SpaceError, "n_candidates of at least 1"),
        ({"limits": {"height": 1}}, SpaceError, "limits on width; got a limit on 'height'"),
        ({"limits": {"width": float("nan")}}, SpaceError, "got nan"),
        ({"limits": {"width": 2}, "n_candidates": 1}, SpaceError, "switches it off"),
        ({"space": 3}, SpaceError, "got 3"),
        ({"space": {}}, SpaceError, "without parameters"),
        ({"seed": -1}, ValueError, "non-negative"),
        ({"seed": 0.5}, TypeError, "integer"),
        (
            {"surrogate": MetaSurrogate.fit(synthetic.SPACE)},
            SurrogateMismatchError,
            "one of another space",
        ),
    ],
)
def test_what_cannot_be_used_is_refused(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        sampler(**{"space": SMALL, **changes})


def test_any_whole_number_is_a_seed() -> None:
    numpy_seeded = studied(sampler(seed=np.int64(3)), small, 4)

    assert parameters(numpy_seeded) == parameters(studied(sampler(seed=3), small, 4))
    assert parameters(numpy_seeded) != parameters(studied(sampler(seed=0), small, 4))


def test_without_a_seed_every_study_is_another() -> None:
    first, second = (
        studied(sampler(synthetic.SPACE, seed=None), synthetic.objective, 7) for _ in range(2)
    )

    assert parameters(first) != parameters(second)


@pytest.mark.parametrize(
    "duplicate",
    [copy.deepcopy, lambda chosen: pickle.loads(pickle.dumps(chosen))],
    ids=["deepcopy", "pickle"],
)
@pytest.mark.parametrize("space", [None, synthetic.SPACE, ToySpace()], ids=["none", "dict", "toy"])
def test_a_copy_goes_on_as_the_original(
    duplicate: Callable[[SurrogateSampler], SurrogateSampler], space: Any
) -> None:
    objective = toy if isinstance(space, ToySpace) else synthetic.objective
    study = studied(sampler(space), objective, 6)
    study.sampler = duplicate(study.sampler)  # type: ignore[arg-type]
    study.optimize(objective, n_trials=2)

    assert parameters(study)[:6] == parameters(studied(sampler(space), objective, 6))
    if space is not None:
        assert parameters(study) == parameters(studied(sampler(space), objective, 8))


def test_a_mix_without_the_base_needs_no_base() -> None:
    mix = PoolMix(n_base=0, near_observed=0.5, near_predicted=0.25)
    study = studied(sampler(synthetic.SPACE, mix=mix), synthetic.objective, 8)

    assert distinct(study) == 8
    assert study.trials[-1].user_attrs.keys() == SCREENED


@experimental
def test_gaussian_processes_propose_one_candidate() -> None:
    base = optuna.samplers.GPSampler(n_startup_trials=2, deterministic_objective=True, seed=0)
    study = studied(sampler(base_sampler=base, n_startup_trials=2), small, 4)

    assert distinct(study) == 4
    assert study.trials[-1].user_attrs.keys() == SCREENED


def test_a_define_by_run_function_is_a_space() -> None:
    study = studied(sampler(synthetic.objective), synthetic.objective, 7)

    assert study.trials[-1].user_attrs.keys() == SCREENED
    assert parameters(study) == parameters(
        studied(sampler(ParameterSpace(synthetic.SPACE)), synthetic.objective, 7)
    )


def test_reseeding_leaves_the_screening_alone() -> None:
    reseeded = sampler()
    reseeded.reseed_rng()

    assert parameters(studied(reseeded, small, 6)) == parameters(studied(sampler(), small, 6))


def test_a_relative_sample_may_be_asked_for_directly() -> None:
    chosen = sampler()
    study = studied(chosen, small, 6)
    trial = study._storage.get_trial(study._storage.create_new_trial(study._study_id))

    params = chosen.sample_relative(study, trial, {"width": IntDistribution(1, 4)})

    assert set(params) == {"width"}
    assert chosen.sample_relative(study, trial, {}) == {}


def test_studies_on_disk_are_searched(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nas.db"
    study = studied(sampler(ToySpace()), toy, 7, storage=url)

    assert parameters(study) == parameters(studied(sampler(ToySpace()), toy, 7))
    assert study.trials[-1].user_attrs.keys() == SCREENED


def test_a_worker_that_always_comes_second_draws_at_random(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Others that choose the same, whatever it chooses, never make it train what they train."""
    study = optuna.create_study(sampler=SurrogateSampler(ToySpace(), n_candidates=16, seed=0))
    rival, mine = study.ask(), study.ask()
    write = study._storage.set_trial_system_attr
    plans: list[dict[str, Any]] = []

    def copied(trial_id: int, key: str, value: Any) -> None:
        write(trial_id, key, value)
        if key == "surrogate_nas:params":
            plans.append(value)
            if len(plans) <= 8:
                write(rival._trial_id, key, value)

    monkeypatch.setattr(study._storage, "set_trial_system_attr", copied)
    architecture = ToySpace().suggest(mine)

    assert len(plans) == 9
    assert ToySpace().canonical(architecture) != ToySpace().canonical(
        ToySpace().from_params(plans[7])
    )
    assert study.trials[1].user_attrs["n_candidates"] == 1
