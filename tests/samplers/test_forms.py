"""The sampler where studies, spaces and arguments are of other kinds."""

from __future__ import annotations

import copy
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import TPESampler

from surrogate_nas.errors import InfeasibleError, SpaceError, SurrogateMismatchError
from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.screening.rules import PoolMix
from surrogate_nas.space import ParameterSpace
from surrogate_nas.spaces import ConvNetSpace
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from tests.helpers import synthetic
from tests.helpers.samplers import (
    SCREENED,
    SIZE,
    SMALL,
    distinct,
    experimental,
    parameters,
    random_base,
    sampler,
    small,
    studied,
    toy,
)
from tests.helpers.toys import ToySpace, ToyTask


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

    # The units of two results are not known.
    told = (SCREENED - {"predicted_value", "predicted_std"}) | {"transfer"}
    assert [trial.user_attrs.keys() for trial in study.trials] == [told] * 2


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


@pytest.mark.no_cover
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_conditional_space_is_searched_well(direction: str) -> None:
    study = studied(sampler(ToySpace(), n_candidates=32), toy, 25, direction=direction)

    assert distinct(study) == 25
    assert study.best_value == (32 if direction == "maximize" else 2)
    for trial in study.trials:
        assert ("second_width" in trial.params) == (trial.params["depth"] == 2)


# Limits


@pytest.mark.no_cover
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
        ({"n_candidates": 0}, SpaceError, "from 1 as n_candidates"),
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
