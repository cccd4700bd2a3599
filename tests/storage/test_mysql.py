"""Studies in a server that speaks MySQL, here a real MariaDB."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from surrogate_nas import cli
from surrogate_nas.errors import StorageError
from surrogate_nas.past.history import read_history
from surrogate_nas.running.workers.run import run_workers
from surrogate_nas.storage.opening import open_storage
from tests.helpers.mysql import MySqlServer
from tests.helpers.toys import ToySpace
from tests.helpers.worker_studies import patient_study, width, workers_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.* workers share .* CPU cores"),
    pytest.mark.usefixtures("quick_processes"),
]


def slow_width(trial: optuna.Trial) -> float:
    value = width(trial)
    time.sleep(0.3)
    return value


def test_workers_outlast_a_restart_of_the_server(
    mysql_server: MySqlServer, mysql_url: str
) -> None:
    """The budget is met exactly, and the past tasks of the next study are there."""
    study = patient_study(mysql_url)

    def restart() -> None:
        until = time.monotonic() + 60
        while len(patient_study(mysql_url).trials) < 4 and time.monotonic() < until:
            time.sleep(0.1)
        mysql_server.stop()
        time.sleep(1)
        mysql_server.start()

    restarting = threading.Thread(target=restart, daemon=True)
    restarting.start()
    run_workers(study, slow_width, 12, n_workers=2)
    restarting.join(120)

    trials = study.get_trials(deepcopy=False)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 12
    assert len(workers_of(study)) == 2
    (past,) = read_history(mysql_url, space=ToySpace())
    assert list(past.values) == [trial.value for trial in trials]


def test_a_search_and_what_is_left_of_it(
    mysql_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command line, with everything that it writes into the study."""
    command = ["search", "--data", "digits", "--trials", "3", "--epochs", "1"]
    final, page = tmp_path / "final", tmp_path / "report.html"
    where = ["--storage", mysql_url, "--folder", str(final), "--report", str(page)]
    assert cli.main([*command, *where, "--artifacts", str(tmp_path / "pictures")]) == 0
    assert cli.main(["show", "--storage", mysql_url, "--name", "digits-cell"]) == 0

    out, err = capsys.readouterr()
    assert "Test accuracy" in out
    assert "could not be written" not in out + err
    assert "secret" not in out + err + page.read_text()


def test_a_wrong_password_is_refused_without_being_shown(mysql_url: str) -> None:
    with pytest.raises(StorageError) as caught:
        open_storage(mysql_url.replace("secret", "nosecret"))

    assert "Access denied" in caught.value.got
    assert "secret" not in str(caught.value)
