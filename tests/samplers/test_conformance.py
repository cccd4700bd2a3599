"""The suite for base samplers, which holds Optuna's own suites, with each of Optuna's samplers."""

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

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

MULTI: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed=seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(n_startup_trials=0, seed=seed),
    "nsga2": lambda seed: optuna.samplers.NSGAIISampler(population_size=4, seed=seed),
    "gp": lambda seed: optuna.samplers.GPSampler(
        n_startup_trials=0, seed=seed, deterministic_objective=True
    ),
}


class TestWithMultiObjectiveBases(BaseSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture(params=list(MULTI.values()), ids=list(MULTI))
    def base_sampler(self, request: pytest.FixtureRequest) -> Callable[[int], BaseSampler]:
        base: Callable[[int], BaseSampler] = request.param
        return base


class TestWithQmc(BaseSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def base_sampler(self) -> Callable[[int], BaseSampler]:
        return lambda seed: optuna.samplers.QMCSampler(seed=seed, warn_independent_sampling=False)


class TestWithCmaEs(BaseSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def base_sampler(self) -> Callable[[int], BaseSampler]:
        return lambda seed: optuna.samplers.CmaEsSampler(
            n_startup_trials=0, seed=seed, warn_independent_sampling=False
        )
