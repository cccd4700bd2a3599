"""Optuna's own suites for samplers, with each of its samplers as base."""

from __future__ import annotations

from collections.abc import Callable

import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)

from surrogate_nas.sampler import SurrogateSampler

pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")


def _on(base: Callable[[], BaseSampler], n_candidates: int = 8) -> Callable[[], BaseSampler]:
    return lambda: SurrogateSampler(
        None, base_sampler=base(), n_candidates=n_candidates, n_startup_trials=2, seed=0
    )


MULTI: dict[str, Callable[[], BaseSampler]] = {
    "random": lambda: optuna.samplers.RandomSampler(seed=0),
    "tpe": lambda: optuna.samplers.TPESampler(n_startup_trials=0, seed=0),
    "nsga2": lambda: optuna.samplers.NSGAIISampler(population_size=4, seed=0),
    "gp": lambda: optuna.samplers.GPSampler(
        n_startup_trials=0, seed=0, deterministic_objective=True
    ),
}
SINGLE: dict[str, Callable[[], BaseSampler]] = {
    "qmc": lambda: optuna.samplers.QMCSampler(seed=0, warn_independent_sampling=False),
    "cmaes": lambda: optuna.samplers.CmaEsSampler(
        n_startup_trials=0, seed=0, warn_independent_sampling=False
    ),
}


class TestWithMultiObjectiveBases(
    BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase
):
    @pytest.fixture(params=list(MULTI.values()), ids=list(MULTI))
    def sampler(self, request: pytest.FixtureRequest) -> Callable[[], BaseSampler]:
        base: Callable[[], BaseSampler] = request.param
        return _on(base)


class TestWithQmc(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return _on(SINGLE["qmc"])


class TestWithCmaEs(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return _on(SINGLE["cmaes"])
