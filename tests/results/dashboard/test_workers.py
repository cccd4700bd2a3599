"""Several processes at one study's page: real ones, as they meet in the storage alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import optuna_dashboard
import pytest
from optuna.artifacts import get_all_artifact_meta
from optuna.trial import TrialState

from surrogate_nas.results.dashboard.note import BEGIN, END
from surrogate_nas.results.dashboard.pictures import without_picture
from surrogate_nas.running.study import create_study
from tests.helpers.stored_studies import stored_figures
from tests.helpers.toys import ToySpace, ToyTask

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_processes")]

N_EACH = 4
WORKER = f"""
import optuna
from surrogate_nas import DashboardCallback, Objective, Trainer
from surrogate_nas.storage.opening import open_storage
from tests.helpers.toys import ToySpace, ToyTask

study = optuna.load_study(study_name="toy", storage=open_storage("nas.journal"))
pages = DashboardCallback(ToySpace(), share=1e9)
pages._last_cost = pages._picture_cost = 0.0
study.optimize(Objective(ToyTask(), ToySpace(), Trainer(epochs=1), dashboard=pages), {N_EACH})
"""


def test_processes_that_share_a_study_leave_its_page_whole(tmp_path: Path) -> None:
    """One picture a trial, figures that can be read, one note, with the results of all."""
    storage = str(tmp_path / "nas.journal")
    create_study(ToyTask(), ToySpace(), storage=storage, study_name="toy", n_candidates=4, seed=0)
    root = str(Path(__file__).parents[3])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root}
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER], cwd=tmp_path, env=environment)
        for _ in range(2)
    ]
    assert [worker.wait(timeout=120) for worker in workers] == [0, 0]

    study = create_study(
        ToyTask(), ToySpace(), storage=storage, study_name="toy", n_candidates=4, seed=0
    )
    trials = study.trials
    assert len(trials) == 2 * N_EACH
    assert not without_picture(study, trials)
    assert all(len(get_all_artifact_meta(t, storage=study._storage)) == 1 for t in trials)
    assert len(list((tmp_path / "nas-artifacts").iterdir())) == len(trials)
    (*_, best) = stored_figures(study)["best-found"]["data"]
    assert len(best["y"]) == sum(trial.state == TrialState.COMPLETE for trial in trials)
    note = optuna_dashboard.get_note(study)
    assert note.count(BEGIN) == note.count(END) == 1
