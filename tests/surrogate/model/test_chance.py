from __future__ import annotations

import numpy as np
import pytest

from surrogate_nas.arrays import FloatArray
from surrogate_nas.surrogate.model.chance import (
    held_at_chance,
    probability_of_learning,
    share_at_chance,
    threshold_at_chance,
)

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("y", "share"),
    [
        (np.r_[np.full(5, 0.1), np.linspace(0.5, 0.9, 45)], 0.1),
        (np.r_[0.1, 0.105, 0.098, np.linspace(0.5, 0.9, 27)], 0.1),
        (np.r_[0.1, 0.1, np.linspace(0.5, 0.9, 45)], 0.0),  # two may be bad luck
        (np.linspace(0.0, 1.0, 200), 0.0),  # no group
        (RNG.normal(size=500), 0.0),
        (np.full(10, 0.5), 0.0),
        (np.r_[np.full(6, 0.1), np.linspace(0.5, 0.9, 4)], 0.0),  # the median is at chance, too
    ],
)
def test_a_group_at_the_low_end_is_at_chance(y: FloatArray, share: float) -> None:
    assert share_at_chance(RNG.permutation(y)) == pytest.approx(share)


def test_the_threshold_parts_what_is_at_chance() -> None:
    y = np.r_[np.full(5, 0.1), np.linspace(0.5, 0.9, 45)]
    predicted = np.r_[np.full(5, -2.0), np.linspace(-1.0, 1.0, 45)]
    threshold = threshold_at_chance(y, predicted)
    assert threshold is not None
    assert -1.0 < threshold < -0.7
    assert threshold_at_chance(y, -predicted) is None  # its own model does not know
    assert threshold_at_chance(y[5:], predicted[5:]) is None


def test_past_tasks_that_know_decide_together() -> None:
    predicted = np.array([[-2.0, -0.5, 3.0], [-2.0, 1.0, -3.0], [1.0, 1.0, -3.0]])
    assert held_at_chance(predicted, [-1.0, -1.0, None]).tolist() == [True, False, False]
    assert not held_at_chance(predicted, [None, None, None]).any()


def test_the_target_s_own_results_decide() -> None:
    y = np.linspace(0.0, 1.0, 9)
    none = np.zeros(9, dtype=bool)
    prior = probability_of_learning(none, y)
    assert prior == pytest.approx(0.1)
    bad, good, middling = none.copy(), none.copy(), none.copy()
    bad[0] = good[8] = middling[3] = True
    assert probability_of_learning(bad, y) < prior
    assert probability_of_learning(middling, y) == prior
    assert probability_of_learning(good, y) > 0.5
