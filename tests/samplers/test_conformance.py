"""The suite for base samplers with each of Optuna's samplers, and Optuna's own suites with two.

Optuna's suites ask each base for the same distributions, in a thousand studies. TPE stands for the
bases with a model of each parameter, CMA-ES for those with one model of them all.
"""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    MultiObjectiveSamplerTestCase,
    SingleOnlySamplerTestCase,
)

from surrogate_nas.testing import BaseSamplerTestCase
from surrogate_nas.testing.samplers import ScreeningTestCase

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

OTHERS: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(population_size=4, seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(
        n_startup_trials=0, seed=seed, deterministic_objective=True
    ),
    "qmc": lambda seed: optuna.samplers.QMCSampler(seed=seed, warn_independent_sampling=False),
}


class TestWithTPE(BaseSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def base_sampler(self) -> Callable[[int], BaseSampler]:
        return lambda seed: optuna.samplers.TPESampler(n_startup_trials=0, seed=seed)


class TestWithCmaEs(BaseSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def base_sampler(self) -> Callable[[int], BaseSampler]:
        return lambda seed: optuna.samplers.CmaEsSampler(
            n_startup_trials=0, seed=seed, warn_independent_sampling=False
        )


class TestWithOtherBases(ScreeningTestCase):
    @pytest.fixture(params=list(OTHERS.values()), ids=list(OTHERS))
    def base_sampler(self, request: pytest.FixtureRequest) -> Callable[[int], BaseSampler]:
        base: Callable[[int], BaseSampler] = request.param
        return base
