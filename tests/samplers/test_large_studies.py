"""Studies of thousands of trials: what a suggestion may look at, as counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.screening import base_proposals as base_module
from surrogate_nas.screening.base_proposals import MOST_TRIALS, BaseProposals
from surrogate_nas.space import ParameterSpace
from surrogate_nas.space.draw import random_params
from surrogate_nas.surrogate import target_model as target_module
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from surrogate_nas.surrogate.model.posterior import Posterior
from surrogate_nas.surrogate.target_model import MOST_OBSERVED, MOST_PENDING
from tests.helpers import synthetic

pytestmark = [pytest.mark.slow, pytest.mark.no_cover]

SPACE = ParameterSpace(synthetic.SPACE)


def large(
    n: int, n_running: int = 0, sampler: BaseSampler | None = None, n_pruned: int = 0
) -> optuna.Study:
    """A study of n finished trials, n_pruned pruned ones, and running ones at last."""
    storage = InMemoryStorage()
    study_id = storage.create_new_study([StudyDirection.MAXIMIZE], "large")
    drawn = random_params(SPACE.suggest, n + n_pruned + n_running, np.random.default_rng(0))
    states = [TrialState.COMPLETE] * n + [TrialState.PRUNED] * n_pruned
    states += [TrialState.RUNNING] * n_running
    for params, state in zip(drawn, states, strict=True):
        trial = create_trial(
            params=params,
            distributions=synthetic.SPACE,
            state=state,
            value=synthetic.gain(params) if state == TrialState.COMPLETE else None,
        )
        storage.create_new_trial(study_id, trial)
    return optuna.load_study(study_name="large", storage=storage, sampler=sampler)


def suggested(n: int, n_trials: int = 2) -> list[dict[str, Any]]:
    """The next suggestions of a study of n trials, with what is stored with them."""
    study = large(n, sampler=SurrogateSampler(SPACE, n_candidates=64, seed=0))
    found = []
    for _ in range(n_trials):
        trial = study.ask()
        study.tell(trial, synthetic.objective(trial))
        found.append({**trial.params, **study.trials[-1].user_attrs})
    return found


def test_up_to_500_trials_nothing_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recorded searches of a few hundred trials can be repeated bit for bit."""
    bounded = suggested(500)
    monkeypatch.setattr(target_module, "MOST_OBSERVED", 10**9)
    monkeypatch.setattr(base_module, "MOST_TRIALS", 10**9)
    assert suggested(500) == bounded


def test_beyond_the_bounds_the_suggestions_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above would notice a bound."""
    bounded = suggested(600)
    monkeypatch.setattr(target_module, "MOST_OBSERVED", 10**9)
    monkeypatch.setattr(base_module, "MOST_TRIALS", 10**9)
    assert suggested(600) != bounded


@pytest.fixture
def conditioned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many results each posterior stands on."""
    sizes: list[int] = []
    plain = Posterior.__init__

    def counted(self: Posterior, hypotheses: Any, basis: Any, distances: Any, *rest: Any) -> None:
        sizes.append(len(distances.parameters))
        plain(self, hypotheses, basis, distances, *rest)

    monkeypatch.setattr(Posterior, "__init__", counted)
    return sizes


def test_a_posterior_stands_on_no_more_than_the_bound(conditioned: list[int]) -> None:
    """A posterior costs the cube of the results that it stands on."""
    study = large(3_000, 400, SurrogateSampler(SPACE, n_candidates=64, seed=0))
    synthetic.objective(study.ask())
    assert conditioned == [MOST_OBSERVED + MOST_PENDING]


def test_pruned_trials_count_towards_the_bound(conditioned: list[int]) -> None:
    """What learning curves lead to is a result like any other."""
    study = large(400, sampler=SurrogateSampler(SPACE, n_candidates=64, seed=0))
    for params in random_params(SPACE.suggest, 400, np.random.default_rng(1)):
        trial = create_trial(
            params=params,
            distributions=synthetic.SPACE,
            state=TrialState.PRUNED,
            intermediate_values={1: synthetic.gain(params) - 1.0},
        )
        study._storage.create_new_trial(study._study_id, trial)
    full = create_trial(
        params={name: "a" for name in synthetic.SPACE},
        distributions=synthetic.SPACE,
        value=80.0,
        intermediate_values={1: 79.0, 2: 80.0},
    )
    study._storage.create_new_trial(study._study_id, full)
    synthetic.objective(study.ask())
    assert conditioned == [MOST_OBSERVED]


def test_the_best_of_many_results_is_never_left_out() -> None:
    """The incumbent, and what is predicted near it, follow from all results."""
    params = random_params(SPACE.suggest, 2_000, np.random.default_rng(0))
    values = [synthetic.gain(one) for one in params]
    target = MetaSurrogate.fit(SPACE).condition((params, values))
    best = int(np.argmax(values))
    assert target.incumbent == target.working_units(np.array(values)).max()
    mean, std = target.predict([params[best]])
    assert abs(mean[0] - values[best]) < 0.2 * float(np.std(values))
    assert std[0] < 0.2 * float(np.std(values))


def test_keys_are_made_once_a_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """A suggestion makes keys for its pool, not again for all trials."""
    calls = 0
    plain = ParameterSpace.canonical

    def counted(self: ParameterSpace, architecture: Any) -> str:
        nonlocal calls
        calls += 1
        return plain(self, architecture)

    monkeypatch.setattr(ParameterSpace, "canonical", counted)
    study = large(1_000, sampler=SurrogateSampler(SPACE, n_candidates=16, seed=0))
    synthetic.objective(study.ask())
    assert calls >= 900  # a few draws are equal
    calls = 0
    synthetic.objective(study.ask())
    assert 0 < calls < 200


def seen_by(base: BaseSampler, study: optuna.Study) -> list[FrozenTrial]:
    """The trials that a base sampler is shown."""
    ask = BaseProposals(base, 0, study, study.get_trials(deepcopy=False))
    return ask._study.get_trials(deepcopy=False)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("base", [TPESampler(seed=0), GPSampler(seed=0)])
def test_slow_bases_see_the_best_running_and_an_even_share(base: BaseSampler) -> None:
    """TPE's and the Gaussian process sampler's costs do not grow any more."""
    study = large(1_500, 30, n_pruned=500)
    seen = seen_by(base, study)

    finished = [t for t in seen if t.state.is_finished()]
    assert len(finished) == MOST_TRIALS
    assert len(seen) == MOST_TRIALS + 30
    values = sorted((t.value for t in study.trials if t.value is not None), reverse=True)
    assert set(values[:25]) <= {t.value for t in seen}
    pruned = sum(t.state == TrialState.PRUNED for t in seen)
    assert abs(pruned / len(finished) - 0.25) < 0.02
    starts = [t.datetime_start for t in seen]
    assert starts == sorted(starts, key=lambda s: (s is None, s))


def test_minimization_keeps_the_smallest() -> None:
    """Better is what the study says."""
    study = large(1_000)
    study._storage.create_new_study([StudyDirection.MINIMIZE], "small")
    other = optuna.load_study(study_name="small", storage=study._storage)
    other.add_trials(study.trials)
    values = sorted(t.value for t in study.trials if t.value is not None)
    assert set(values[:25]) <= {t.value for t in seen_by(TPESampler(seed=0), other)}


def test_trials_that_break_a_constraint_are_not_among_the_best() -> None:
    """TPE would sort them last, too."""
    study = large(1_000)
    best = create_trial(
        params={name: "a" for name in synthetic.SPACE},
        distributions=synthetic.SPACE,
        value=1e6,
        constraints={"size": 1.0},
    )
    for _ in range(50):
        study.add_trial(best)
    values = sorted((t.value for t in study.trials if t.value != 1e6 and t.value), reverse=True)
    seen = seen_by(TPESampler(seed=0), study)
    assert set(values[:25]) <= {t.value for t in seen}
    assert 0 < sum(t.value == 1e6 for t in seen) < 50


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("kind", [RandomSampler, optuna.samplers.BruteForceSampler])
def test_other_bases_see_all_trials(kind: type[BaseSampler]) -> None:
    """A sampler that visits each point once must know all of them."""
    assert len(seen_by(kind(), large(700, 3))) == 703


def test_a_base_that_changes_what_it_sees_does_not_change_the_study() -> None:
    """Contents are shared with the study, but its dicts are not handed out."""
    study = large(3)
    for trial in seen_by(RandomSampler(seed=0), study):
        trial.params["op0"] = "changed"
        trial.user_attrs["changed"] = math.pi
        trial.system_attrs["changed"] = math.pi
        trial.intermediate_values[7] = math.pi
        trial.distributions.clear()
    for trial in study.trials:
        assert trial.params["op0"] != "changed"
        assert trial.distributions == synthetic.SPACE
        assert not trial.user_attrs | trial.system_attrs | trial.intermediate_values
