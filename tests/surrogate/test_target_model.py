from __future__ import annotations

import numpy as np
import pytest

from surrogate_nas.surrogate.target_model import best_latest_random


@pytest.mark.parametrize(("n", "most"), [(13, 12), (50, 12), (1_000, 300)])
def test_the_best_and_the_latest_stand_for_all(n: int, most: int) -> None:
    """A third each, and none of them twice."""
    y = np.random.default_rng(n).normal(size=n)
    rows = best_latest_random(y, np.linspace(1.0, 0.0, n), most)

    assert len(rows) == len(set(rows.tolist())) == most
    assert np.all(np.diff(rows) > 0)
    best = np.argsort(-y)[: most // 3]
    latest = [i for i in range(n - 1, -1, -1) if i not in best][: most // 3]
    assert set(best.tolist()) | set(latest) <= set(rows.tolist())


def test_the_latest_are_those_of_the_least_age() -> None:
    """Results of learning curves come after the others, whenever they were."""
    y = np.zeros(20)
    y[:3] = 1.0
    age = np.concatenate([np.linspace(1.0, 0.0, 10)] * 2)
    rows = best_latest_random(y, age, 9)
    assert {8, 9, 19} <= set(rows.tolist())


def test_who_stands_for_all_at_random_stays() -> None:
    """From one suggestion to the next at most a few results take others' places."""
    y = np.random.default_rng(0).normal(size=2_000)
    before = best_latest_random(y[:-1], np.linspace(1.0, 0.0, 1_999), 300)
    after = best_latest_random(y, np.linspace(1.0, 0.0, 2_000), 300)
    assert len(np.setdiff1d(after, before)) <= 3
    old = before[before < 1_500]
    assert np.isin(old, after).mean() > 0.95
