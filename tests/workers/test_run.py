"""Studies with many workers: real processes on real storages."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

import surrogate_nas as sn
from tests.toys import ToySpace

COMPLETE, FAIL, PRUNED = TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED
pytestmark = pytest.mark.filterwarnings("ignore:.*workers share .* CPU cores")


def new_study(path: Path, **arguments: Any) -> optuna.Study:
    """A study in a journal file."""
    backend = optuna.storages.journal.JournalFileBackend(str(path / "nas.journal"))
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(backend),
        study_name="toy",
        direction="maximize",
        **{"sampler": optuna.samplers.RandomSampler(), **arguments},
    )


def width(trial: optuna.Trial) -> float:
    architecture = ToySpace().suggest(trial)
    time.sleep(0.02)
    return float(architecture["width"])


def test_workers_meet_the_budget(tmp_path: Path) -> None:
    """So many trials, all of them finished, by more than one process; callbacks see each once."""
    study = new_study(tmp_path)
    seen: list[int] = []

    sn.run_workers(study, width, 12, n_workers=3, callbacks=[lambda _, t: seen.append(t.number)])

    assert [t.state for t in study.trials] == [COMPLETE] * 12
    assert sorted(seen) == list(range(12))
    assert len({t.system_attrs["surrogate_nas:worker"] for t in study.trials}) > 1
    assert [path.name for path in tmp_path.iterdir()] == ["nas.journal"]
