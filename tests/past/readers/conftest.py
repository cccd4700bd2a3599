"""A database of two studies and the folder of its cache."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from surrogate_nas.past.readers.sql import SqlReader
from surrogate_nas.past.readers.studies import Results, StoredStudy
from tests.helpers.caches import add_study


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "nas.db"
    for seed, name in enumerate(("first", "second")):
        add_study(path, name, seed)
    return path


@pytest.fixture
def database(made: Path, tmp_path: Path) -> Path:
    """Two studies, to be changed."""
    return Path(shutil.copy(made, tmp_path / "nas.db"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def read_studies(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of studies whose trials were read from the database."""
    names: list[str] = []
    results = SqlReader.results

    def noted(self: SqlReader, study: StoredStudy) -> Results:
        names.append(study.name)
        return results(self, study)

    monkeypatch.setattr(SqlReader, "results", noted)
    return names
