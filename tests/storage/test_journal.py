"""A journal file holds whole lines, whoever stopped writing in the middle of one."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from surrogate_nas.storage.journal import JournalFile
from surrogate_nas.storage.opening import open_storage


@pytest.mark.parametrize("length", [1, 50, 200_000])
def test_half_a_line_of_a_writer_that_is_gone_is_cut_off(tmp_path: Path, length: int) -> None:
    """Also one that is longer than what is looked at at once."""
    path = tmp_path / "nas.journal"
    study = optuna.create_study(storage=open_storage(str(path)), study_name="s")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    with path.open("ab") as file:
        file.write(b"." * length)

    again = optuna.load_study(storage=open_storage(str(path)), study_name="s")
    again.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)

    trials = optuna.load_study(storage=open_storage(str(path)), study_name="s").trials
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert [trial.params for trial in trials[:2]] == [trial.params for trial in study.trials[:2]]
    assert b"..." not in path.read_bytes()


def test_the_file_is_that_of_optuna(tmp_path: Path) -> None:
    """Byte for byte: either may go on with the other's."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    logs = [{"op": 1, "text": "ä\n"}, {"op": 2, "values": [1.5, None]}]

    for _ in range(2):
        JournalFile(str(ours)).append_logs(logs)
        optuna.storages.journal.JournalFileBackend(str(theirs)).append_logs(logs)

    assert ours.read_bytes() == theirs.read_bytes()
    assert list(JournalFile(str(ours)).read_logs(2)) == logs


def test_a_file_of_half_a_line_is_begun_anew(tmp_path: Path) -> None:
    """There was nothing in it."""
    path = tmp_path / "nas.journal"
    path.write_bytes(b'{"op_code"')

    JournalFile(str(path)).append_logs([{"op": 1}])

    assert path.read_bytes() == b'{"op":1}\n'
