"""Workers that die before they are ready: replaced, up to a number of deaths in a row."""

from __future__ import annotations

import signal
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

import surrogate_nas as sn
from surrogate_nas.errors import StudyError, TrainingError
from surrogate_nas.running.processes import crew
from surrogate_nas.running.processes.worker_pool import WorkerPool
from surrogate_nas.running.runnable import as_objective
from tests.helpers.stillborn import kill_first
from tests.helpers.worker_studies import new_study

pytestmark = pytest.mark.filterwarnings("ignore:.*workers share .* CPU cores")

WORDS = "first\n\x1b[31mno room for postgresql://me:Tr0ub4dor@host/x\x1b[0m\n"


def constant(trial: optuna.trial.BaseTrial) -> float:
    trial.suggest_int("x", 0, 9)
    return 1.0


def in_pairs(study: optuna.Study) -> None:
    sn.optimize(study, constant, 2, n_concurrent=2)


def by_workers(study: optuna.Study) -> None:
    sn.run_workers(study, constant, 2, n_workers=1)


@pytest.fixture
def deaths(tmp_path: Path) -> Path:
    (tmp_path / "deaths").mkdir()
    return tmp_path / "deaths"


@pytest.mark.slow
@pytest.mark.parametrize("run", [in_pairs, by_workers])
def test_a_worker_that_dies_before_it_is_ready_is_replaced(
    run: object,
    tmp_path: Path,
    deaths: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Like any other; the study has its trials."""
    assert callable(run)
    kill_first(monkeypatch, deaths, 3)
    study = new_study(f"{tmp_path}/nas.journal")

    run(study)

    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert len(list(deaths.iterdir())) == 3
    assert caplog.text.count("another takes its place") == 3
    assert "exit code -9 (SIGKILL)" in caplog.text


@pytest.mark.parametrize("run", [in_pairs, by_workers])
def test_deaths_in_a_row_end_the_search(
    run: object,
    tmp_path: Path,
    deaths: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The error says by which signal the last one died, and what it wrote, without a password."""
    assert callable(run)
    kill_first(monkeypatch, deaths, 30, WORDS, signal.SIGABRT)
    study = new_study(f"{tmp_path}/nas.journal")

    with pytest.raises(TrainingError, match=r"exit code -6 \(SIGABRT\), after it wrote") as caught:
        run(study)

    assert r"wrote: first / \x1b[31mno room for postgresql://me:***@host/x" in str(caught.value)
    assert 9 <= len(list(deaths.iterdir())) <= 10
    assert TrialState.RUNNING not in {trial.state for trial in study.trials}
    assert "first\n" in capfd.readouterr().err  # what it wrote is repeated as it comes


def test_a_probing_of_the_device_replaces_its_workers(
    deaths: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And gives up, too."""
    kill_first(monkeypatch, deaths, 30)
    with (
        WorkerPool(as_objective(constant), 1) as pool,
        pytest.raises(TrainingError, match=r"9 in a row .* without a word on its error stream"),
    ):
        crew.n_on_device(pool, 1, at_most=1)
    assert len(list(deaths.iterdir())) == 9


class Unsendable:
    """An objective that cannot be made again in another process."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return _refuse, ("no such module",)

    def __call__(self, trial: optuna.trial.BaseTrial) -> float:
        return 1.0


def _refuse(words: str) -> None:
    raise ImportError(words)


@pytest.mark.slow
def test_an_objective_that_no_worker_can_be_given_is_refused_at_once() -> None:
    """Another worker could not be given it either, so none is started."""
    with pytest.raises(StudyError, match="ImportError: no such module") as caught:
        sn.optimize(optuna.create_study(), Unsendable(), 2, n_concurrent=2)
    assert isinstance(caught.value.__cause__, ImportError)
