from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution

from surrogate_nas.results.expected import expected_best, mean_of_best
from surrogate_nas.space import ParameterSpace
from tests.helpers import synthetic

SPACE = ParameterSpace(synthetic.SPACE)


def study_of(n: int, sign: float = 1.0) -> optuna.Study:
    study = optuna.create_study(
        direction="maximize" if sign > 0 else "minimize",
        sampler=optuna.samplers.RandomSampler(seed=0),
    )
    study.optimize(lambda trial: sign * synthetic.objective(trial), n)
    return study


def test_the_mean_of_the_best_is_the_closed_form() -> None:
    """Of two draws from 0 and 1 the best is 1 in three of four cases."""
    found = mean_of_best(np.array([1.0, 0.0]), np.array([1, 2, 3]))

    assert found == pytest.approx([0.5, 0.75, 0.875])


def test_it_agrees_with_drawing_many_times() -> None:
    """Monte Carlo, with four standard errors."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal(50)
    best = rng.choice(values, (20_000, 5)).max(axis=1)

    found = mean_of_best(values, np.array([5]))[0]
    assert abs(found - best.mean()) < 4 * best.std() / np.sqrt(20_000)


def test_a_random_search_is_near_its_own_expectation() -> None:
    """What the surrogate expects of random draws is what random draws find, within the band."""
    study = study_of(60)
    found = expected_best(study.trials, SPACE, maximize=True)

    assert found is not None
    assert found.n.tolist() == list(range(1, 61))
    assert (np.diff(found.at_word) >= 0).all()
    assert (found.uncertain[10:] >= found.at_word[10:]).all()
    values = np.array([t.value for t in study.trials])
    rng = np.random.default_rng(0)
    usual = np.mean([rng.choice(values, 20).max() for _ in range(500)])
    assert found.at_word[19] - 1.0 < usual < found.uncertain[19] + 1.0


def test_both_directions_mirror_each_other() -> None:
    """Smaller is better: the same numbers below zero."""
    up = expected_best(study_of(12).trials, SPACE, maximize=True)
    down = expected_best(study_of(12, -1.0).trials, SPACE, maximize=False)

    assert up is not None
    assert down is not None
    assert down.at_word == pytest.approx(-up.at_word)
    assert (np.diff(down.uncertain) <= 0).all()


def test_too_few_or_too_many_results_say_nothing() -> None:
    """Neither a guess nor a wait of minutes."""
    assert expected_best(study_of(4).trials, SPACE, maximize=True) is None
    trial = study_of(1).trials[0]
    assert expected_best([trial] * 501, SPACE, maximize=True) is None


def test_trials_of_another_space_say_nothing() -> None:
    """A space that has changed since is not guessed at."""
    other = ParameterSpace({"x": FloatDistribution(0, 1)})

    assert expected_best(study_of(8).trials, other, maximize=True) is None
    assert expected_best(study_of(8).trials, ParameterSpace({}), maximize=True) is None
