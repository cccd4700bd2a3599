"""What the transfer benchmark reports: means, trainings to a level, harm, ratios, from runs."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyarrow")  # the study's tables are Parquet

from studies.transfer_benchmark.peers import (
    BUDGET,
    LATE,
    Curves,
    harm,
    interval,
    mean_curve,
    median_to_best,
    ratio,
    told,
    trainings_to,
    worst,
)
from studies.transfer_benchmark.tables import FloatArray, regret


def _flat(level: float) -> FloatArray:
    return np.full(BUDGET, level)


def test_regret_is_of_the_best_so_far_between_median_and_best() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, np.nan])

    assert regret(values, [2, 1, 3, 4]).tolist() == [1.0, 1.0, 0.5, 0.0]


def test_the_mean_is_over_targets_however_many_seeds_each_has() -> None:
    found: Curves = {("a", 0): _flat(0.0), ("b", 0): _flat(1.0), ("b", 1): _flat(1.0)}

    assert mean_curve(found) == pytest.approx(_flat(0.5))


def test_trainings_to_a_level_are_the_first_at_or_below_it() -> None:
    found: Curves = {("a", 0): np.linspace(1.0, 0.02, BUDGET)}

    assert trainings_to(found, 0.98) == 2
    assert trainings_to(found, 1.0) == 1
    assert trainings_to(found, 0.01) is None


def test_half_the_seeds_are_too_few_for_a_median() -> None:
    def reached_at(n: int) -> FloatArray:
        return np.where(np.arange(1, BUDGET + 1) >= n, 0.0, 0.3)

    late = {("a", seed): _flat(0.1) for seed in range(2)}
    found: Curves = {**late, ("a", 2): reached_at(10), ("a", 3): reached_at(20)}

    assert told(median_to_best(found, "a")) == f"over {BUDGET}"
    assert told(median_to_best({**found, ("a", 0): reached_at(40)}, "a")) == "30"


def test_the_worst_is_of_means_and_from_the_tenth_training_on() -> None:
    early = np.concatenate([np.full(LATE - 1, 9.0), np.full(BUDGET - LATE + 1, 0.3)])
    base: Curves = {("a", 0): _flat(0.1), ("b", 0): _flat(0.3), ("c", 0): _flat(0.0)}

    assert worst({("a", 0): early, ("b", 0): early}, base) == pytest.approx(1.5)


def test_harm_counts_worse_cases_of_those_that_both_have() -> None:
    found: Curves = {("a", 0): _flat(0.5), ("a", 1): _flat(0.2), ("b", 0): _flat(0.9)}
    baseline: Curves = {("a", 0): _flat(0.4), ("a", 1): _flat(0.2), ("c", 0): _flat(0.0)}

    assert harm(found, baseline, 10) == 0.5  # an equal one is no harm


def test_a_ratio_is_on_common_cases_and_from_a_training_on() -> None:
    late = np.concatenate([np.full(9, 7.0), np.full(BUDGET - 9, 0.2)])
    found: Curves = {("a", 0): late, ("b", 0): late, ("c", 0): _flat(9.0)}
    base: Curves = {("a", 0): _flat(0.1), ("b", 0): _flat(0.1)}

    assert ratio(found, base, 10) == pytest.approx((2.0, 2.0, 2.0))


def test_intervals_hold_the_mean_and_widen_with_the_spread_between_targets() -> None:
    def spread(by: float) -> Curves:
        return {(t, s): _flat(1.0 + by * k) for k, t in enumerate("abcd") for s in range(3)}

    mean, low, high = interval(spread(0.1), 20)
    _, wide_low, wide_high = interval(spread(0.5), 20)

    assert mean == pytest.approx(1.15)
    assert low < mean < high
    assert wide_high - wide_low > 4 * (high - low)
