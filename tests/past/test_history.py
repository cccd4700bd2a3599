from __future__ import annotations

import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage, InMemoryStorage

from surrogate_nas.errors import SpaceError, StorageError
from surrogate_nas.past.history import read_history
from surrogate_nas.running.study import create_study
from surrogate_nas.samplers.surrogate_sampler import SurrogateSampler
from surrogate_nas.surrogate.meta_surrogate import MetaSurrogate
from tests.helpers import synthetic
from tests.helpers.databases import quick_storage
from tests.helpers.histories import SPACE, TODAY, finished, plain
from tests.helpers.toys import ToySpace, ToyTask


@pytest.fixture
def storage() -> BaseStorage:
    return InMemoryStorage()


def test_every_study_of_the_space_is_a_past_task(storage: BaseStorage) -> None:
    first = finished(storage, "first")
    finished(storage, "second", direction="minimize", seed=1)

    past = read_history(storage, space=SPACE)

    assert [(task.name, task.direction, len(task)) for task in past] == [
        ("first", "maximize", 4),
        ("second", "minimize", 4),
    ]
    assert list(past[0].params) == [trial.params for trial in first.trials]
    assert list(past[0].values) == [trial.value for trial in first.trials]
    assert past[0].meta_features is None


def test_meta_features_come_along(storage: BaseStorage) -> None:
    task = ToyTask()
    study = create_study(task, SPACE, storage=storage, study_name="toy", n_candidates=1, seed=0)
    study.optimize(lambda trial: float(SPACE.suggest(trial)["width"] + trial.number), 3)

    (past,) = read_history(storage, space=SPACE)

    assert past.meta_features == task.meta_features


@pytest.mark.parametrize(
    "attr", ["large", 3, ["n_train"], {"n_train": "many"}, {"n_train": True}, {"n": float("nan")}]
)
def test_an_attribute_that_is_none_of_ours_is_no_meta_features(
    storage: BaseStorage, attr: Any
) -> None:
    finished(storage, "first").set_user_attr("meta_features", attr)

    (past,) = read_history(storage, space=SPACE)

    assert past.meta_features is None


def test_only_completed_trials_with_finite_values_count(storage: BaseStorage) -> None:
    study = finished(storage, "first", 3)
    study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    trial = study.ask()
    SPACE.suggest(trial)
    study.tell(trial, float("inf"))

    (past,) = read_history(storage, space=SPACE)

    assert len(past) == 3


def test_what_does_not_belong_is_named_in_one_warning(storage: BaseStorage) -> None:
    finished(storage, "good")
    finished(storage, "empty", 0)
    constant = optuna.create_study(storage=storage, study_name="constant")
    constant.optimize(lambda trial: 0.0 * SPACE.suggest(trial)["width"], 3)
    other = optuna.create_study(storage=storage, study_name="other")
    other.optimize(synthetic.objective, 3)
    several = optuna.create_study(
        storage=storage, study_name="several", directions=["minimize", "maximize"]
    )
    several.optimize(lambda trial: (1.0, float(SPACE.suggest(trial)["width"])), 3)
    marked = finished(storage, "marked", 3)
    marked.set_user_attr("space_fingerprint", "another")
    marked.set_user_attr("space", "CellSpace")
    half = finished(storage, "half", 3)
    half.set_user_attr("space_fingerprint", "another")

    with pytest.warns(UserWarning, match="Expected finished studies") as caught:
        past = read_history(storage, space=SPACE)

    assert [task.name for task in past] == ["good"]
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "empty (fewer than two different results)" in message
    assert "constant (fewer than two different results)" in message
    assert "other (its trials have other parameters)" in message
    assert "several (it has several objectives)" in message
    assert "marked (its search space is another one) and 1 more." in message
    assert "good" not in message
    assert caught[0].filename == __file__


def test_many_that_do_not_belong_are_counted(storage: BaseStorage) -> None:
    for number in range(8):
        finished(storage, f"empty {number}", 0)

    with pytest.warns(UserWarning, match=r"empty 4 \(.*\) and 3 more\. Pass exclude="):
        assert read_history(storage, space=SPACE) == []


@pytest.mark.parametrize("exclude", [["new"], {"new"}, "new"])
def test_excluded_studies_are_left_out_silently(
    storage: BaseStorage, exclude: Collection[str]
) -> None:
    finished(storage, "good")
    finished(storage, "new", 0)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        past = read_history(storage, space=SPACE, exclude=exclude)

    assert [task.name for task in past] == ["good"]


@pytest.mark.parametrize("ending", ["journal", "db"])
def test_history_is_read_from_files(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"nas.{ending}"
    address = str(path) if ending == "journal" else f"sqlite:///{path}"
    study = create_study(
        ToyTask(), SPACE, storage=address, study_name="toy", n_candidates=1, seed=0
    )
    study.optimize(lambda trial: float(SPACE.suggest(trial)["width"] + trial.number), 3)

    (past,) = read_history(address, space=SPACE)

    assert list(past.values) == [trial.value for trial in study.trials]


def test_an_empty_storage_has_no_history(storage: BaseStorage) -> None:
    assert read_history(storage, space=SPACE) == []


def test_what_was_read_fits_a_surrogate_that_searches(storage: BaseStorage) -> None:
    for seed in range(2):
        finished(storage, f"past {seed}", 8, seed=seed)
    surrogate = MetaSurrogate.fit(SPACE, read_history(storage, space=SPACE))
    study = optuna.create_study(
        direction="maximize",
        sampler=SurrogateSampler(SPACE, surrogate=surrogate, n_candidates=8, seed=0),
    )
    study.optimize(lambda trial: float(SPACE.suggest(trial)["width"]), 1)

    assert "predicted_rank" in study.trials[0].user_attrs


def test_a_space_without_parameters_is_refused(storage: BaseStorage) -> None:
    with pytest.raises(SpaceError, match="without parameters"):
        read_history(storage, space={})


def test_a_storage_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(StorageError, match="unable to open database file"):
        read_history("sqlite:////missing/folder/nas.db", space=SPACE)


def test_a_plain_optuna_database_is_a_history(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/plain.db"
    storage = quick_storage(tmp_path / "plain.db")
    made = plain(storage, "plain", op=["skip", "conv"], width=[8, 16], depth=[1, 2])

    (past,) = read_history(url, space=TODAY)

    assert list(past.params) == [trial.params for trial in made.trials]
    assert past.direction == "maximize"
    assert past.notes == ()


def test_a_study_that_shares_most_parameters_is_mapped_and_says_so(storage: BaseStorage) -> None:
    made = plain(storage, "older", op=["skip", "conv"], width=[8, 16], batch=[32, 64, 128])

    (past,) = read_history(storage, space=TODAY)

    known = [{name: t.params[name] for name in ("op", "width")} for t in made.trials]
    assert all(params in known for params in past.params)
    assert any("dropped parameters that it has not: batch" in note for note in past.notes)
    assert any("left unknown what the past has not: depth" in note for note in past.notes)


def test_a_marked_study_of_a_changed_space_is_mapped(storage: BaseStorage) -> None:
    older = ToySpace(has_rate=True)
    study = create_study(
        ToyTask(), older, storage=storage, study_name="older", n_candidates=1, seed=0
    )
    study.optimize(lambda trial: float(older.suggest(trial)["width"]), 4)

    (past,) = read_history(storage, space=SPACE)

    assert not any("learning_rate" in params for params in past.params)
    assert any("learning_rate" in note for note in past.notes)
    assert past.meta_features == ToyTask().meta_features


def test_a_study_that_still_runs_counts_with_what_it_has(storage: BaseStorage) -> None:
    study = finished(storage, "running", 3)
    SPACE.suggest(study.ask())

    (past,) = read_history(storage, space=SPACE)

    assert len(past) == 3


@pytest.mark.parametrize("cache", [None, False, "folder"])
def test_where_earlier_versions_kept_what_they_read_has_no_effect(
    tmp_path: Path, cache: Any
) -> None:
    storage = quick_storage(tmp_path / "nas.db")
    finished(storage, "first")
    given = tmp_path / cache if isinstance(cache, str) else cache

    (past,) = read_history(storage, space=SPACE, cache=given)

    assert list(past.values) == list(read_history(storage, space=SPACE)[0].values)
    assert not (tmp_path / "folder").exists()
