"""Past studies out of PostgreSQL: by SQL the same as by Optuna, and remembered."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest

from surrogate_nas.past.history import read_history
from surrogate_nas.past.readers.sql import SqlReader, engine_of, unwrapped
from surrogate_nas.past.readers.studies import OptunaReader, Results, StoredStudy
from surrogate_nas.storage.opening import open_storage
from tests.helpers.toys import ToySpace

pytestmark = pytest.mark.slow


def test_past_studies_are_read_by_sql_as_by_optuna_and_then_from_the_cache(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Drivers and types differ from SQLite's; a new trial is read anew."""
    storage = open_storage(postgres_url)
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = optuna.create_study(storage=storage, study_name="s", sampler=sampler)
    study.optimize(lambda trial: ToySpace().suggest(trial)["width"] + trial.number / 7, 12)
    database = unwrapped(storage)
    engine = engine_of(database)
    assert engine is not None

    by_sql = SqlReader(engine, ())
    [found] = by_sql.studies()
    assert by_sql.results(found) == OptunaReader(database).results(found)

    names_read: list[str] = []
    results = SqlReader.results

    def noted(self: SqlReader, of: StoredStudy) -> Results:
        names_read.append(of.name)
        return results(self, of)

    monkeypatch.setattr(SqlReader, "results", noted)
    first = read_history(postgres_url, space=ToySpace(), cache=tmp_path)
    again = read_history(postgres_url, space=ToySpace(), cache=tmp_path)
    assert names_read == ["s"]
    assert [task.values for task in again] == [task.values for task in first]
    assert [task.params for task in again] == [task.params for task in first]
    study.optimize(lambda trial: float(ToySpace().suggest(trial)["width"]), 1)
    [task] = read_history(postgres_url, space=ToySpace(), cache=tmp_path)
    assert (len(task.values), names_read) == (13, ["s", "s"])
