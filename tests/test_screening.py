from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution

from surrogate_nas.candidates import Limits, Pool
from surrogate_nas.past import Direction, PastTask
from surrogate_nas.screening import PoolMix, Screened, TargetTrials, screen
from surrogate_nas.space import Distributions, ParameterSpace
from surrogate_nas.surrogate import MetaSurrogate

OPS = "abcde"
DISTRIBUTIONS: Distributions = {f"op{i}": CategoricalDistribution(OPS) for i in range(4)}
SPACE = ParameterSpace(DISTRIBUTIONS)
FRESH = MetaSurrogate.fit(SPACE)
USUAL = PoolMix()
ONLY_RANDOM = PoolMix(n_base=0, near_observed=0, near_predicted=0)

Proposal = tuple[Mapping[str, Any], Mapping[str, Any]]


def params(word: str) -> dict[str, str]:
    return {f"op{i}": letter for i, letter in enumerate(word)}


def key(word: str) -> str:
    return SPACE.canonical(params(word))


def propose(*words: str) -> Any:
    """A base sampler with these proposals; it notes how many were asked for."""

    def asked(n: int) -> Iterator[Proposal]:
        asked.wanted.append(n)  # type: ignore[attr-defined]
        for i, word in enumerate(words[:n]):
            yield params(word), {"base:number": i}

    asked.wanted = []  # type: ignore[attr-defined]
    return asked


def value(architecture: Mapping[str, Any]) -> float:
    """What an architecture reaches: the more a's the better."""
    return 70.0 + 5.0 * list(architecture.values()).count("a")


def results(n: int, direction: Direction = "maximize", seed: int = 0) -> TargetTrials:
    rng = np.random.default_rng(seed)
    drawn = [params("".join(rng.choice(list(OPS), 4))) for _ in range(n)]
    sign = 1.0 if direction == "maximize" else -1.0
    values = [sign * value(one) for one in drawn]
    return TargetTrials(PastTask("target", drawn, values, direction), direction, [])


NOTHING = TargetTrials(None, "maximize", [])


def screened(
    trials: TargetTrials = NOTHING,
    base: Any = None,
    *,
    surrogate: MetaSurrogate = FRESH,
    seen: Iterable[str] = (),
    size: int = 32,
    mix: PoolMix = USUAL,
    limits: Mapping[str, float] | None = None,
    seed: int = 0,
) -> tuple[Screened, Pool]:
    pool = Pool(SPACE, Limits(SPACE, limits), frozenset(seen), {}, np.random.default_rng(seed))
    base = base or propose()
    chosen = screen(pool, surrogate, trials, base, size=size, n_startup=5, mix=mix)
    return chosen, pool


def test_before_the_first_results_the_base_is_followed() -> None:
    chosen, _ = screened(base=propose("bbbb", "aaaa"))

    assert chosen.candidate.params == params("bbbb")
    assert not chosen.is_repeat
    assert chosen.candidate.system_attrs == {"base:number": 0}
    assert chosen.attributes() == {"n_candidates": 1, "n_duplicates": 0, "n_infeasible": 0}


def test_the_base_s_first_proposal_that_is_new_is_taken() -> None:
    chosen, _ = screened(base=propose("bbbb", "cccc"), seen=[key("bbbb")])

    assert chosen.candidate.params == params("cccc")
    assert chosen.n_duplicates == 1


def test_where_the_base_repeats_itself_a_random_one_is_taken() -> None:
    chosen, _ = screened(base=propose("bbbb"), seen=[key("bbbb")])

    assert chosen.candidate.source == "random"
    assert chosen.candidate.key != key("bbbb")


def test_startup_ends_with_the_results() -> None:
    before, _ = screened(results(4), propose("bbbb"))
    after, _ = screened(results(5), propose("bbbb"))

    assert before.acquisition is None
    assert after.acquisition is not None


def test_past_tasks_have_a_say_from_the_first_trial() -> None:
    rng = np.random.default_rng(0)
    drawn = [params("".join(rng.choice(list(OPS), 4))) for _ in range(60)]
    past = [PastTask(f"past {i}", drawn, [value(one) + i for one in drawn]) for i in range(3)]

    chosen, _ = screened(surrogate=MetaSurrogate.fit(SPACE, past), size=128)

    assert list(chosen.candidate.params.values()).count("a") >= 3
    assert chosen.predicted_value is not None


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_predictions_are_in_the_target_s_units(direction: Direction) -> None:
    chosen, _ = screened(results(40, direction), size=128)
    reached = value(chosen.candidate.params) * (1 if direction == "maximize" else -1)

    assert list(chosen.candidate.params.values()).count("a") >= 3
    assert chosen.predicted_value == pytest.approx(reached, abs=5)
    assert chosen.predicted_std is not None
    assert 0 < chosen.predicted_std < 20


def test_attributes_are_flat_numbers() -> None:
    chosen, _ = screened(results(10))
    attributes = chosen.attributes()

    assert set(attributes) == {
        "n_candidates",
        "n_duplicates",
        "n_infeasible",
        "predicted_value",
        "predicted_std",
        "acquisition",
    }
    assert all(type(number) in (int, float) for number in attributes.values())
    assert all(math.isfinite(number) for number in attributes.values())


def test_a_small_pool_has_a_random_candidate_besides_the_base_s() -> None:
    chosen, pool = screened(results(10), propose("bbbb", "cccc"), size=2)

    assert [candidate.source for candidate in pool.candidates] == ["base", "base", "random"]
    assert chosen.n_candidates == 3


@pytest.mark.parametrize("size", [7, 32])
def test_a_pool_has_the_wanted_size(size: int) -> None:
    chosen, pool = screened(results(10), propose("bbbb", "cccc"), size=size)

    assert len(pool.candidates) == chosen.n_candidates == size


@pytest.mark.parametrize(
    ("mix", "sources"),
    [
        (PoolMix(n_base=2, near_observed=0, near_predicted=0), {"base", "random"}),
        (PoolMix(n_base=0, near_observed=0.5, near_predicted=0), {"neighbour", "random"}),
        (PoolMix(n_base=0, near_observed=0, near_predicted=0.5), {"neighbour", "random"}),
        (ONLY_RANDOM, {"random"}),
        (PoolMix(), {"base", "neighbour", "random"}),
    ],
)
def test_each_part_of_the_mix_can_be_switched_off(mix: PoolMix, sources: set[str]) -> None:
    _, pool = screened(results(10), propose("bbbb", "cccc"), mix=mix)

    assert {candidate.source for candidate in pool.candidates} == sources


def test_the_base_is_asked_for_no_more_than_the_pool_holds() -> None:
    base = propose(*["abcd", "bcda", "cdab", "dabc"])
    screened(results(10), base, size=3, mix=PoolMix(n_base=4))

    assert base.wanted == [3]


def test_neighbours_of_the_best_predicted_refine_the_choice() -> None:
    trials = results(40)
    coarse, _ = screened(trials, size=24, mix=ONLY_RANDOM, seed=1)
    fine, _ = screened(trials, size=24, mix=PoolMix(0, 0, 0.5), seed=1)

    assert coarse.acquisition is not None
    assert fine.acquisition is not None
    assert fine.acquisition > coarse.acquisition


def test_architectures_in_training_are_not_the_next_choice_s_neighbours() -> None:
    trials = results(12)
    chosen, _ = screened(trials, size=64)
    pending = TargetTrials(trials.observed, "maximize", [chosen.candidate.params])
    other, _ = screened(pending, size=64, seen=[chosen.candidate.key])

    assert other.candidate.key != chosen.candidate.key
    assert other.predicted_value is not None


def test_limits_hold_for_the_chosen_and_are_counted() -> None:
    space = ParameterSpace({"x": CategoricalDistribution((1, 2, 3, 4, 5, 6, 7, 8))})
    pool = Pool(space, Limits(space, {"x": 3}), frozenset(), {}, np.random.default_rng(0))
    observed = PastTask("target", [{"x": x} for x in range(1, 9)], [float(x) for x in range(8)])
    trials = TargetTrials(observed, "maximize", [])

    chosen = screen(
        pool, MetaSurrogate.fit(space), trials, propose(), size=8, n_startup=5, mix=ONLY_RANDOM
    )

    assert chosen.candidate.params["x"] <= 3
    assert chosen.n_candidates == 3
    assert chosen.n_infeasible > 0


@pytest.mark.parametrize("n_results", [0, 10], ids=["startup", "screened"])
def test_an_exhausted_space_repeats_with_a_warning(
    n_results: int, caplog: pytest.LogCaptureFixture
) -> None:
    words = [a + b + c + d for a in OPS for b in OPS for c in OPS for d in OPS]
    trials = results(n_results) if n_results else NOTHING
    with caplog.at_level(logging.WARNING, logger="surrogate_nas"):
        chosen, _ = screened(trials, propose("bbbb"), seen=[key(word) for word in words])

    assert chosen.candidate.params == params("bbbb")
    assert chosen.n_candidates == 0
    assert chosen.is_repeat
    assert chosen.n_duplicates > 0
    assert [record.getMessage() for record in caplog.records] == [
        "Every architecture of the space that was drawn has been evaluated; one is repeated. "
        "Stop the study here or enlarge the space."
    ]


def test_the_same_seed_chooses_the_same() -> None:
    chosen = [screened(results(10), seed=seed)[0] for seed in (3, 3)]

    assert chosen[0] == chosen[1]
