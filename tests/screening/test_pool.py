from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch import nn

from surrogate_nas.errors import InfeasibleError, SpaceError
from surrogate_nas.screening.pool import Limits, Pool
from surrogate_nas.space import Architecture, ParameterSpace, SearchSpace, TaskShape
from surrogate_nas.space.draw import Chooser, contains, moved, random_chooser, replay_chooser
from tests.helpers.toys import ToySpace

TOY_SIZE = 4 * 2 * 2 * (1 + 4)
"""Architectures of ToySpace."""


@final
class Sized(SearchSpace):
    """Numbers x and y in 0..9; x + y and the larger of them are known before training.

    Args:
        seconds: How long it takes to describe one.
        ordered: Whether (x, y) and (y, x) are different networks.
    """

    def __init__(self, seconds: float = 0.0, ordered: bool = True) -> None:
        self.seconds = seconds
        self.ordered = ordered
        self.described: list[tuple[int, int]] = []

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        return {"x": trial.suggest_int("x", 0, 9), "y": trial.suggest_int("y", 0, 9)}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        raise NotImplementedError

    def canonical(self, architecture: Architecture) -> str:
        pair = (architecture["x"], architecture["y"])
        return str(pair if self.ordered else tuple(sorted(pair)))

    def describe(self, architecture: Architecture) -> dict[str, float]:
        time.sleep(self.seconds)
        self.described.append((architecture["x"], architecture["y"]))
        return {
            "sum": float(architecture["x"] + architecture["y"]),
            "max": float(max(architecture.values())),
        }


def pool(
    space: SearchSpace,
    limits: Mapping[str, float] | None = None,
    seen: frozenset[str] = frozenset(),
    fixed: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Pool:
    return Pool(space, Limits(space, limits), seen, fixed or {}, np.random.default_rng(seed))


def repeat(params: Mapping[str, Any]) -> Chooser:
    return replay_chooser(params, random_chooser(np.random.default_rng(0)))


def keys(filled: Pool) -> list[str]:
    return [candidate.key for candidate in filled.candidates]


def test_candidates_are_distinct_architectures_of_the_space() -> None:
    space = ToySpace()
    filled = pool(space)
    filled.add_random(40)

    assert len(set(keys(filled))) == 40
    for candidate in filled.candidates:
        assert space.canonical(space.from_params(candidate.params)) == candidate.key
        assert list(candidate.distributions) == list(candidate.params)
        assert candidate.source == "random"
        assert dict(candidate.system_attrs) == {}


def test_a_pool_of_more_than_the_space_has_holds_the_whole_space() -> None:
    filled = pool(ToySpace())
    filled.add_random(10 * TOY_SIZE)

    assert len(filled.candidates) == TOY_SIZE


def test_the_same_seed_gives_the_same_pool() -> None:
    pools = [pool(ToySpace(), seed=seed) for seed in (3, 3, 4)]
    for one in pools:
        one.add_random(10)
        one.add_neighbours([one.candidates[0].params], 5)

    assert keys(pools[0]) == keys(pools[1]) != keys(pools[2])


def test_what_was_tried_is_turned_away_and_counted() -> None:
    space = ToySpace()
    first = pool(space)
    first.add_random(TOY_SIZE - 1)
    seen = frozenset(keys(first))

    second = pool(space, seen=seen)
    second.add_random(1)

    assert len(second.candidates) == 1
    assert second.candidates[0].key not in seen
    assert second.n_duplicates > 0
    assert second.n_infeasible == 0


def test_a_candidate_drawn_twice_is_kept_once_and_no_duplicate_of_the_study() -> None:
    filled = pool(Sized(ordered=False))
    for params in ({"x": 1, "y": 2}, {"x": 2, "y": 1}, {"x": 1, "y": 2}):
        filled.add(repeat(params), "base")

    assert len(filled.candidates) == 1
    assert filled.n_duplicates == 0


def test_an_exhausted_space_offers_a_repeat() -> None:
    space = ToySpace()
    everything = pool(space)
    everything.add_random(TOY_SIZE)

    empty = pool(space, seen=frozenset(keys(everything)))
    empty.add_random(3)

    assert empty.candidates == []
    assert empty.repeat is not None
    assert empty.repeat.key in keys(everything)


def test_the_one_architecture_left_is_found_behind_one_that_was_tried() -> None:
    space = Sized()
    everything = pool(space)
    everything.add_random(100)
    left = everything.candidates[77].key

    found = pool(space, seen=frozenset(keys(everything)) - {left})
    found.add_random(1)

    assert keys(found) == [left]


def test_a_proposal_keeps_its_values_and_attributes_and_is_completed() -> None:
    filled = pool(ToySpace())
    filled.add(repeat({"width": 6, "depth": 2, "other": 1}), "base", {"tpe:note": 1})

    (candidate,) = filled.candidates
    assert (candidate.params["width"], candidate.params["depth"]) == (6, 2)
    assert set(candidate.params) == {"width", "kernel", "activation", "depth", "second_width"}
    assert candidate.source == "base"
    assert candidate.system_attrs == {"tpe:note": 1}


def test_fixed_parameters_are_in_every_candidate() -> None:
    filled = pool(ToySpace(), fixed={"depth": 2, "kernel": 1})
    filled.add(repeat({"depth": 1, "kernel": 3}), "base")
    filled.add_random(5)
    filled.add_neighbours([filled.candidates[0].params], 5)

    fixed = {(c.params["depth"], c.params["kernel"]) for c in filled.candidates}
    assert fixed == {(2, 1)}
    assert {c.source for c in filled.candidates} == {"base", "random", "neighbour"}


def test_a_neighbour_of_a_wholly_fixed_architecture_is_itself() -> None:
    params = {"width": 2, "kernel": 1, "activation": "relu", "depth": 1}
    filled = pool(ToySpace(), fixed=params)
    filled.add_neighbours([params], 5)

    assert [c.params for c in filled.candidates] == [params]


def test_a_neighbour_differs_in_one_parameter_and_what_hangs_on_it() -> None:
    parent = {"width": 4, "kernel": 1, "activation": "relu", "depth": 1}
    filled = pool(ToySpace())
    filled.add_neighbours([parent], 8)

    assert len(filled.candidates) >= 5
    for candidate in filled.candidates:
        changed = {name for name in parent if candidate.params[name] != parent[name]}
        assert len(changed) == 1
        assert ("second_width" in candidate.params) == (changed == {"depth"})


def test_parents_take_turns() -> None:
    space = ParameterSpace({f"x{i}": IntDistribution(0, 9) for i in range(5)})
    filled = pool(space)
    filled.add_neighbours([dict.fromkeys(("x0", "x1", "x2", "x3", "x4"), at) for at in (0, 9)], 4)

    kept = [float(np.median(list(c.params.values()))) for c in filled.candidates]
    assert kept == [0, 9, 0, 9]


def test_without_parents_there_are_no_neighbours() -> None:
    filled = pool(ToySpace())
    filled.add_neighbours([], 5)

    assert filled.candidates == []


def test_nothing_beyond_a_limit_is_kept() -> None:
    filled = pool(Sized(), limits={"sum": 4, "max": 3})
    filled.add_random(100)

    drawn = {(c.params["x"], c.params["y"]) for c in filled.candidates}
    assert drawn == {(x, y) for x in range(4) for y in range(4) if x + y <= 4}
    assert filled.n_infeasible > 0


def test_a_slow_description_is_asked_for_once_an_architecture() -> None:
    space = Sized(seconds=0.002)
    limits = Limits(space, {"sum": 12})
    for seed in range(3):
        filled = Pool(space, limits, frozenset(), {}, np.random.default_rng(seed))
        filled.add_random(100)

    described = space.described[1:]  # the first finds out the names
    assert len(described) == len(set(described)) == 100


def test_equivalent_architectures_of_unequal_size_are_judged_each() -> None:
    space = Sized(ordered=False)
    limits = Limits(space, {"sum": 3})

    assert limits.exceeded({"x": 1, "y": 2}, {"x": 1, "y": 2}) == ()
    assert limits.exceeded({"x": 2, "y": 1}, {"x": 2, "y": 2}) == ("sum",)


def test_without_limits_nothing_is_described() -> None:
    space = Sized()
    filled = pool(space)
    filled.add_random(10)

    assert space.described == []


def test_limits_that_nothing_satisfies_are_named_in_bounded_time() -> None:
    space = Sized(seconds=0.001)
    start = time.perf_counter()
    with pytest.raises(InfeasibleError, match="sum <= -1, max <= 0") as caught:
        pool(space, limits={"max": 0, "sum": -1}).add_random(256)

    assert time.perf_counter() - start < 5
    assert "'sum' was exceeded 2000 times" in caught.value.got


def test_a_limit_that_one_architecture_satisfies_finds_it() -> None:
    filled = pool(Sized(), limits={"sum": 0})
    filled.add_random(1)

    assert [c.params for c in filled.candidates] == [{"x": 0, "y": 0}]


def test_where_only_tried_architectures_are_feasible_one_is_repeated() -> None:
    filled = pool(Sized(), limits={"sum": 0}, seen=frozenset({"(0, 0)"}))
    filled.add_random(1)

    assert filled.candidates == []
    assert filled.repeat is not None
    assert filled.repeat.params == {"x": 0, "y": 0}


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"params": 1e6}, "limits on max, sum; got a limit on 'params'"),
        ({"sum": float("nan")}, "a number as limit on 'sum'; got nan"),
        ({"sum": "10"}, "got '10'"),
        ({"sum": True}, "got True"),
        ({"sum": None}, "got None"),
    ],
)
def test_an_unusable_limit_is_refused(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        Limits(Sized(), limits)


def test_an_infinite_limit_is_none() -> None:
    filled = pool(Sized(), limits={"sum": float("inf")})
    filled.add_random(100)

    assert len(filled.candidates) == 100


numeric: list[BaseDistribution] = [
    FloatDistribution(-2.0, 3.0),
    FloatDistribution(1e-4, 1e-1, log=True),
    FloatDistribution(0.0, 1.0, step=0.25),
    IntDistribution(1, 9),
    IntDistribution(1, 1000, log=True),
    IntDistribution(0, 1),
    IntDistribution(2, 8, step=3),
]


@pytest.mark.parametrize(
    "distribution", [*numeric, CategoricalDistribution(("a", "b", None)), IntDistribution(3, 3)]
)
@given(seed=st.integers(0, 2**31))
@settings(max_examples=25, deadline=None)
def test_a_move_stays_in_range_and_moves(distribution: BaseDistribution, seed: int) -> None:
    rng = np.random.default_rng(seed)
    value = random_chooser(rng)("x", distribution)
    others = {moved(distribution, value, rng) for _ in range(20)}

    assert all(contains(distribution, other) for other in others)
    assert (value in others) == distribution.single()


def test_a_category_moves_to_any_other() -> None:
    distribution = CategoricalDistribution(("a", "b", "c"))
    rng = np.random.default_rng(0)

    assert {moved(distribution, "b", rng) for _ in range(30)} == {"a", "c"}


def test_choices_that_are_all_equal_leave_nowhere_to_go() -> None:
    assert moved(CategoricalDistribution((1, True)), 1, np.random.default_rng(0)) == 1


def test_a_number_moves_a_fifth_of_its_range() -> None:
    rng = np.random.default_rng(0)
    steps = [moved(FloatDistribution(0.0, 100.0), 50.0, rng) - 50.0 for _ in range(2000)]

    assert np.std(steps) == pytest.approx(20, rel=0.1)


def test_any_function_of_a_trial_is_a_space() -> None:
    def branches(trial: optuna.trial.BaseTrial) -> None:
        if trial.suggest_categorical("deep", (True, False)):
            trial.suggest_int("layers", 2, 4)

    function: Callable[[optuna.trial.BaseTrial], Any] = branches
    filled = pool(ParameterSpace(function))
    filled.add_random(100)

    assert len(filled.candidates) == 4
