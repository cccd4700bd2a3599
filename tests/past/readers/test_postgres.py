"""Past studies out of PostgreSQL: by SQL the same as by Optuna."""

from __future__ import annotations

import optuna
import pytest

from surrogate_nas.past.history import read_history
from surrogate_nas.past.readers.sql import SqlReader, engine_of, unwrapped
from surrogate_nas.past.readers.studies import OptunaReader
from surrogate_nas.storage.opening import open_storage
from tests.helpers.toys import ToySpace

pytestmark = pytest.mark.slow


def test_past_studies_are_read_by_sql_as_by_optuna(postgres_url: str) -> None:
    """Drivers and types differ from SQLite's."""
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

    [task] = read_history(postgres_url, space=ToySpace())
    assert list(task.values) == by_sql.results(found).values
