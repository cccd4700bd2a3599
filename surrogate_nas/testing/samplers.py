"""Conformance suite for base samplers, which make several proposals on a copy of the study."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, RelativeSamplerTestCase

from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.space import Distributions

_SPACE: Distributions = {
    "op": CategoricalDistribution(("conv", "pool", "skip")),
    "width": IntDistribution(1, 8),
    "depth": IntDistribution(1, 4),
}
# TPE draws its first ten trials at random, so the later ones come from its model.
_TRIALS = 14


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
class ScreeningTestCase:
    """Tests of screening itself with a sampler as its base. Override :meth:`base_sampler`."""

    n_candidates = 8
    """Number of candidates in the pool of these tests."""

    @pytest.fixture
    def base_sampler(self) -> Callable[[int], BaseSampler]:
        """Return a function that makes the base from a seed. Must be overridden."""
        raise NotImplementedError("override the fixture 'base_sampler'")

    def screening(
        self, base: Callable[[int], BaseSampler], space: Distributions | None, **changes: Any
    ) -> SurrogateSampler:
        """Return a SurrogateSampler on a base, with the settings of these tests."""
        settings = {"n_candidates": self.n_candidates, "n_startup_trials": 2, "seed": 0}
        return SurrogateSampler(space, base_sampler=base, **{**settings, **changes})

    def test_one_candidate_is_the_base_itself(
        self, base_sampler: Callable[[int], BaseSampler]
    ) -> None:
        """With screening off the trials are the base's, seed for seed."""
        off = _studied(self.screening(base_sampler, _SPACE, n_candidates=1))
        assert _params(off) == _params(_studied(base_sampler(0)))

    def test_the_same_seed_gives_the_same_study(
        self, base_sampler: Callable[[int], BaseSampler]
    ) -> None:
        """The seed alone determines the study."""
        one, same = (_studied(self.screening(base_sampler, _SPACE)) for _ in range(2))
        assert _params(one) == _params(same)

    def test_a_stopped_study_goes_on_as_if_it_had_not_been(
        self, base_sampler: Callable[[int], BaseSampler]
    ) -> None:
        """A new sampler object continues a study as the first one would have."""
        whole = _studied(self.screening(base_sampler, _SPACE))
        parted = _studied(self.screening(base_sampler, _SPACE), _TRIALS // 2)
        # A new object, as in a new process. Nothing in memory may be missed.
        parted.sampler = self.screening(base_sampler, _SPACE)
        parted.optimize(_objective, n_trials=_TRIALS - _TRIALS // 2)
        assert _params(parted) == _params(whole)

    def test_nothing_is_suggested_twice(self, base_sampler: Callable[[int], BaseSampler]) -> None:
        """A study has no two equal trials, even if the base repeats itself."""
        study = _studied(self.screening(base_sampler, _SPACE))
        assert len({str(sorted(params.items())) for params in _params(study)}) == _TRIALS


class BaseSamplerTestCase(ScreeningTestCase, BasicSamplerTestCase, RelativeSamplerTestCase):
    """Tests a sampler as base of :class:`surrogate_nas.SurrogateSampler`.

    Override :meth:`base_sampler`. The suite runs Optuna's own suites for samplers with screening
    on, and tests of screening itself. Also inherit
    ``optuna.testing.pytest_samplers.MultiObjectiveSamplerTestCase`` if the base can handle several
    objectives, else ``SingleOnlySamplerTestCase``.
    """

    @pytest.fixture
    def sampler(self, base_sampler: Callable[[int], BaseSampler]) -> Callable[[], BaseSampler]:
        """Return a function that makes a SurrogateSampler on this base, for Optuna's suites."""
        return lambda: self.screening(base_sampler, None)


def _objective(trial: optuna.Trial) -> float:
    """Return an easy function of the choices, largest for wide and deep convolutions."""
    op = trial.suggest_categorical("op", ("conv", "pool", "skip"))
    width, depth = trial.suggest_int("width", 1, 8), trial.suggest_int("depth", 1, 4)
    return float(width + 2 * depth + 5 * (op == "conv"))


def _studied(sampler: BaseSampler, n_trials: int = _TRIALS) -> optuna.Study:
    """Return a study of the easy function that a sampler has run."""
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(_objective, n_trials=n_trials)
    return study


def _params(study: optuna.Study) -> list[dict[str, Any]]:
    """Return the parameters of all trials, in order."""
    return [trial.params for trial in study.trials]
