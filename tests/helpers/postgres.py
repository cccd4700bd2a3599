"""A PostgreSQL server of the tests' own: on loopback, in a folder of its own, gone afterwards.

``postgres_server`` is one server a session (and a process of pytest-xdist), ``postgres_url`` an
empty database in it. The server outlives no test run: a small process of its own waits until
pytest is gone, however it ends, then stops the server and deletes its folder. It is run as
``python -m tests.helpers.postgres BINARIES FOLDER`` by the fixture.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import pytest

from tests.helpers.keeper import keeper

USER = "nas"
PASSWORD = "secret"

# A commit waits for the file system, not for the disk: the server may crash, the machine may not.
_SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
fsync = off
full_page_writes = off
shared_buffers = 32MB
max_connections = 60
jit = off
"""
_TRIES = 3
_SECONDS = 60


@final
class PostgresServer:
    """A running server.

    Args:
        binaries: The folder of ``initdb`` and ``pg_ctl``.
        folder: What belongs to the server; its user can read and write it.
        port: Where it listens on 127.0.0.1.
    """

    def __init__(self, binaries: Path, folder: Path, port: int) -> None:
        self._binaries, self.folder, self.port = binaries, folder, port
        self._numbers = itertools.count()

    def url(self, database: str, *, user: str = USER, password: str = PASSWORD) -> str:
        """The address of a database."""
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Make an empty database and return its name."""
        name = f"nas_{next(self._numbers)}"
        self.run(f"create database {name}")
        return name

    def run(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement, outside a transaction; return its rows, if it has any."""
        import psycopg

        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; "immediate" is a crash."""
        self._control("stop", "-m", mode)

    def start(self) -> None:
        """Start the server again after :meth:`stop`."""
        self._control("start")

    def restart(self, mode: str = "fast", *, away_seconds: float = 0.0) -> None:
        """Stop the server, and start it again after a while."""
        self.stop(mode)
        time.sleep(away_seconds)
        self.start()

    def _control(self, *words: str) -> None:
        _control(self._binaries, self.folder, *words)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A server; where there is none, or no driver, its tests are skipped."""
    with running_server() as server:
        yield server


@contextlib.contextmanager
def running_server() -> Iterator[PostgresServer]:
    """Make a server and start it; skip the test where that is impossible."""
    pytest.importorskip("psycopg", reason="psycopg is absent; it is in the extra 'postgres'")
    binaries = _binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is absent; Debian's package is postgresql")
    folder = Path(tempfile.mkdtemp(prefix="surrogate_nas_postgres_", dir=_quick_place()))
    with keeper("tests.helpers.postgres", str(binaries), str(folder), seconds=5 * _SECONDS):
        port = _made(binaries, folder)
        yield PostgresServer(binaries, folder, port)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The address of an empty database."""
    return postgres_server.url(postgres_server.new_database())


def _quick_place() -> Path | None:
    """Where thousands of small files are made and deleted quickly: in memory, if there is some."""
    memory = Path("/dev/shm")
    is_large = memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30
    return memory if is_large else None


def _binaries() -> Path | None:
    """The newest server's programs."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    places = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(places, key=lambda path: float(path.parts[-3]), default=None)
    return None if newest is None else newest.parent


def _made(binaries: Path, folder: Path) -> int:
    """Make a server's files and start it; return its port."""
    if (owner := _owner()) is not None:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    secret = folder / "secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    made = [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", USER, "-E", "UTF8"]
    _run([*made, "--locale=C", "-A", "scram-sha-256", f"--pwfile={secret}", "-N"], folder)
    for attempt in range(_TRIES):
        port = free_port()
        settings = _SETTINGS.format(port=port, folder=folder)
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.write(settings)
        try:
            _control(binaries, folder, "start")
        except subprocess.CalledProcessError:
            if attempt == _TRIES - 1:
                raise  # else somebody else took the port meanwhile
        else:
            return port
    raise AssertionError("unreachable")


def _owner() -> pwd.struct_passwd | None:
    """Whom the server runs as: it refuses root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("there is no user postgres, and PostgreSQL's server refuses root")


def _control(binaries: Path, folder: Path, *words: str) -> None:
    log = ["-l", str(folder / "log")] if words[0] == "start" else []
    command = [str(binaries / "pg_ctl"), "-D", str(folder / "data"), "-w", "-s", *log, *words]
    _run(command, folder)


def _run(command: list[str], folder: Path) -> None:
    owner = _owner()
    subprocess.run(
        command,
        check=True,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        # No pipes: the server would inherit them, and hold them open.
        stdout=subprocess.DEVNULL,
        timeout=_SECONDS,
        user=None if owner is None else owner.pw_uid,
        group=None if owner is None else owner.pw_gid,
        extra_groups=None if owner is None else [],
    )


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def main() -> None:
    """Wait until whoever started this is gone, then take the server away."""
    binaries, folder = (Path(argument) for argument in sys.argv[1:])
    sys.stdin.readline()
    if (folder / "data" / "postmaster.pid").exists():
        with contextlib.suppress(subprocess.SubprocessError):
            _control(binaries, folder, "stop", "-m", "immediate")
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
