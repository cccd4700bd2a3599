"""Passwords in addresses are never printed, logged or written."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import optuna
import pytest
import sqlalchemy as sa
from sklearn.datasets import load_digits

import surrogate_nas as sn
from surrogate_nas import cli
from surrogate_nas.errors import StorageError, visible
from surrogate_nas.results.dashboard.note import note
from surrogate_nas.results.summary import summarize
from surrogate_nas.running.failures import note_error
from surrogate_nas.storage import opening as storage_module
from surrogate_nas.storage.opening import open_storage, reachable
from surrogate_nas.storage.passwords import masked, without_passwords
from surrogate_nas.storage.server import PatientDatabase
from tests.helpers.toys import ToySpace, ToyTask

MARKER = "Tr0ub4dor"
CLOSED = f"postgresql://me:{MARKER}@127.0.0.1:1/nas"
SEARCH = ["search", "--data", "few.npz", "--epochs", "1", "--trials", "2", "--candidates", "4"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a small data set."""
    digits = load_digits()
    x, y = digits.images[:120].astype(np.uint8), digits.target[:120]
    np.savez(tmp_path / "few.npz", x=x, y=y)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands(url: str) -> dict[str, list[str]]:
    """Each command that takes an address."""
    study = ["--storage", url, "--name", "few"]
    return {
        "search": [*SEARCH, *study, "--report", "few.html", "--quiet"],
        "finalize": ["finalize", "--data", "few.npz", "--epochs", "1", *study],
        "show": ["show", *study],
        "list": ["show", "--storage", url],
        "report": ["report", *study, "--out", "again.html"],
        "evaluate": ["evaluate", "--storage", url],
        "fit": ["fit", "--storage", url, "--out", "few.surrogate"],
    }


@pytest.mark.parametrize("name", commands(""))
def test_errors_of_the_command_line_show_none(
    name: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Of an address where nobody answers."""
    with caplog.at_level(logging.DEBUG):
        assert cli.main(commands(CLOSED)[name]) == 2
    said = capsys.readouterr()

    assert "127.0.0.1" in said.err
    assert MARKER not in said.out + said.err + caplog.text


@pytest.mark.parametrize("option", ["--storag", "--sotrage"])
def test_what_the_command_line_does_not_understand_is_repeated_without(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt option's value is its own."""
    with pytest.raises(SystemExit):
        cli.main(["show", option, CLOSED, "--nme", f"mysql://me:{MARKER}@host/x"])
    with pytest.raises(SystemExit):
        cli.main([f"--store=sqlite:///x?token={MARKER}", "show", "x"])

    assert MARKER not in capsys.readouterr().err


ODD = {
    "a line break": f"p\n{MARKER}\nq",
    "a carriage return": f"\r{MARKER}\r\n",
    "a tab and a space": f"a {MARKER}\tb c",
    "controls": f"\x1b[31m{MARKER}\x07\x9b\u202e\u2028",
    "signs": f"a@b:{MARKER}?x;z#",
    "letters": f"ü{MARKER}ß",
}
FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "escaped": lambda word: quote(word, safe=""),
    "escaped in part": lambda word: word.replace("\n", "%0a").replace("\r", "%0d"),
}
ADDRESSES = {
    "password": "postgresql://me:{}@127.0.0.1:1/nas",
    "argument": "postgresql://me@127.0.0.1:1/nas?password={}",
    "two arguments": "postgresql://127.0.0.1:1/nas?sslmode=disable&PassWord={}&user=me",
    "escaped name": "postgresql://127.0.0.1:1/nas?%70assw%6Frd={}",
    "token": "mysql+pymysql://127.0.0.1:1/nas?auth_token={}",
    "unknown": "nonsense://me:{}@host/db",
    "no address": "me:{}@host/nas.db",
    "user with a stroke": "postgresql://a/b:{}@127.0.0.1:1/nas",
}


@pytest.mark.parametrize("where", ADDRESSES)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ODD)
def test_odd_passwords_are_nowhere(
    kind: str, form: str, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in an error, nor in its traceback, nor in a name, nor in the log."""
    address = ADDRESSES[where].format(FORMS[form](ODD[kind]))
    with caplog.at_level(logging.DEBUG), pytest.raises(StorageError) as caught:
        open_storage(address)

    error = caught.value
    said = [str(error), repr(error), error.expected, error.got, error.fix, masked(address)]
    said += traceback.format_exception(error)
    assert MARKER not in " ".join(said) + caplog.text


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", ODD)
def test_drivers_that_repeat_odd_passwords_are_not_repeated(kind: str, form: str) -> None:
    """In whatever form, and on whichever line of their message."""
    word = ODD[kind]
    address = f"postgresql://me:{FORMS[form](word)}@host/nas"
    for said in (word, quote(word, safe=""), quote(word).lower(), repr(word), visible(word)):
        with pytest.raises(StorageError) as caught, reachable(address):
            raise OSError(f"cannot log in with {said}")
        told = "".join(traceback.format_exception(caught.value))
        assert MARKER.lower() not in told.lower()


def test_a_server_that_has_gone_is_told_without(caplog: pytest.LogCaptureFixture) -> None:
    """While it is waited for, and when that has been in vain."""
    word = f"p\n{MARKER}"
    database = PatientDatabase("sqlite://", "sqlite", patience_seconds=0.0)
    database.url = f"postgresql://me:{quote(word)}@host/nas"

    def fails() -> None:
        raise sa.exc.OperationalError("select 1", {}, Exception(f"refused {word}"))

    with caplog.at_level(logging.DEBUG), pytest.raises(StorageError) as caught:
        database.wait_out(fails)
    assert MARKER not in "".join(traceback.format_exception(caught.value)) + caplog.text
    assert "OperationalError" in caplog.text


@pytest.mark.parametrize("kind", ODD)
def test_odd_passwords_of_the_command_line_are_not_repeated(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of an option that there is not, and of a wrong value."""
    address = f"postgresql://me:{ODD[kind]}@127.0.0.1:1/nas"
    with pytest.raises(SystemExit):
        cli.main(["show", "--sotrage", address])
    with pytest.raises(SystemExit):
        cli.main(["report", "--storage", "sqlite://", "--name", "x", "--out", f"/none/{address}"])
    with pytest.raises(SystemExit):
        cli.main(["show", f"--stor={address}", "extra"])
    assert MARKER not in capsys.readouterr().err


def test_a_note_and_a_stop_reason_hide_what_others_wrote(tmp_path: Path) -> None:
    """An address in a study's name, or in the words of an error."""
    study = optuna.create_study(study_name=f"on {CLOSED}")
    study.set_user_attr("task", CLOSED)
    trial = study.ask()
    note_error(trial, ValueError(f"no connection to {CLOSED}"))
    study.tell(trial, 1.0)
    assert MARKER not in note(study, summarize(study))
    assert MARKER not in str(study.trials[0].user_attrs)


@pytest.mark.parametrize(
    "address",
    [
        CLOSED,
        f"mysql+pymysql://me:{MARKER}@127.0.0.1:1/nas",
        f"postgresql://me@127.0.0.1:1/nas?password={MARKER}",
        f"postgresql://me@127.0.0.1:1/nas?SSLPassword={MARKER}&sslmode=disable",
        f"mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3D{MARKER}",
        f"nonsense://me:{MARKER}@host/db",
        f"me:{MARKER}@host/nas.log",
        f"postgresql:/me:{MARKER}@host/nas.journal",
        f"http://me:{MARKER}@host:port/",
    ],
)
def test_tracebacks_of_addresses_show_none(address: str) -> None:
    """Causes and contexts are printed with them."""
    with pytest.raises(StorageError) as caught:
        open_storage(address)

    assert MARKER not in "".join(traceback.format_exception(caught.value))
    assert MARKER not in masked(address)


def test_a_driver_that_repeats_the_password_is_not_repeated() -> None:
    """As it stands in the address, and as the driver gets it."""
    for said in (f"cannot log in with {MARKER}/x", f"cannot log in with {MARKER}%2Fx"):
        with (
            pytest.raises(StorageError) as caught,
            reachable(f"postgresql://me:{MARKER}%2Fx@host/nas"),
        ):
            raise OSError(said)
        assert MARKER not in str(caught.value)
        assert "cannot log in with ***" in caught.value.got


def test_addresses_within_a_text_lose_their_passwords() -> None:
    """The rest of it stays."""
    text = f'see {CLOSED}, or {{"url": "redis://:{MARKER}@host/0"}}; not http://host/a:b'

    assert MARKER not in without_passwords(text)
    assert "me:***@127.0.0.1:1/nas, or" in without_passwords(text)
    assert "http://host/a:b" in without_passwords(text)


@pytest.fixture
def served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An address with a password that leads to a database, which is a file in truth."""
    url = f"postgresql://me:{MARKER}@db.example/nas"
    original = storage_module._opened

    def opened(storage: Any) -> optuna.storages.BaseStorage:
        found = original(f"sqlite:///{folder}/nas.db" if storage == url else storage)
        backend = getattr(found, "_backend", found)
        if storage == url:
            backend.url = url  # type: ignore[union-attr]
        return found

    monkeypatch.setattr(storage_module, "_opened", opened)
    return url


def test_a_search_and_all_that_is_made_of_it_hold_none(
    served: str,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither what is printed or logged, nor any file: database, pictures, reports, surrogate."""
    space = ToySpace()
    with contextlib.ExitStack() as stack:
        for logger in ("sqlalchemy", "alembic", "optuna", "surrogate_nas"):
            stack.enter_context(caplog.at_level(logging.DEBUG, logger))
        for name in ("few", "more"):
            study = sn.create_study(
                ToyTask(), space, storage=served, study_name=name, n_candidates=8, seed=0
            )
            pages = sn.DashboardCallback(space)
            study.optimize(
                lambda trial: float(space.suggest(trial)["width"]), n_trials=4, callbacks=[pages]
            )
            sn.publish(study, space)
            sn.report(study, folder / f"{name}.html")
        past = sn.read_history(served, space=space)
        sn.MetaSurrogate.fit(space, past).save(folder / "toy.surrogate")
        for command in ("show", "list", "report"):
            assert cli.main(commands(served)[command]) == 0
    said = capfd.readouterr()

    assert "me:***@db.example" in said.out
    assert MARKER not in said.out + said.err + caplog.text
    assert (folder / "few.html").read_text().count("me:***@db.example") >= 3
    stored = study._storage.get_study_system_attrs(study._study_id)
    assert "me:***@db.example" in repr(stored)
    assert MARKER not in repr([stored, study.user_attrs, *map(vars, study.get_trials())])
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 12
    assert not [path.name for path in files if MARKER.encode() in path.read_bytes()]


def test_a_report_hides_what_its_owner_wrote_into_an_attribute(tmp_path: Path) -> None:
    """An address among other words."""
    study = optuna.create_study()
    study.set_user_attr("remark", {"it is in": CLOSED})
    text = sn.report(study, tmp_path / "report.html").read_text(encoding="utf-8")

    assert MARKER not in text
    assert "me:***@127.0.0.1:1/nas" in text


def test_the_command_for_the_dashboard_names_no_address_to_listen_on(
    served: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It listens on 127.0.0.1 unless it is told otherwise; no command or page of ours does."""
    optuna.create_study(study_name="few", storage=open_storage(served))
    assert cli.main(["show", "--storage", served, "--name", "few"]) == 0

    said = capsys.readouterr().out
    assert "optuna-dashboard postgresql://me:***@db.example/nas" in said
    assert "--host" not in said
    root = Path(sn.__file__).parents[1]
    pages = [*root.glob("*.md"), *root.glob("docs/*.md"), *root.glob("notebooks/*.py")]
    assert len(pages) > 10
    assert not [page.name for page in pages if "0.0.0.0" in page.read_text(encoding="utf-8")]
