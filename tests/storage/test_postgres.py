"""The tests' own server: it comes back after a crash, and goes when the tests are killed."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.helpers.postgres import PostgresServer

pytestmark = pytest.mark.slow

_KILLED = """
import time
from tests.helpers.postgres import running_server

with running_server() as server:
    print(server.folder, server.port, flush=True)
    time.sleep(300)
"""


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def test_a_database_is_empty_and_its_user_needs_a_password(
    postgres_server: PostgresServer, postgres_url: str
) -> None:
    """Else tests of wrong passwords would test nothing."""
    name = postgres_url.rsplit("/", 1)[1]

    assert postgres_server.run("select 1 from pg_tables where schemaname = 'public'", name) == []
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(postgres_server.url(name, password="wrong"))


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_what_was_committed_is_there_after_a_restart(
    postgres_server: PostgresServer, mode: str
) -> None:
    """Also after a crash, as on a server that waits for its disk."""
    name = postgres_server.new_database()
    postgres_server.run("create table kept as select 5 as five", name)

    postgres_server.restart(mode)

    assert postgres_server.run("select five from kept", name) == [(5,)]


def test_the_server_is_gone_after_the_tests_were_killed(postgres_server: PostgresServer) -> None:
    """A process of its own sees to it; nobody else could."""
    killed = subprocess.Popen([sys.executable, "-c", _KILLED], stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    folder, port = killed.stdout.readline().split()
    assert _answers(int(port))
    assert int(port) != postgres_server.port

    killed.send_signal(signal.SIGKILL)
    killed.communicate()

    until = time.monotonic() + 30
    while (_answers(int(port)) or Path(folder).exists()) and time.monotonic() < until:
        time.sleep(0.1)
    assert not _answers(int(port))
    assert not Path(folder).exists()
