from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.artifacts import get_all_artifact_meta
from optuna.trial import TrialState

from surrogate_nas.errors import MissingExtraError
from surrogate_nas.results.dashboard import callback as module
from surrogate_nas.results.dashboard import publish as pages
from surrogate_nas.results.dashboard.callback import DashboardCallback, flush_stale
from surrogate_nas.results.dashboard.pictures import add_picture, without_picture
from surrogate_nas.running.objective import Objective
from surrogate_nas.running.study import create_study
from surrogate_nas.training.trainer import Trainer
from tests.helpers.stored_studies import stored_figures
from tests.helpers.toys import ToySpace, ToyTask

pytestmark = pytest.mark.usefixtures("quick_processes")

TASK, SPACE, TRAINER = ToyTask(), ToySpace(), Trainer(epochs=1, batch_size=32)


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return create_study(
        TASK,
        SPACE,
        storage=f"sqlite:///{tmp_path}/nas.db",
        study_name="toy",
        n_candidates=4,
        seed=0,
    )


def always(**arguments: Any) -> DashboardCallback:
    """One that is never too early."""
    made = DashboardCallback(SPACE, share=1e9, **arguments)
    made._last_cost = made._picture_cost = 0.0
    return made


def test_every_trial_of_an_objective_has_its_picture(study: optuna.Study, tmp_path: Path) -> None:
    """Drawn while the trial runs."""
    study.optimize(Objective(TASK, SPACE, TRAINER, dashboard=always()), 3)

    for trial in study.trials:
        (meta,) = get_all_artifact_meta(trial, storage=study._storage)
        assert (meta.filename, meta.mimetype) == ("architecture.svg", "image/svg+xml")
        picture = (tmp_path / "nas-artifacts" / meta.artifact_id).read_text(encoding="utf-8")
        assert "ToySpace" in picture


def test_figures_hold_the_trial_that_has_just_ended(study: optuna.Study) -> None:
    """Though the study does not know its value yet."""
    study.optimize(Objective(TASK, SPACE, TRAINER, dashboard=always()), 3)

    (*_, best) = stored_figures(study)["best-found"]["data"]
    assert len(best["y"]) == 3
    assert len(study.trials) == 3


def test_refreshing_takes_its_share_of_the_time_and_no_more(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two percent of 100 seconds pay for two refreshes of one second, not for three."""
    clock = [0.0]
    monkeypatch.setattr(
        "surrogate_nas.results.dashboard.callback.time.monotonic", lambda: clock[0]
    )
    written = []

    def writing(*_: Any) -> None:
        written.append(clock[0])
        clock[0] += 1.0

    monkeypatch.setattr(pages, "write", writing)
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    made = DashboardCallback(SPACE)
    made.begin()
    for _ in range(20):
        clock[0] += 5.0
        made(study, study.tell(study.ask(), 1.0))

    assert len(written) == 2
    assert written[0] == 50.0


def test_pictures_are_within_the_share_of_time_too(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 0.1 seconds each: two percent of twenty seconds pay for four; the others come last."""
    clock = [0.0]
    monkeypatch.setattr(
        "surrogate_nas.results.dashboard.callback.time.monotonic", lambda: clock[0]
    )
    monkeypatch.setattr(pages, "write", lambda *_: None)
    real, drawn = add_picture, []

    def drawing(study: optuna.Study, trial: Any, svg: str, folder: Path) -> None:
        drawn.append(trial.number)
        clock[0] += 0.1
        real(study, trial, svg, folder)

    monkeypatch.setattr(module, "add_picture", drawing)
    made = DashboardCallback(SPACE)
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    for _ in range(20):
        trial = study.ask()
        SPACE.suggest(trial)
        made.show(trial, lambda: "<svg/>")
        clock[0] += 1.0
        made.trained(trial)
        study.tell(trial, 1.0)
    assert len(drawn) == 4
    assert drawn[0] == 0
    assert made.spent_seconds <= 0.02 * clock[0]

    made.flush(study)
    assert not without_picture(study, study.trials)


def test_a_pruned_trial_has_its_picture_too(study: optuna.Study) -> None:
    """Drawn after its training where it was too early before."""

    class Never(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> bool:
            return True

    study.pruner = Never()
    made = DashboardCallback(SPACE)
    objective = Objective(TASK, SPACE, TRAINER, dashboard=made)
    made._picture_cost = 1e6
    study.optimize(objective, 1)
    assert without_picture(study, study.trials)

    made.flush(study)
    assert study.trials[0].state == TrialState.PRUNED
    assert not without_picture(study, study.trials)


def test_at_the_end_the_best_trials_have_pictures_first(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there are too many of them."""
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    for value in (0.1, 0.9, 0.5):
        trial = study.ask()
        SPACE.suggest(trial)
        study.tell(trial, value)
    monkeypatch.setattr(pages, "_MOST_LATE_PICTURES", 2)
    DashboardCallback(SPACE).flush(study)

    assert [t.number for t in without_picture(study, study.trials)] == [0]


def test_what_was_too_early_is_written_at_the_end(study: optuna.Study) -> None:
    """Once, and not again where nothing is new."""
    study.optimize(Objective(TASK, SPACE, TRAINER), 2)
    assert stored_figures(study) == {}

    flush_stale()

    assert "best-found" in stored_figures(study)
    assert not module._stale


def test_a_program_that_ends_has_its_figures(tmp_path: Path) -> None:
    """The same in a process of its own."""
    script = (
        "import optuna, surrogate_nas as sn\n"
        "study = optuna.create_study(storage='sqlite:///nas.db', study_name='x')\n"
        "study.optimize(lambda t: t.suggest_float('x', 0, 1), 3, "
        "callbacks=[sn.DashboardCallback()])\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)

    study = optuna.load_study(study_name="x", storage=f"sqlite:///{tmp_path}/nas.db")
    (_, best) = stored_figures(study)["best-found"]["data"][-2:]
    assert len(best["y"]) == 3


def test_studies_in_memory_are_left_alone() -> None:
    """No dashboard can read them."""
    made = always()
    study = optuna.create_study(direction="maximize")
    study.optimize(Objective(TASK, SPACE, TRAINER, dashboard=made), 1)
    made(study, study.trials[0])

    assert stored_figures(study) == {}
    assert get_all_artifact_meta(study.trials[0], storage=study._storage) == []


def test_it_can_be_left_out(study: optuna.Study, tmp_path: Path) -> None:
    """Then nothing is written beside the trials."""
    study.optimize(Objective(TASK, SPACE, TRAINER, dashboard=False), 1)

    assert not (tmp_path / "nas-artifacts").exists()
    assert not module._stale


def test_its_errors_never_end_a_trial_and_are_logged_once(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither those of figures nor those of pictures."""

    def failing(*_: Any, **__: Any) -> None:
        raise RuntimeError("no space left")

    monkeypatch.setattr(pages, "write", failing)
    monkeypatch.setattr(module, "add_picture", failing)
    with caplog.at_level(logging.WARNING, "surrogate_nas"):
        study.optimize(Objective(TASK, SPACE, TRAINER, dashboard=always()), 3)

    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
    assert [record.name for record in caplog.records] == [
        "surrogate_nas.results.dashboard.callback"
    ]
    assert "RuntimeError: no space left" in caplog.text


def test_a_folder_without_rights_leaves_trials_without_pictures(
    study: optuna.Study, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file is where the folder should be."""
    (tmp_path / "nas-artifacts").write_text("")
    with caplog.at_level(logging.WARNING, "surrogate_nas"):
        study.optimize(Objective(TASK, SPACE, TRAINER), 2)
        flush_stale()

    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2
    assert "could not be written; the study goes on" in caplog.text


def test_a_missing_extra_is_no_warning(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Pictures are kept all the same; whoever installs the extra later sees them."""

    def missing() -> None:
        raise MissingExtraError(expected="it", got="nothing", fix="install it")

    monkeypatch.setattr(pages, "require_dashboard", missing)
    with caplog.at_level(logging.INFO, "surrogate_nas"):
        study.optimize(Objective(TASK, SPACE, TRAINER, dashboard=always()), 1)

    ours = [record for record in caplog.records if record.name == module.__name__]
    assert [record.levelname for record in ours] == ["INFO"]
    assert get_all_artifact_meta(study.trials[0], storage=study._storage)


def test_it_survives_a_journey_to_another_process() -> None:
    """Workers are given objectives by pickling."""
    made = pickle.loads(pickle.dumps(DashboardCallback(SPACE, artifacts="a", share=0.1)))

    assert (made.artifacts, made.share) == (Path("a"), 0.1)
    assert made._began is None


def test_its_own_folder_is_told_to_the_study(study: optuna.Study, tmp_path: Path) -> None:
    """The dashboard has to be started with it."""
    pictures = always(artifacts=tmp_path / "own")
    study.optimize(Objective(TASK, SPACE, TRAINER, dashboard=pictures), 1)

    assert study.user_attrs["artifact_folder"] == str(tmp_path / "own")
    assert len(list((tmp_path / "own").iterdir())) == 1


def test_what_ends_while_the_last_figures_are_written_is_in_them(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another worker's trial: its own write may have been lost to this one."""
    study.optimize(Objective(TASK, SPACE, TRAINER, dashboard=False), 1)
    real, written = pages.write, []

    def writing(study: optuna.Study, space: Any, trials: Any) -> None:
        written.append(len(trials))
        real(study, space, trials)
        if len(written) == 1:
            study.add_trial(study.trials[0])

    monkeypatch.setattr(pages, "write", writing)
    DashboardCallback(SPACE).flush(study)
    assert written == [1, 2]


def test_a_refresh_in_which_trials_end_is_made_again_at_the_end(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the other worker says that it has written all."""
    made, real, written = always(), pages.write, []

    def writing(study: optuna.Study, space: Any, trials: Any) -> None:
        written.append(len(trials))
        real(study, space, trials)
        if len(written) == 1:
            study.add_trial(optuna.trial.create_trial(value=0.5))

    monkeypatch.setattr(pages, "write", writing)
    study.optimize(Objective(TASK, SPACE, TRAINER, dashboard=made), 1)
    pages.release(study, 2)
    flush_stale()
    assert written == [1, 2]


def test_a_thread_does_not_wait_for_another_s_refresh(study: optuna.Study) -> None:
    """Its results are in the next one."""
    made = always()
    with made._lock:
        began = time.perf_counter()
        made.flush(study)
    assert time.perf_counter() - began < 0.5
    assert stored_figures(study) == {}


def test_any_objective_s_trials_have_pictures_as_they_finish(tmp_path: Path) -> None:
    """Those that have none yet: an Objective has drawn its own while they ran."""
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/nas.db", direction="maximize")
    study.optimize(lambda t: t.suggest_float("x", 0, 1), 2, callbacks=[always()])
    assert len(list((tmp_path / "nas-artifacts").iterdir())) == 2

    objective = Objective(TASK, SPACE, TRAINER, dashboard=always())
    assert isinstance(objective.dashboard, DashboardCallback)
    study.optimize(objective, 1, callbacks=[objective.dashboard])
    assert len(list((tmp_path / "nas-artifacts").iterdir())) == 3
