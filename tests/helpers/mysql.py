"""A MariaDB server of the tests' own, which speaks MySQL: on loopback, gone afterwards.

Like the PostgreSQL server it outlives no test run: a small process, ``python -m
tests.helpers.mysql FOLDER``, waits until pytest is gone, however it ends, then ends the server
and deletes its folder.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import final

import pytest

from tests.helpers.keeper import keeper
from tests.helpers.postgres import free_port

_SECONDS = 60.0
_SETTINGS = (
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--innodb-flush-log-at-trx-commit=0",
)


@final
class MySqlServer:
    """A running server.

    Args:
        folder: What belongs to the server.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self.port = free_port()
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={folder}/data"]
        account = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(
            [*install, *account, *_as_user()], check=True, capture_output=True, timeout=_SECONDS
        )
        self.start()
        self.run("create user nas@'127.0.0.1' identified by 'secret'")
        self.run("grant all on *.* to nas@'127.0.0.1'")

    def new_url(self) -> str:
        """The address of a new, empty database."""
        name = f"nas_{next(self._numbers)}"
        self.run(f"create database {name}")
        return f"mysql+pymysql://nas:secret@127.0.0.1:{self.port}/{name}"

    def run(self, statement: str) -> None:
        """Run a statement as the server's root."""
        import pymysql  # type: ignore[import-untyped]

        with pymysql.connect(user="root", unix_socket=f"{self._folder}/socket") as connection:
            connection.cursor().execute(statement)
            connection.commit()

    def start(self) -> None:
        """Start the server, for the first time or after :meth:`stop`."""
        self._process = subprocess.Popen(
            [
                *("mariadbd", "--no-defaults", f"--datadir={self._folder}/data", *_SETTINGS),
                *(f"--port={self.port}", f"--socket={self._folder}/socket"),
                *(f"--pid-file={self._folder}/pid", *_as_user()),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # out of reach of the Ctrl-C that tests send
        )
        until = time.monotonic() + _SECONDS
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            assert self._process.poll() is None, "the server has ended"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.1)

    def stop(self) -> None:
        """End the server as an administrator does; connections are cut."""
        self._process.terminate()
        self._process.wait(_SECONDS)


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[MySqlServer]:
    """A server; where there is none, or no driver, its tests are skipped."""
    pytest.importorskip("pymysql", reason="PyMySQL is absent; it is in the extra 'mysql'")
    if shutil.which("mariadbd") is None or shutil.which("mariadb-install-db") is None:
        pytest.skip("MariaDB's server is absent; Debian's package is mariadb-server")
    folder = Path(tempfile.mkdtemp(prefix="surrogate_nas_mysql_"))
    if os.geteuid() == 0:
        shutil.chown(folder, _owner())
    with keeper("tests.helpers.mysql", str(folder), seconds=2 * _SECONDS):
        server = MySqlServer(folder)
        yield server
        server.stop()


@pytest.fixture
def mysql_url(mysql_server: MySqlServer) -> str:
    """The address of an empty database."""
    return mysql_server.new_url()


def _owner() -> str:
    """Whom the server runs as: it refuses root."""
    try:
        return pwd.getpwnam("mysql").pw_name
    except KeyError:
        pytest.skip("there is no user mysql, and MariaDB's server refuses root")


def _as_user() -> list[str]:
    return [f"--user={_owner()}"] if os.geteuid() == 0 else []


def main() -> None:
    """Wait until whoever started this is gone, then take the server away."""
    folder = Path(sys.argv[1])
    sys.stdin.readline()
    with contextlib.suppress(OSError, ValueError):  # it may not run, or never have run
        server = int((folder / "pid").read_text())
        os.kill(server, signal.SIGTERM)
        until = time.monotonic() + _SECONDS
        while (folder / "pid").exists() and time.monotonic() < until:
            time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
