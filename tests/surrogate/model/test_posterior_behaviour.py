"""What the posterior makes of past tasks that help, mislead or know nothing; arrays only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from surrogate_nas.surrogate.model.boosting import same_leaf
from surrogate_nas.surrogate.model.hypotheses import Hypotheses
from surrogate_nas.surrogate.model.kernel import KernelDistances
from surrogate_nas.surrogate.model.linear import Basis
from tests.helpers.worlds import World, apart

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Problem:
    """A smooth target function in [0, 1]^6, a dozen noisy observations and 80 candidates."""

    n: int
    whole: KernelDistances
    y: FloatArray
    truth: FloatArray
    rng: np.random.Generator

    def with_basis(self, *columns: FloatArray) -> World:
        """Past tasks that predict the given values, with the prior of equally many."""
        r = len(columns)
        values = np.column_stack(columns) if r else np.zeros((len(self.truth), 0))
        share = np.full(r, 1.0 / max(r, 1))
        basis = Basis(values, share, share, np.eye(r))
        return World(self.n, basis, self.whole, self.y, Hypotheses.grid(with_basis=r > 0))

    def error(self, *columns: FloatArray) -> float:
        """Mean absolute error of the candidates, in standard deviations of the target."""
        mean, _ = self.with_basis(*columns).predict()
        return float(np.abs(mean - self.truth[self.n :]).mean())

    def related(self) -> FloatArray:
        """A past task that agrees but for some noise (correlation 0.96)."""
        return self.truth + 0.3 * self.rng.normal(size=len(self.truth))

    def shuffled(self) -> FloatArray:
        """A past task that has nothing to do with this one."""
        return self.rng.permutation(self.truth)


def problem(seed: int, n: int = 12) -> Problem:
    rng = np.random.default_rng(seed)
    points = rng.random((n + 80, 6))
    # As trees would that split each coordinate in three.
    leaves = (3 * points).astype(np.int16)
    truth = points @ rng.normal(size=6) + np.sin(6 * points[:, 0]) * points[:, 1]
    truth = (truth - truth.mean()) / truth.std()
    y = truth + 0.05 * rng.normal(size=len(truth))
    # The space has no traits; then the distance of the parameters stands for theirs.
    whole = KernelDistances(apart(points), apart(points), same_leaf(leaves, leaves))
    return Problem(n, whole, y, truth, rng)


PROBLEMS = range(10)


def test_a_related_past_task_gets_the_weight_and_unrelated_ones_lose_it() -> None:
    weights = []
    for seed in PROBLEMS:
        p = problem(seed)
        model = p.with_basis(p.shuffled(), p.related(), p.shuffled()).model()
        weights.append(np.abs(model.weights))
        assert model.weights.argmax() == 1
        assert model.transfer > 0.9
    first, related, last = np.mean(weights, axis=0)
    # All three begin with a third, and a dozen values cannot rule out chance agreement.
    assert related > 0.8
    assert max(first, last) < 0.25


@pytest.mark.parametrize("seed", PROBLEMS)
def test_a_contrary_past_task_is_read_the_other_way_round(seed: int) -> None:
    p = problem(seed)
    (weight,) = p.with_basis(-p.related()).model().weights
    assert weight < -0.5


@pytest.mark.parametrize("seed", PROBLEMS)
def test_shuffling_a_past_task_takes_its_weight(seed: int) -> None:
    p = problem(seed)
    (related,) = p.with_basis(p.related()).model().weights
    (shuffled,) = p.with_basis(p.shuffled()).model().weights
    assert abs(shuffled) < 0.5 * related


def test_related_past_tasks_halve_the_error() -> None:
    alone, related = [], []
    for seed in PROBLEMS:
        p = problem(seed)
        alone.append(p.error())
        related.append(p.error(p.related()))
    assert np.all(np.array(related) < alone)
    assert np.mean(related) < 0.55 * np.mean(alone)


def test_one_related_past_task_is_found_among_a_dozen() -> None:
    # Their mean says nothing; what finds it is the hypothesis that the target is like one of them.
    alone, found = [], []
    for seed in PROBLEMS:
        p = problem(seed)
        columns = [p.shuffled() for _ in range(11)]
        columns.insert(4, p.related())
        alone.append(p.error())
        found.append(p.error(*columns))
        weights = np.abs(p.with_basis(*columns).model().weights)
        assert weights.argmax() == 4
        assert weights[4] > 3 * np.delete(weights, 4).max()
    assert np.mean(found) < 0.7 * np.mean(alone)


@pytest.mark.parametrize(
    ("kind", "on_average", "at_worst"),
    [
        ("contrary", 1.1, 1.4),
        ("shuffled", 1.1, 1.4),
        ("both", 1.1, 1.4),
        # Of eight, one or another resembles a dozen results by chance.
        ("many", 1.2, 1.6),
    ],
)
def test_misleading_past_tasks_do_little_harm(
    kind: str, on_average: float, at_worst: float
) -> None:
    alone, misled = [], []
    for seed in PROBLEMS:
        p = problem(seed)
        columns = {
            "contrary": [-p.related()],
            "shuffled": [p.shuffled()],
            "both": [-p.related(), p.shuffled()],
            "many": [p.shuffled() for _ in range(8)],
        }[kind]
        alone.append(p.error())
        misled.append(p.error(*columns))
    assert np.mean(misled) < on_average * np.mean(alone)
    assert np.all(np.array(misled) < at_worst * np.array(alone))


def test_standard_deviations_are_about_right() -> None:
    scores = []
    for seed in PROBLEMS:
        p = problem(seed, n=30)
        w = p.with_basis(p.related(), p.shuffled())
        mean, std = w.predict()
        scores.append((mean - p.truth[p.n :]) / std)
    assert 0.5 < np.std(scores) < 1.5
    assert np.mean(np.abs(scores) < 2) > 0.85
