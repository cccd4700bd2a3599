"""Reading Optuna's tables directly gives what Optuna itself gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage, RDBStorage, get_storage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from surrogate_nas.errors import StorageError, StudyError
from surrogate_nas.past.readers.sql import SqlReader, engine_of, unwrapped
from surrogate_nas.past.readers.studies import OptunaReader, Results, StoredStudy
from tests.helpers.databases import edit, quick_storage

ATTRS = ("space", "meta_features")


def every_kind(trial: optuna.Trial) -> float:
    """Parameters of every kind, one of them only sometimes."""
    choice = trial.suggest_categorical("choice", ["a", True, None, 1.5, 3])
    wide = trial.suggest_int("wide", 8, 128, step=8)
    rate = trial.suggest_float("rate", 1e-5, 1e-1, log=True)
    if choice == "a":
        trial.suggest_float("only with a", 0.0, 1.0)
    if trial.number == 3:
        trial.set_user_attr("odd", 1)
        raise optuna.TrialPruned
    return [wide * rate, float("inf"), float("-inf")][trial.number % 10 if trial.number < 3 else 0]


def exact(results: Results) -> list[Any]:
    """Results with the types of values: True is not 1."""
    return [
        [sorted((n, type(v), v) for n, v in params.items()) for params in results.params],
        results.values,
        results.n_without_value,
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of a minimized study with a running trial, an empty and a many-objective one."""
    path = tmp_path_factory.mktemp("made") / "nas.db"
    url = quick_storage(path)
    first = optuna.create_study(
        storage=url, study_name="first", sampler=optuna.samplers.RandomSampler(seed=0)
    )
    first.optimize(every_kind, 20)
    first.set_user_attr("space", "CellSpace")
    first.set_user_attr("meta_features", {"n_train": 100.0})
    first.set_user_attr("long", "x" * 10_000)
    first.ask().suggest_int("wide", 8, 128, step=8)
    first.tell(first.ask(), state=TrialState.FAIL)
    optuna.create_study(storage=url, study_name="empty", direction="maximize")
    optuna.create_study(storage=url, study_name="both", directions=["minimize", "maximize"])
    return path


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copy(made, tmp_path / "nas.db"))


def readers(path: Path) -> tuple[SqlReader, OptunaReader]:
    storage = unwrapped(get_storage(f"sqlite:///{path}"))
    engine = engine_of(storage)
    assert engine is not None
    return SqlReader(engine, ATTRS), OptunaReader(storage)


def study(reader: SqlReader, name: str = "first") -> StoredStudy:
    return next(one for one in reader.studies() if one.name == name)


def test_studies_are_those_that_optuna_lists(path: Path) -> None:
    sql, api = readers(path)

    expected = [(s.study_id, s.name, s.directions) for s in api.studies()]

    assert [(s.study_id, s.name, s.directions) for s in sql.studies()] == expected
    assert study(sql).user_attrs == {"space": "CellSpace", "meta_features": {"n_train": 100.0}}


@pytest.mark.parametrize("name", ["first", "empty"])
def test_results_are_those_that_optuna_reads(path: Path, name: str) -> None:
    sql, api = readers(path)

    results = sql.results(study(sql, name))

    assert exact(results) == exact(api.results(study(sql, name)))
    assert len(results.values) == (17 if name == "first" else 0)
    assert {type(value) for value in results.values} <= {float}


@pytest.mark.parametrize(
    "statement",
    [
        "update trial_params set distribution_json = '{\"name\": ' where param_id = 2",
        "update trial_params set distribution_json = '[]' where param_id = 2",
        "update trial_params set distribution_json = '3' where param_id = 2",
        'update trial_params set distribution_json = \'{"name": "X"}\' where param_id = 2',
        "update trial_params set distribution_json = null where param_id = 2",
        "update trial_params set param_value = null where param_id = 2",
        "update trial_params set param_value = null where param_name = 'rate'",
        "update trial_params set param_value = 77 where param_name = 'choice'",
        "update trial_params set param_value = 'text' where param_name = 'wide'",
        "update trial_values set value = null where value_type = 'FINITE'",
        "update trial_values set value_type = 'ODD' where trial_id = 5",
        "update trial_values set objective = 3 where trial_id = 5",
        "update trial_values set value = 1 where value_type = 'INF_POS'",
    ],
)
def test_what_optuna_cannot_read_is_damaged_here_too(path: Path, statement: str) -> None:
    edit(path, statement)
    sql, api = readers(path)

    for reader in (sql, api):
        with pytest.raises(StudyError, match="trials of study 'first' that Optuna can read"):
            reader.results(study(sql))


def test_a_completed_trial_without_a_value_is_counted(path: Path) -> None:
    edit(path, "delete from trial_values where trial_id in (5, 6)")
    sql, api = readers(path)

    results = sql.results(study(sql))

    assert (len(results.values), results.n_without_value) == (15, 2)
    assert exact(results) == exact(api.results(study(sql)))


def test_a_trial_with_a_second_value_is_left_out(path: Path) -> None:
    edit(
        path,
        "insert into trial_values (trial_id, objective, value, value_type) "
        "values (6, 1, 0.5, 'FINITE')",
    )
    sql, api = readers(path)

    results = sql.results(study(sql))

    assert len(results.values) == 16
    assert exact(results) == exact(api.results(study(sql)))


@pytest.mark.parametrize("key", ATTRS)
def test_a_damaged_attribute_is_the_study_s_own_trouble(path: Path, key: str) -> None:
    edit(path, f"update study_user_attributes set value_json = '{{' where key = '{key}'")
    sql, api = readers(path)

    damage = {one.name: one.damage for one in sql.studies()}

    assert damage == {"first": f"its attribute '{key}' cannot be read", "empty": "", "both": ""}
    with pytest.raises(StorageError, match="JSONDecodeError"):
        api.studies()


def test_other_people_s_damaged_attributes_do_not_matter(path: Path) -> None:
    edit(path, "update study_user_attributes set value_json = '{' where key = 'long'")
    sql, _ = readers(path)

    assert [one.damage for one in sql.studies()] == ["", "", ""]


@pytest.mark.parametrize(
    "change",
    [
        "alter table trial_params rename column param_value to param_number",
        "alter table trials rename to attempts",
        "update version_info set schema_version = 13",
        "delete from version_info",
    ],
)
def test_other_tables_than_ours_are_left_to_optuna(path: Path, change: str) -> None:
    storage = RDBStorage(f"sqlite:///{path}")
    edit(path, change)

    assert engine_of(storage) is None


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: InMemoryStorage(),
        lambda folder: JournalStorage(JournalFileBackend(str(folder / "nas.journal"))),
    ],
)
def test_storages_without_tables_are_left_to_optuna(
    make: Callable[[Path], BaseStorage], tmp_path: Path
) -> None:
    storage = make(tmp_path)

    assert unwrapped(storage) is storage
    assert engine_of(storage) is None


@pytest.mark.parametrize(
    ("direction", "values"),
    [("maximize", [5.0, 3.0, 3.0, 1.0, 3.0]), ("minimize", [5.0, 9.0, 3.0, 5.0, 8.0])],
)
def test_trials_that_violate_a_constraint_count_as_the_worst_of_the_others(
    tmp_path: Path, direction: Any, values: list[float]
) -> None:
    path = tmp_path / "nas.db"
    study = optuna.create_study(storage=quick_storage(path), direction=direction)
    given: list[tuple[float, dict[str, Any]]] = [
        (5.0, {"constraints:size": -1.0}),
        (9.0, {"constraints:size": 0.5, "constraints:time": -1.0}),
        (3.0, {"constraints": None, "constraints_of_mine": 7.0}),
        (1.0, {"constraints": (0.0, 2.0)}),
        (8.0, {"constraints:size": float("inf")}),
    ]
    for value, attrs in given:
        study.add_trial(optuna.trial.create_trial(value=value, system_attrs=attrs))
    sql, own = readers(path)

    for reader in (sql, own):
        (stored,) = reader.studies()
        assert reader.results(stored).values == values
