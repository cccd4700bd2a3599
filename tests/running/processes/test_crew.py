"""Workers whose number is measured: on the CPU here, by the same code as on CUDA."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from surrogate_nas.running.objective import Objective
from surrogate_nas.running.optimize import optimize
from surrogate_nas.running.processes import crew
from surrogate_nas.running.processes.worker_pool import WorkerPool
from surrogate_nas.running.runnable import as_objective
from surrogate_nas.training.trainer import Trainer
from tests.helpers.broken import NoNetworks
from tests.helpers.toys import ToySpace, ToyTask

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_processes")]

OBJECTIVE = Objective(ToyTask(), ToySpace(), Trainer(epochs=1, batch_size=32, device="cpu"))


@pytest.fixture(autouse=True)
def _short_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crew, "_PROBE_SECONDS", 0.5)
    monkeypatch.setattr(crew, "fitting", lambda free, each: 2)
    monkeypatch.setattr(crew, "cores", lambda: 8)


def test_as_many_workers_are_kept_as_are_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doubled up to what fits; those that do not pay are ended."""
    seen: list[dict[int, float]] = []

    def fastest(rates: dict[int, float]) -> int:
        seen.append(rates)
        return 1

    monkeypatch.setattr(crew, "best_rate", fastest)
    monkeypatch.setattr(crew, "worth_doubling", lambda rates, n: True)
    with WorkerPool(OBJECTIVE, 1) as pool:
        assert crew.n_on_device(pool, "auto", at_most=10) == 1
        assert len(pool.workers) == 1
    (rates,) = seen
    assert sorted(rates) == [1, 2]
    assert all(rate > 0 for rate in rates.values())


def test_a_study_runs_with_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that does not fit is reduced, with a warning; the budget is met."""
    monkeypatch.setattr(crew, "trains_on_cuda", lambda objective: True)
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    with pytest.warns(UserWarning, match="room for 5 candidates at once; 2 fit"):
        optimize(study, OBJECTIVE, 5, n_concurrent=5)
    assert [t.state for t in study.trials] == [TrialState.COMPLETE] * 5


def test_where_probes_fail_one_is_trained_at_a_time() -> None:
    """With a warning; the study itself will say what is wrong."""
    objective = Objective(ToyTask(), NoNetworks(), Trainer(device="cpu"))
    with (
        WorkerPool(objective, 1) as pool,
        pytest.warns(UserWarning, match="one candidate is trained at a time"),
    ):
        assert crew.n_on_device(pool, "auto", at_most=10) == 1


@pytest.mark.parametrize(("device", "on_cuda"), [("cpu", False), ("cuda:0", True)])
def test_the_device_is_the_trainers(device: str, on_cuda: bool) -> None:
    """Of an own function nothing is known."""
    objective = Objective(ToyTask(), ToySpace(), Trainer(device=device))
    assert crew.trains_on_cuda(objective) is on_cuda
    assert not crew.trains_on_cuda(as_objective(lambda trial: 0.0))
