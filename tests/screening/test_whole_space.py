"""A small space as the pool itself: every architecture, without drawing."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, final

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from torch import nn

import surrogate_nas as sn
from surrogate_nas.screening.acquisition import ACQUISITIONS, Prediction
from surrogate_nas.screening.choice import Choice
from surrogate_nas.screening.known_trials import TargetTrials
from surrogate_nas.screening.pool import Limits
from surrogate_nas.screening.rules import ScreeningRules
from surrogate_nas.screening.screener import Screener
from surrogate_nas.screening.whole_space import WholeSpace, every_draw
from surrogate_nas.space import Architecture, ParameterSpace, SearchSpace, TaskShape, as_space
from surrogate_nas.space.draw import Draw, random_chooser
from tests.helpers.words import NOTHING, SPACE, fresh, key, propose, results, three

SIZE = 5**4


@final
class Unordered(SearchSpace):
    """Three layers whose order makes no difference; without any there is nothing to train."""

    def suggest(self, trial: optuna.trial.BaseTrial) -> Architecture:
        kinds = ("none", "pool", "narrow", "wide")
        return {name: trial.suggest_categorical(name, kinds) for name in "abc"}

    def build(self, architecture: Architecture, task: TaskShape) -> nn.Module:
        raise NotImplementedError

    def canonical(self, architecture: Architecture) -> str:
        return "".join(sorted(architecture.values()))

    def is_degenerate(self, architecture: Architecture) -> bool:
        return set(architecture.values()) == {"none"}


def conditional(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    """3 + 2 x (1 + 2) + 4 x 1 architectures: each kind has other parameters."""
    kind = trial.suggest_categorical("kind", ["flat", "deep", "wide"])
    if kind == "flat":
        return {"kind": kind, "x": trial.suggest_int("x", 2, 6, step=2)}
    if kind == "deep":
        layers = trial.suggest_categorical("layers", [1, 2])
        rate = trial.suggest_float("rate", 0.1, 0.3, step=0.1)
        return {"kind": kind, "layers": layers, "rate": rate}
    return {"kind": kind, "width": trial.suggest_int("width", 1, 4, log=True), "one": 1}


def listed(space: SearchSpace) -> list[dict[str, Any]]:
    """Parameters of every combination."""
    return [one[0].params for one in every_draw(space) if one is not None]


def whole(space: SearchSpace = SPACE, limits: dict[str, float] | None = None) -> WholeSpace:
    found = WholeSpace.of(space, Limits(space, limits), 10_000)
    assert found is not None
    return found


def test_every_combination_comes_once_whatever_depends_on_what() -> None:
    space = as_space(conditional)
    every = [tuple(params.items()) for params in listed(space)]
    rng = np.random.default_rng(0)
    drawn = set()
    for _ in range(1000):
        draw = Draw(random_chooser(rng))
        space.suggest(draw)
        drawn.add(tuple(draw.params.items()))

    assert len(every) == len(set(every)) == 3 + 2 * 3 + 4
    assert set(every) == drawn


def test_a_product_is_listed_in_order() -> None:
    words = ["".join(params.values()) for params in listed(SPACE)]

    assert words == ["".join(letters) for letters in itertools.product("abcde", repeat=4)]


@pytest.mark.parametrize(
    ("distribution", "n"),
    [
        (IntDistribution(3, 3), 1),
        (IntDistribution(0, 6, step=3), 3),
        (FloatDistribution(0.5, 0.5), 1),
        (FloatDistribution(0.0, 1.0, step=0.1), 11),
        (CategoricalDistribution(["a"]), 1),
        (FloatDistribution(0.0, 1.0), None),
        (FloatDistribution(1e-3, 1.0, log=True), None),
    ],
)
def test_the_values_of_one_parameter(distribution: BaseDistribution, n: int | None) -> None:
    """All of them are allowed; a range of real numbers has no end."""
    space = ParameterSpace({"x": distribution})
    found = list(every_draw(space))

    if n is None:
        assert found == [None]
        assert WholeSpace.of(space, Limits(space, None), 100) is None
    else:
        assert len(listed(space)) == n
        assert len({params["x"] for params in listed(space)}) == n
        assert all(
            distribution._contains(distribution.to_internal_repr(params["x"]))
            for params in listed(space)
        )


def test_a_space_of_more_than_wanted_is_none() -> None:
    limits = Limits(SPACE, None)

    assert WholeSpace.of(SPACE, limits, SIZE - 1) is None
    assert len(whole()) == SIZE


def test_a_large_space_is_not_listed_to_find_out() -> None:
    """A few draws tell: CellSpace has 187,500 combinations."""
    draws = 0

    def suggest(trial: optuna.trial.BaseTrial) -> Any:
        nonlocal draws
        draws += 1
        return sn.spaces.CellSpace().suggest(trial)

    space = as_space(suggest)
    draws = 0

    assert WholeSpace.of(space, Limits(space, None), 20_000) is None
    assert draws < 100
    assert WholeSpace.of(as_space(conditional), Limits(space, None), 13) is not None


@pytest.mark.no_cover
def test_of_equivalent_architectures_the_first_stands() -> None:
    """Layers in another order are one architecture."""
    space = Unordered()
    found = WholeSpace.of(space, Limits(space, None), 100_000)

    assert found is not None
    n = len(listed(space))
    assert n == 4**3
    assert len(found) == len({one.key for one in found.candidates}) < n
    all_ = [space.from_params(p) for p in listed(space)]
    assert len(found) == len({space.canonical(a) for a in all_ if not space.is_degenerate(a)})


def test_what_exceeds_a_limit_is_not_listed() -> None:
    space = sn.spaces.ConvNetSpace(max_stages=1, widths=(8, 16), max_blocks=1)
    sizes = [space.describe(space.from_params(p))["parameters"] for p in listed(space)]
    limit = float(np.median(sizes))
    found = whole(space, {"parameters": limit})
    kept = [space.describe(space.from_params(one.params)) for one in found.candidates]

    assert 0 < len(found) <= len(sizes) - found.n_infeasible
    assert found.n_infeasible == sum(size > limit for size in sizes)
    assert all(one["parameters"] <= limit for one in kept)
    assert WholeSpace.of(space, Limits(space, {"parameters": 1}), 10_000) is None


def test_free_are_those_that_were_not_tried() -> None:
    seen = {key("abcd"), key("eeee"), "no key of this space"}
    every = whole()
    free = every.free(seen)

    assert len(free) == SIZE - 2
    assert not {every.candidates[i].key for i in free} & seen


def chosen_of_all(trials: TargetTrials, name: str = "log_ei", **options: Any) -> Choice:
    rules = ScreeningRules(size=SIZE, acquisition=name)
    screener = Screener(SPACE, options.get("surrogate") or fresh(), rules=rules)
    rng = np.random.default_rng(0)
    return screener.choose(trials, options.get("seen", frozenset()), propose(), rng)


@pytest.mark.parametrize("name", sorted(ACQUISITIONS))
@pytest.mark.parametrize("make", [fresh, three], ids=["no past", "past"])
@pytest.mark.parametrize("n", [6, 20])
def test_the_best_of_all_is_chosen(
    name: str, make: Callable[[], sn.MetaSurrogate], n: int
) -> None:
    """Though only some are scored exactly, as if all of them were."""
    trials = results(n)
    surrogate = make()
    chosen = chosen_of_all(trials, name, surrogate=surrogate)
    every = [candidate.params for candidate in whole().candidates]
    target = surrogate.condition(trials.observed)
    mean, std = target.latent(every)
    assert target.incumbent is not None
    front = np.array([[target.incumbent]])
    score = ACQUISITIONS[name](Prediction.of_one(mean, std), front)

    assert chosen.acquisition == pytest.approx(score.max(), rel=1e-6)
    assert chosen.n_candidates == SIZE
    assert chosen.n_duplicates == 0
    wanted = score.argmax()
    assert chosen.predicted_rank == pytest.approx(1 + (mean > mean[wanted] + 1e-9).sum(), abs=5)


def test_before_the_first_result_the_best_predicted_is_chosen() -> None:
    chosen = chosen_of_all(NOTHING, surrogate=three())

    assert chosen.candidate.source == "space"
    assert list(chosen.candidate.params.values()).count("a") >= 3
    assert chosen.predicted_rank == 1


def test_a_control_is_the_middle_of_all_predictions() -> None:
    chosen = chosen_of_all(results(1), surrogate=three())

    assert chosen.predicted_rank is not None
    assert abs(chosen.predicted_rank - SIZE / 2) < SIZE / 20


def test_without_past_tasks_the_base_begins_all_the_same() -> None:
    screener = Screener(SPACE, fresh(), rules=ScreeningRules(size=SIZE))
    chosen = screener.choose(results(4), set(), propose("bbbb"), np.random.default_rng(0))

    assert chosen.candidate.source == "base"


def test_where_all_were_tried_one_is_repeated() -> None:
    seen = frozenset(candidate.key for candidate in whole().candidates)
    chosen = chosen_of_all(results(6), seen=seen)

    assert chosen.is_repeat


def test_a_study_of_a_small_space_tries_all_of_it_once() -> None:
    """28 architectures in 28 trials, the best of them early on."""
    space = ParameterSpace({"x": IntDistribution(0, 6), "op": CategoricalDistribution("abcd")})
    study = optuna.create_study(direction="maximize", sampler=sn.SurrogateSampler(space, seed=0))

    def objective(trial: optuna.Trial) -> float:
        params = space.suggest(trial)
        return float(3.0 * (params["op"] == "c") - abs(params["x"] - 2.0))

    study.optimize(objective, n_trials=28)

    assert len({tuple(sorted(trial.params.items())) for trial in study.trials}) == 28
    assert study.best_trial.number < 14
    assert study.trials[10].user_attrs["n_candidates"] == 18


def test_what_is_enqueued_keeps_its_values() -> None:
    space = ParameterSpace({"x": IntDistribution(0, 6), "op": CategoricalDistribution("abcd")})
    study = optuna.create_study(direction="maximize", sampler=sn.SurrogateSampler(space, seed=0))
    study.optimize(lambda trial: float(space.suggest(trial)["x"]), n_trials=8)
    study.enqueue_trial({"op": "d"})
    study.optimize(lambda trial: float(space.suggest(trial)["x"]), n_trials=1)

    assert study.trials[-1].params["op"] == "d"
