"""Strategies as Optuna samplers: what they see, and that studies repeat, resume and share work."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    MultiObjectiveSamplerTestCase,
    RelativeSamplerTestCase,
)
from optuna.trial import TrialState

from surrogate_nas.errors import InfeasibleError, SpaceError
from surrogate_nas.samplers import Evaluated, MutateBest, Strategy, StrategySampler
from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.space import SearchSpace
from surrogate_nas.space.draw import Chooser, random_chooser, replay_chooser
from surrogate_nas.storage.optuna_private import id_of, storage_of
from surrogate_nas.storage.recovery import requeue
from surrogate_nas.testing.samplers import ScreeningTestCase
from tests.helpers import synthetic
from tests.helpers.samplers import SIZE, SMALL, distinct, parameters, small, studied
from tests.helpers.toys import ToySpace

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning"),
    pytest.mark.usefixtures("quick_processes"),
]


@final
class Watching(Strategy):
    """Draws at random and remembers what it saw."""

    def __init__(self) -> None:
        self.seen: list[Evaluated] = []

    def propose(self, seen: Evaluated, space: SearchSpace, rng: np.random.Generator) -> Chooser:
        self.seen.append(seen)
        return random_chooser(rng)


@final
class Stubborn(Strategy):
    """Proposes one architecture, for ever."""

    def propose(self, seen: Evaluated, space: SearchSpace, rng: np.random.Generator) -> Chooser:
        return replay_chooser({"op": "conv", "width": 4}, random_chooser(rng))


@final
class Answering(Strategy):
    """Proposes whatever it is given."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def propose(self, seen: Evaluated, space: SearchSpace, rng: np.random.Generator) -> Any:
        return self.answer


def mutating(space: Any = synthetic.SPACE, seed: int = 0, **options: Any) -> StrategySampler:
    return StrategySampler(space, MutateBest(**options), seed=seed)


# Optuna's suites


@pytest.mark.no_cover
class TestAlone(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: StrategySampler(None, MutateBest(n_startup=2), seed=0)


@pytest.mark.no_cover
class TestAsBase(ScreeningTestCase):
    @pytest.fixture
    def base_sampler(self) -> Callable[[int], BaseSampler]:
        return lambda seed: StrategySampler(None, MutateBest(n_startup=2), seed=seed)


# Same seed, same storage: same study


def searched(storage: Any, n_trials: int, per_run: int, base: bool = False) -> list[Any]:
    """A study's parameters, run in parts with everything made again for each part."""
    while True:
        sampler: BaseSampler = mutating(seed=3)
        if base:
            sampler = SurrogateSampler(
                synthetic.SPACE, base_sampler=MutateBest(), n_candidates=16, seed=3
            )
        study = optuna.create_study(
            study_name="s",
            direction="maximize",
            storage=storage,
            sampler=sampler,
            load_if_exists=True,
        )
        missing = n_trials - len(study.trials)
        if missing <= 0:
            return parameters(study)
        study.optimize(synthetic.objective, n_trials=min(missing, per_run))


ELSEWHERE = """
import sys
import optuna
from tests.samplers.test_strategy import journal, searched
optuna.logging.set_verbosity(optuna.logging.ERROR)
for base in (False, True):
    searched(journal(sys.argv[1], base), 12, 3, base)
"""


def journal(folder: str | Path, base: bool) -> JournalStorage:
    return JournalStorage(JournalFileBackend(f"{folder}/{base}.journal"))


def test_a_study_continues_in_another_process(tmp_path: Path) -> None:
    """Alone, and as base of SurrogateSampler."""
    for base in (False, True):
        searched(journal(tmp_path, base), 7, 4, base)
    subprocess.run(
        [sys.executable, "-c", ELSEWHERE, tmp_path],
        check=True,
        timeout=240,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )

    for base in (False, True):
        whole = searched(InMemoryStorage(), 12, 12, base)
        assert searched(journal(tmp_path, base), 12, 12, base) == whole
        assert searched(InMemoryStorage(), 12, 1, base) == whole


@pytest.mark.parametrize("base", [False, True], ids=["alone", "as base"])
@pytest.mark.parametrize("has_suggested", [False, True], ids=["before", "after"])
def test_a_trial_that_was_interrupted_changes_nothing(base: bool, has_suggested: bool) -> None:
    """Whether or not the sampler had chosen for it; trial by trial in order of completion."""
    sampler: BaseSampler = mutating(n_startup=2)
    if base:
        sampler = SurrogateSampler(
            synthetic.SPACE,
            base_sampler=MutateBest(n_startup=2),
            n_candidates=8,
            n_startup_trials=3,
            seed=0,
        )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for number in range(12):
        trial = study.ask()
        if number not in (3, 8):
            study.tell(trial, synthetic.objective(trial))
            continue
        if has_suggested:
            synthetic.objective(trial)
        trial.set_user_attr("stop_reason", "interrupted")
        failed = study.tell(trial, state=TrialState.FAIL)
        requeue(storage_of(study), id_of(study), failed)
    done = [trial.params for trial in study.trials if trial.state == TrialState.COMPLETE]

    whole = optuna.create_study(direction="maximize", sampler=sampler)
    whole.optimize(synthetic.objective, n_trials=10)
    assert done == parameters(whole)


def test_another_seed_is_another_study() -> None:
    one, other = (
        studied(mutating(seed=seed), synthetic.objective, 8, direction="maximize")
        for seed in (0, 1)
    )
    assert parameters(one) != parameters(other)


def test_a_parameter_that_the_space_does_not_know_follows_from_the_seed() -> None:
    def objective(trial: optuna.Trial) -> float:
        return small(trial) + trial.suggest_float("elsewhere", 0, 1)

    runs = [parameters(studied(mutating(SMALL), objective, 4)) for _ in range(2)]
    assert runs[0] == runs[1]
    assert len({params["elsewhere"] for params in runs[0]}) == 4


# Many workers


def test_trials_that_are_asked_for_at_once_differ() -> None:
    study = optuna.create_study(direction="maximize", sampler=mutating())
    asked = [study.ask() for _ in range(6)]
    values = [synthetic.objective(trial) for trial in asked]

    assert len(set(values)) == len({str(sorted(trial.params.items())) for trial in asked}) == 6


@pytest.mark.parametrize("base", [False, True], ids=["alone", "as base"])
def test_workers_that_follow_one_proposal_part(base: bool) -> None:
    """Two samplers, as in two processes, decide in turn at the same state of the study."""
    storage = InMemoryStorage()
    made = [
        SurrogateSampler(SMALL, base_sampler=Stubborn(), n_candidates=2, seed=0)
        if base
        else StrategySampler(SMALL, Stubborn(), seed=0)
        for _ in range(3)
    ]
    studies = [
        optuna.create_study(study_name="s", storage=storage, sampler=sampler, load_if_exists=True)
        for sampler in made
    ]
    barrier = threading.Barrier(3)
    found: list[dict[str, Any]] = []

    def work(study: optuna.Study) -> None:
        trial = study.ask()
        barrier.wait()
        small(trial)
        found.append(trial.params)

    threads = [threading.Thread(target=work, args=(study,)) for study in studies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len({str(sorted(params.items())) for params in found}) == 3


WORKER = """
import sys
import optuna
from tests.samplers import test_strategy as t
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = optuna.load_study(
    study_name="s", storage=t.journal(sys.argv[1], False), sampler=t.mutating(t.SMALL, n_startup=2)
)
sys.stdin.readline()
study.optimize(t.small, n_trials=int(sys.argv[2]))
"""


def test_two_processes_share_a_study(tmp_path: Path) -> None:
    """The same seed in both, and between them they cover the space."""
    optuna.create_study(study_name="s", direction="maximize", storage=journal(tmp_path, False))
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, tmp_path, str(SIZE // 2)],
            stdin=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for _ in range(2)
    ]
    for worker in workers:
        worker.stdin.write(b"go\n")  # type: ignore[union-attr]
        worker.stdin.flush()  # type: ignore[union-attr]
    for worker in workers:
        worker.communicate(timeout=240)
        assert worker.returncode == 0

    study = optuna.load_study(study_name="s", storage=journal(tmp_path, False))
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * SIZE
    assert distinct(study) == SIZE


def test_several_threads_share_a_study() -> None:
    study = optuna.create_study(direction="maximize", sampler=mutating(SMALL))
    study.optimize(small, n_trials=SIZE, n_jobs=3)

    assert distinct(study) == SIZE


# What is proposed


def test_nothing_is_evaluated_twice_until_all_are() -> None:
    study = studied(StrategySampler(SMALL, Stubborn(), seed=0), small, SIZE)

    assert study.trials[0].params == {"op": "conv", "width": 4}
    assert distinct(study) == SIZE
    assert study.trials[0].user_attrs == {
        "n_candidates": 1,
        "n_duplicates": 0,
        "n_infeasible": 0,
    }
    study.optimize(small, n_trials=1)
    assert study.trials[-1].user_attrs["n_candidates"] == 0


def test_limits_hold() -> None:
    sampler = StrategySampler(SMALL, MutateBest(n_startup=2), limits={"width": 2}, seed=0)
    study = studied(sampler, small, 6)

    assert {trial.params["width"] for trial in study.trials} == {1, 2}
    nothing = StrategySampler(SMALL, MutateBest(), limits={"width": 0}, seed=0)
    with pytest.raises(InfeasibleError, match="width <= 0"):
        studied(nothing, small, 1)


def test_an_enqueued_architecture_is_kept_and_its_rest_proposed() -> None:
    study = optuna.create_study(direction="maximize", sampler=mutating(SMALL))
    study.enqueue_trial({"op": "skip", "width": 2})
    study.enqueue_trial({"op": "pool"})
    study.optimize(small, n_trials=6)

    assert study.trials[0].params == {"op": "skip", "width": 2}
    assert study.trials[1].params["op"] == "pool"
    assert distinct(study) == 6


def test_conditional_parameters_are_proposed_where_they_exist() -> None:
    space = ToySpace()
    study = studied(mutating(space), lambda trial: float(space.suggest(trial)["width"]), 20)

    assert {"second_width" in trial.params for trial in study.trials} == {True, False}
    assert distinct(study) == 20


def test_mutating_the_best_beats_drawing_at_random() -> None:
    def best(make: Callable[[int], BaseSampler]) -> float:
        return float(np.median([synthetic.best_after(make(seed), 40) for seed in range(7)]))

    assert best(lambda seed: mutating(seed=seed, n_best=1)) > 1.0 + best(
        lambda seed: optuna.samplers.RandomSampler(seed=seed)
    )


def test_a_mutation_changes_one_choice_of_a_best_trial() -> None:
    study = studied(mutating(n_best=1, n_startup=3), synthetic.objective, 12)
    for number in range(3, 12):
        best = max(study.trials[:number], key=lambda trial: trial.value or -math.inf)
        own = study.trials[number].params
        assert sum(own[name] != best.params[name] for name in synthetic.SPACE) == 1


# As base of SurrogateSampler


@pytest.mark.parametrize(
    "base",
    [MutateBest(), mutating(seed=8), lambda seed: mutating(seed=seed)],
    ids=["strategy", "sampler", "factory"],
)
def test_with_screening_off_the_trials_are_the_strategy_s(base: Any) -> None:
    screening = SurrogateSampler(synthetic.SPACE, base_sampler=base, n_candidates=1, seed=5)
    plain = mutating(seed=8 if isinstance(base, StrategySampler) else 5)
    ours, alone = (studied(one, synthetic.objective, 10) for one in (screening, plain))

    assert parameters(ours) == parameters(alone)


def test_a_pool_holds_what_a_strategy_proposes() -> None:
    watching = Watching()
    sampler = SurrogateSampler(synthetic.SPACE, base_sampler=watching, n_candidates=16, seed=0)
    study = studied(sampler, synthetic.objective, 8)

    assert [len(seen) for seen in watching.seen[::8]] == list(range(8))
    assert study.trials[-1].user_attrs["n_candidates"] >= 16


def test_plans_of_the_replica_do_not_reach_the_study() -> None:
    """A fixed parameter changes what the base proposed; the stored plan is the real one."""
    study = optuna.create_study(
        direction="maximize",
        sampler=SurrogateSampler(
            SMALL, base_sampler=lambda seed: mutating(SMALL, seed=seed), n_candidates=2, seed=0
        ),
    )
    study.enqueue_trial({"op": "skip"})
    study.optimize(small, n_trials=1)

    (trial,) = study.trials
    assert trial.system_attrs["surrogate_nas:params"] == trial.params


@pytest.mark.parametrize("base", [False, True], ids=["alone", "as base"])
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"op": "conv"}, "function of a parameter's name and distribution"),
        (lambda name, distribution: 99, "a value of 'op' in"),
    ],
)
def test_a_strategy_that_proposes_nonsense_is_named(answer: Any, message: str, base: bool) -> None:
    strategy = Answering(answer)
    sampler: BaseSampler = StrategySampler(SMALL, strategy, seed=0)
    if base:
        sampler = SurrogateSampler(SMALL, base_sampler=strategy, n_candidates=8, seed=0)
    with pytest.raises(SpaceError, match=message) as caught:
        studied(sampler, small, 1)
    assert "Answering" in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: StrategySampler(SMALL, MutateBest), "subclass of .*Strategy; got <class"),  # type: ignore[arg-type]
        (lambda: StrategySampler(None, MutateBest(), limits={"a": 1}), "limits on a and no space"),
        (lambda: MutateBest(n_best=0), "n_best=0"),
        (lambda: MutateBest(n_startup=-1), "n_startup=-1"),
    ],
)
def test_what_cannot_be_is_explained(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(SpaceError, match=message):
        make()


# What a strategy sees


def test_a_strategy_sees_results_with_the_better_ones_larger() -> None:
    watching = Watching()
    study = optuna.create_study(
        directions=["minimize", "maximize"], sampler=StrategySampler(SMALL, watching, seed=0)
    )

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        value = small(trial)
        trial.set_constraint("size", trial.params["width"] - 3.0)
        return value, -2 * value

    study.optimize(objective, n_trials=5)
    study.ask().suggest_int("width", 1, 4)
    seen = watching.seen[-1]

    done = study.trials[:5]
    assert list(seen.params) == [trial.params for trial in done]
    assert seen.values.tolist() == [[-trial.values[0], trial.values[1]] for trial in done]
    assert seen.violations.tolist() == [[trial.params["width"] - 3.0] for trial in done]
    assert len(set(seen.keys)) == 5 == len(seen)
    assert seen.taken == set(seen.keys)
    assert (seen.seconds >= 0).all()
    assert seen.is_feasible.tolist() == [trial.params["width"] <= 3 for trial in done]


def test_it_is_called_lazily() -> None:
    """A trial that asks for nothing costs nothing."""
    watching = Watching()
    study = optuna.create_study(sampler=StrategySampler(SMALL, watching, seed=0))
    study.optimize(lambda trial: 0.0, n_trials=3)

    assert watching.seen == []


def test_trials_of_any_end_are_taken() -> None:
    watching = Watching()
    sampler = StrategySampler(SMALL, watching, seed=0)

    def objective(trial: optuna.Trial) -> float:
        value = small(trial)
        if trial.number == 1:
            raise optuna.TrialPruned
        if trial.number == 2:
            raise ValueError
        return math.nan if trial.number == 3 else value

    study = studied(sampler, objective, 4, catch=[ValueError])
    running = study.ask()
    small(running)
    study.optimize(small, n_trials=1)
    seen = watching.seen[-1]

    states = [trial.state for trial in study.trials[:5]]
    assert states == [
        TrialState.COMPLETE,
        TrialState.PRUNED,
        TrialState.FAIL,
        TrialState.FAIL,
        TrialState.RUNNING,
    ]
    assert len(seen) == 1
    assert len(seen.taken) == 5
    assert [dict(params) for params in seen.pending] == [running.params]
    assert json.loads(json.dumps(sorted(seen.taken))) == sorted(seen.taken)


def test_names_are_found_from_the_face() -> None:
    import surrogate_nas.samplers as face

    assert dir(face) == sorted(face.__all__)
    assert all(getattr(face, name).__doc__ for name in face.__all__)
    with pytest.raises(AttributeError, match="Nothing"):
        _ = face.Nothing
