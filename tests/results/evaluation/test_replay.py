from __future__ import annotations

import itertools

import numpy as np
import pytest

from surrogate_nas import MetaSurrogate
from surrogate_nas.results.evaluation import replay
from surrogate_nas.results.evaluation.replay import N_STARTUP, RecordedPool
from tests.helpers.synthetic import SPACE, past_tasks


@pytest.mark.parametrize(("n", "n_good"), [(5, 1), (6, 2), (7, 3)])
def test_random_search_is_expected_as_counting_all_orders_says(n: int, n_good: int) -> None:
    pool = RecordedPool([{}] * n, np.arange(n, dtype=float), share=n_good / n + 1e-9)
    assert pool.good.sum() == n_good
    firsts = [
        next(k for k, at in enumerate(order, 1) if at >= n - n_good)
        for order in itertools.permutations(range(n))
    ]
    assert pool.expected_random() == pytest.approx(np.mean(firsts))


@pytest.mark.parametrize(
    ("share", "y", "n_good"),
    [(0.0, [1, 2, 3, 4], 1), (0.5, [1, 2, 3, 4], 2), (0.25, [1, 4, 4, 4], 3), (0.05, [2, 1], 1)],
)
def test_the_best_share_is_good_ties_included(share: float, y: list[float], n_good: int) -> None:
    pool = RecordedPool([{}] * len(y), np.array(y, dtype=float), share)
    assert pool.good.sum() == n_good


def test_past_tasks_that_agree_find_a_good_one_sooner() -> None:
    target, *others = past_tasks(n_tasks=5)
    pool = RecordedPool(target.params, target.y, 0.05)
    rng = np.random.default_rng(0)
    warm = pool.trainings(MetaSurrogate.fit(SPACE, others), rng)
    cold = [pool.trainings(MetaSurrogate.fit(SPACE), rng) for _ in range(8)]
    assert warm <= 6
    assert warm < np.mean(cold) < pool.expected_random()


def test_without_past_tasks_it_starts_at_random() -> None:
    target = past_tasks(n_tasks=1)[0]
    pool = RecordedPool(target.params, target.y, 0.3)
    empty = MetaSurrogate.fit(SPACE)
    counts = [pool.trainings(empty, np.random.default_rng(seed)) for seed in range(40)]
    good = pool.good
    for seed, count in enumerate(counts):
        order = np.random.default_rng(seed).permutation(len(good))
        first = int(np.argmax(good[order])) + 1
        assert count == first if first <= N_STARTUP else count > N_STARTUP


def test_a_search_that_finds_nothing_goes_on_as_if_at_random(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(replay, "_MOST_STEPS", 3)
    target = past_tasks(n_tasks=1)[0]
    pool = RecordedPool(target.params, target.y, 0.05)
    seed = next(
        seed
        for seed in range(99)
        if not pool.good[np.random.default_rng(seed).permutation(80)[:3]].any()
    )
    count = pool.trainings(MetaSurrogate.fit(SPACE), np.random.default_rng(seed))
    assert count == 3 + (77 + 1) / (4 + 1)


def test_the_second_training_with_past_tasks_is_the_control() -> None:
    """As in a real search: of what is left the one in the middle of the predictions."""
    target, *others = past_tasks(n_tasks=5)
    warm = MetaSurrogate.fit(SPACE, others)
    params = list(target.params)
    first = int(np.argmax(warm.condition(None).latent(params)[0]))
    rest = [i for i in range(len(params)) if i != first]
    given = ([params[first]], [target.y[first]])
    mean, _ = warm.condition(given).latent([params[i] for i in rest])
    middle = rest[int(np.argsort(mean, kind="stable")[len(rest) // 2])]
    y = np.zeros(len(params))
    y[[first, middle]] = target.y[first], 1e9  # nothing else is good
    pool = RecordedPool(params, y, 0.0)

    assert pool.trainings(warm, np.random.default_rng(0)) == 2
