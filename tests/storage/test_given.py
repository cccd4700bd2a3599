"""Anything but a storage or a study is named, with what to pass in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages import InMemoryStorage
from optuna.storages.journal import JournalFileBackend

import surrogate_nas as sn
from surrogate_nas.errors import PastTaskError, StorageError, StudyError, SurrogateFileError
from surrogate_nas.past.past_task import PastTask, as_observations
from tests.helpers.toys import ToySpace, ToyTask

SPACE = ToySpace()


def study() -> optuna.Study:
    made = optuna.create_study(study_name="mine")
    made.optimize(lambda trial: trial.suggest_float("x", 0, 1), 2)
    return made


def test_a_path_is_the_file_that_its_text_names(tmp_path: Path) -> None:
    made = sn.create_study(
        ToyTask(), SPACE, storage=tmp_path / "nas.journal", study_name="mine", n_candidates=1
    )
    made.optimize(lambda trial: float(SPACE.suggest(trial)["width"] + trial.number), 2)

    (past,) = sn.read_history(tmp_path / "nas.journal", space=SPACE)

    assert past.name == "mine"


def given() -> dict[str, tuple[Any, str]]:
    """Name -> what is given as a storage, and a part of the error."""
    made = study()
    return {
        "path of a database": (Path("nas.db"), r"Write 'sqlite:///nas\.db'"),
        "name of a database": ("nas.sqlite3", r"Write 'sqlite:///nas\.sqlite3'"),
        "url with one stroke": ("sqlite:/nas.db", r"Write 'sqlite:///nas\.db'"),
        "url as a path": (Path("sqlite:///nas.db"), "the URL .* as a path.*without Path"),
        "study": (made, r"a study \('mine'\).*the storage that the study is in"),
        "list of studies": ([made], r"a list of Study of optuna \(1 items\).*studies are in"),
        "trials": (made.trials, r"FrozenTrial of optuna \(2 items\).*make a PastTask"),
        "engine": (sa.create_engine("sqlite://"), "an Engine of sqlalchemy.*URL as text"),
        "url object": (sa.make_url("postgresql://me:secret@host/nas"), "URL as text"),
        "class": (InMemoryStorage, r"the class InMemoryStorage itself.*InMemoryStorage\(\.\.\.\)"),
        "list of addresses": (["sqlite:///a.db", "b.journal"], "one call for each storage"),
        "dict": ({"url": "sqlite:///a.db"}, "a dict of 1 items.*sqlite:///nas.db"),
        "number": (3, "an int.*sqlite:///nas.db"),
    }


@pytest.mark.parametrize("name", given())
def test_what_is_no_storage_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    storage, words = given()[name]

    with pytest.raises(StorageError, match=words) as caught:
        sn.read_history(storage, space=SPACE)
    assert "secret" not in str(caught.value)
    with pytest.raises(StorageError, match=words):
        sn.create_study(ToyTask(), SPACE, storage=storage)
    assert list(tmp_path.iterdir()) == []


def test_a_journal_s_backend_is_to_be_wrapped(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"JournalFileBackend.*JournalStorage"):
        sn.read_history(JournalFileBackend(str(tmp_path / "a.log")), space=SPACE)  # type: ignore[arg-type]


def test_a_missing_driver_is_to_be_installed_or_named() -> None:
    with pytest.raises(StorageError, match=r"Install the driver.*mysql\+pymysql"):
        sn.create_study(ToyTask(), SPACE, storage="mysql://me@127.0.0.1:1/nas")


@pytest.mark.parametrize("call", ["summarize", "report", "publish", "optimize", "run", "attached"])
def test_what_is_no_study_is_named(call: str, tmp_path: Path) -> None:
    calls: dict[str, Any] = {
        "summarize": sn.summarize,
        "report": lambda one: sn.report(one, tmp_path / "r.html"),
        "publish": sn.publish,
        "optimize": lambda one: sn.optimize(one, lambda trial: 0.0, 1),
        "run": lambda one: sn.run_workers(one, lambda trial: 0.0, 1),
        "attached": sn.attached_surrogate,
    }
    made = study()
    for one, words in (
        ("mine", r"the text 'mine'.*optuna\.load_study"),
        ([made], "a list of Study.*once for each study"),
        (made.trials, "a list of FrozenTrial.*the study that the trials belong to"),
        (InMemoryStorage(), r"an InMemoryStorage.*optuna\.load_study"),
    ):
        with pytest.raises(StudyError, match=words):
            calls[call](one)


def test_finalize_names_what_is_no_study() -> None:
    with pytest.raises(StudyError, match="a study of Optuna; got the text 'mine'"):
        sn.finalize("mine", ToyTask(), SPACE, sn.Trainer())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("past", "words"),
    [
        (study(), r"a study \('mine'\).*read_history"),
        ([study()], "a list of Study.*read_history"),
        (study().trials, "a list of FrozenTrial.*read_history"),
        ("sqlite:///nas.db", "the text 'sqlite:///nas.db'.*read_history"),
        (PastTask("one", [{"x": 1}], [1.0]), "a PastTask of surrogate_nas.*into a list"),
        (3, "an int.*read_history"),
    ],
)
def test_what_are_no_past_tasks_is_named(past: Any, words: str) -> None:
    with pytest.raises(PastTaskError, match=words):
        sn.MetaSurrogate.fit(SPACE, past)
    with pytest.raises(PastTaskError, match=words):
        sn.evaluate_history(past, SPACE)


def test_observations_by_a_name_are_refused() -> None:
    with pytest.raises(PastTaskError, match=r"the text 'mine'.*the study itself"):
        as_observations("mine", "maximize")  # type: ignore[arg-type]


def test_past_tasks_are_no_surrogate() -> None:
    with pytest.raises(SurrogateFileError, match=r"a list of PastTask.*MetaSurrogate\.fit"):
        sn.create_study(ToyTask(), SPACE, surrogate=[PastTask("one", [{"x": 1}], [1.0])])  # type: ignore[arg-type]
