"""Claims of trials, in the storage and by one worker at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from surrogate_nas.running.workers.address import address_to_share
from surrogate_nas.running.workers.budget import BudgetedStudy, BudgetMet, fail_trials_of
from surrogate_nas.running.workers.coordination import coordinate
from tests.helpers.worker_studies import KINDS, address, new_study, opened

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_processes")]

COMPLETE, FAIL, RUNNING, WAITING = (
    TrialState.COMPLETE,
    TrialState.FAIL,
    TrialState.RUNNING,
    TrialState.WAITING,
)
SPACE: dict[str, optuna.distributions.BaseDistribution] = {
    "x": optuna.distributions.IntDistribution(0, 9)
}


@contextmanager
def worker(
    place: str, name: str, n_trials: int = 3, dead_after: float = 60.0
) -> Iterator[BudgetedStudy]:
    """A worker of this process: its study, as ``study.optimize`` would see it."""
    storage = opened(place)
    study_id = storage.get_study_id_from_name("toy")
    with coordinate(address_to_share(storage), storage, study_id, name, dead_after) as together:
        yield BudgetedStudy(
            "toy",
            storage,
            optuna.samplers.RandomSampler(),
            optuna.pruners.NopPruner(),
            n_trials=n_trials,
            name=name,
            run="run",
            coordination=together,
            is_stopped=lambda: False,
        )


@pytest.mark.parametrize("kind", KINDS)
def test_no_claim_exceeds_the_budget(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Eight workers, three places: one trial each for three of them, and none for the others."""
    place = address(kind, tmp_path, request)
    study = new_study(place)
    begun: list[int] = []
    barrier = threading.Barrier(8)

    def run(name: str) -> None:
        with worker(place, name) as mine:
            barrier.wait()
            try:
                while True:
                    trial = mine.ask(SPACE)
                    begun.append(trial.number)
                    time.sleep(0.3)
                    mine.tell(trial, 1.0)
            except BudgetMet:
                pass

    threads = [threading.Thread(target=run, args=(f"w{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(begun) == [0, 1, 2]
    assert [t.state for t in study.trials] == [COMPLETE] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_whose_worker_is_gone_is_claimed_by_another(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A file's worker is known to be gone at once, a server's after some silence."""
    place = address(kind, tmp_path, request)
    study = new_study(place)
    with ExitStack() as gone:
        first = gone.enter_context(worker(place, "first", n_trials=1, dead_after=1.0))
        trial = first.ask(SPACE)
        gone.pop_all().close()
    time.sleep(1.2)
    with worker(place, "second", n_trials=1, dead_after=1.0) as second:
        again = second.ask(SPACE)
        assert again.user_attrs == {"continues_trial": 0, "attempt": 2}
        assert again.params == trial.params
        assert [t.state for t in study.trials] == [FAIL, RUNNING]
        second.tell(again, 1.0)
        with pytest.raises(BudgetMet):
            second.ask(SPACE)


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_whose_worker_lives_is_left_alone(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """As long as it leaves signs of life."""
    place = address(kind, tmp_path, request)
    study = new_study(place)
    with worker(place, "first", dead_after=1.5) as first:
        trial = first.ask(SPACE)
        with first._coordination.beating(trial._trial_id):
            time.sleep(3.0)
            with worker(place, "second", dead_after=1.5) as second:
                second.ask(SPACE)
        assert [t.state for t in study.trials] == [RUNNING, RUNNING]
        assert fail_trials_of(study, first._coordination, {"second"}) == [1]
        assert [t.state for t in study.trials] == [RUNNING, FAIL, WAITING]


@pytest.mark.parametrize("kind", KINDS)
def test_trials_in_the_queue_come_first_and_others_are_left_alone(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A trial that runs without a worker counts when it has finished."""
    place = address(kind, tmp_path, request)
    study = new_study(place)
    foreign = study.ask(SPACE)
    study.enqueue_trial({"x": 7})
    with worker(place, "first", n_trials=2) as mine:
        first = mine.ask(SPACE)
        assert first.params == {"x": 7}
        study.tell(foreign, 1.0)
        mine.tell(first, 2.0)
        with pytest.raises(BudgetMet):
            mine.ask(SPACE)


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_what_a_worker_finished_before_it_went_counts(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends between another's looks at the trials and at who is alive: no place is free."""
    place = address(kind, tmp_path, request)
    study = new_study(place)
    with ExitStack() as gone, worker(place, "second", n_trials=1) as second:
        first = gone.enter_context(worker(place, "first", n_trials=1))
        trial = first.ask(SPACE)
        look, looks = second._coordination.dead, count()

        def look_late(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
            if next(looks) == 1:  # the last one before the claim
                first.tell(trial, 1.0)
                gone.pop_all().close()
            return look(trials)

        monkeypatch.setattr(second._coordination, "dead", look_late)
        with pytest.raises(BudgetMet):
            second._claimed(SPACE)
    assert [t.state for t in study.trials] == [COMPLETE]


def test_who_has_lost_the_lock_claims_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was asked for goes back to the queue, untouched, and is claimed in peace."""
    place = f"{tmp_path}/nas.journal"
    study = new_study(place)
    with worker(place, "first", n_trials=1) as mine:
        held = iter([False, True])
        exclusive = mine._coordination.exclusive

        @contextmanager
        def lost() -> Iterator[object]:
            with exclusive():
                yield lambda: next(held)

        monkeypatch.setattr(mine._coordination, "exclusive", lost)
        trial = mine.ask(SPACE)
        assert [t.state for t in study.trials] == [RUNNING]
        assert trial.number == 0


def test_who_is_cut_off_from_a_server_holds_nothing(
    postgres_url: str, request: pytest.FixtureRequest
) -> None:
    """Its connection ended by the server, a holder knows; it can hold the lock anew."""
    new_study(postgres_url)
    server = request.getfixturevalue("postgres_server")
    with worker(postgres_url, "first") as mine:
        for is_cut_off in (True, False):
            with mine._coordination.exclusive() as is_held:
                assert is_held()
                if is_cut_off:
                    server.run(
                        "select pg_terminate_backend(pid) from pg_stat_activity "
                        "where state = 'idle in transaction'"
                    )
                assert is_held() is not is_cut_off
