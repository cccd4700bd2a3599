"""What people get wrong about a database server: said at the start, without a password."""

from __future__ import annotations

import optuna
import pytest

from surrogate_nas.cli import main
from surrogate_nas.errors import StorageError
from surrogate_nas.past.history import read_history
from surrogate_nas.running.study import create_study
from surrogate_nas.storage.opening import open_storage
from tests.helpers.postgres import PostgresServer
from tests.helpers.toys import ToySpace, ToyTask

pytestmark = pytest.mark.slow


def refusal(url: str) -> StorageError:
    """The error of each way to open a storage, which is the same."""
    errors = []
    for opens in (
        lambda: create_study(ToyTask(), ToySpace(), storage=url, study_name="s"),
        lambda: read_history(url, space=ToySpace()),
    ):
        with pytest.raises(StorageError) as caught:
            opens()
        errors.append(caught.value)
    for error in errors:
        assert "secret" not in str(error)
        assert "***" in error.expected
    return errors[0]


def test_a_wrong_password(postgres_server: PostgresServer) -> None:
    """Neither the wrong nor the right one is shown."""
    error = refusal(postgres_server.url("postgres", password="nosecret"))

    assert "password authentication failed" in error.got
    assert error.fix == "check the user and the password in the address"


def test_a_database_that_does_not_exist(postgres_server: PostgresServer) -> None:
    """Optuna makes tables, not databases."""
    error = refusal(postgres_server.url("nowhere"))

    assert 'database "nowhere" does not exist' in error.got
    assert "createdb" in error.fix


def test_a_server_that_is_not_there(postgres_server: PostgresServer) -> None:
    """At once: a start is not waited for."""
    error = refusal("postgresql://nas:secret@127.0.0.1:1/nas")

    assert "refused" in error.got
    assert "check the address" in error.fix


def test_a_database_that_may_only_be_read(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """As a standby is."""
    name = postgres_url.rsplit("/", 1)[1]
    optuna.create_study(storage=open_storage(postgres_url))
    postgres_server.run(f"alter database {name} set default_transaction_read_only = on")

    with pytest.raises(StorageError, match="read-only") as caught:
        create_study(ToyTask(), ToySpace(), storage=postgres_url, study_name="s")

    assert "a standby may not" in caught.value.fix
    assert "secret" not in str(caught.value)


def test_a_user_without_rights(postgres_server: PostgresServer, postgres_url: str) -> None:
    """PostgreSQL lets not everybody make tables."""
    postgres_server.run("create role guest login password 'secret'")
    name = postgres_url.rsplit("/", 1)[1]

    error = refusal(postgres_server.url(name, user="guest"))

    assert "permission denied" in error.got
    assert "right to create and write tables" in error.fix


@pytest.mark.parametrize("revision", ["v3.0.0.a", "v99.0.0.a"])
def test_tables_of_another_version_of_optuna(
    postgres_server: PostgresServer, postgres_url: str, revision: str
) -> None:
    """Older or newer: neither is touched."""
    name = postgres_url.rsplit("/", 1)[1]
    open_storage(postgres_url)
    postgres_server.run(f"update alembic_version set version_num = '{revision}'", name)

    error = refusal(postgres_url)

    assert f"tables that Optuna {optuna.__version__} can read" in error.expected
    assert "another version of Optuna" in error.got
    assert "optuna storage upgrade" in error.fix
    kept = postgres_server.run("select version_num from alembic_version", name)
    assert kept == [(revision,)]


def test_a_database_with_other_tables_of_these_names(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """Somebody else's are left alone."""
    postgres_server.run("create table studies as select 1 as mine", postgres_url.rsplit("/", 1)[1])

    error = refusal(postgres_url)

    assert "studies" in error.got or "study_id" in error.got


@pytest.mark.parametrize("sign", ["{", "}"])
def test_a_brace_in_a_password_is_explained(sign: str) -> None:
    """Optuna reads braces in an address as something else."""
    with pytest.raises(StorageError, match="a password with") as caught:
        open_storage(f"postgresql://me:top{sign}secret@127.0.0.1:1/nas")

    assert "secret" not in str(caught.value)
    assert caught.value.fix.endswith(f"for {sign}")


def test_the_command_line_says_it_without_a_traceback(
    postgres_server: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, and an exit code."""
    address = postgres_server.url("postgres", password="nosecret")

    code = main(["search", "--data", "digits", "--storage", address, "--trials", "1"])

    said = capsys.readouterr().err
    assert code != 0
    assert "password authentication failed" in said
    assert "nosecret" not in said
    assert "Traceback" not in said
