from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

from surrogate_nas.errors import SurrogateNasError
from surrogate_nas.results.dashboard import callback
from tests.helpers.exports import without_programs
from tests.helpers.forks import MEASURED, quick_processes
from tests.helpers.mysql import mysql_server, mysql_url
from tests.helpers.postgres import postgres_server, postgres_url

__all__ = [  # for all tests
    "mysql_server",
    "mysql_url",
    "postgres_server",
    "postgres_url",
    "quick_processes",
    "without_programs",
]

# Networks this small are slower on two threads, much slower where tests run side by side.
torch.set_num_threads(1)

# A shell's background jobs ignore Ctrl-C, and so would the processes that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run: a check that fails by chance says nothing about a change.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


@pytest.fixture(autouse=True)
def _nothing_left_to_publish() -> Iterator[None]:
    """Leave no figures for the end of the program: their storages are gone by then."""
    yield
    callback._stale.clear()


@pytest.fixture(autouse=True)
def _a_cache_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep what can be made again apart from what the user of this machine has."""
    folder = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("SURROGATE_NAS_CACHE", str(folder))


@pytest.fixture(autouse=True)
def _processes_are_measured_as_tests(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the marker no_cover, the processes that a test starts are not measured, too."""
    if request.node.get_closest_marker("no_cover"):
        monkeypatch.delenv(MEASURED, raising=False)


@pytest.fixture(autouse=True)
def _whole_errors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test in which an error of ours said less than three things."""
    flawed: list[str] = []
    usual = SurrogateNasError.__init__

    def checked(self: SurrogateNasError, *, expected: str, got: str, fix: str) -> None:
        if not (expected.strip() and got.strip() and fix.strip()):
            flawed.append(f"{type(self).__name__}({expected=}, {got=}, {fix=})")
        usual(self, expected=expected, got=got, fix=fix)

    monkeypatch.setattr(SurrogateNasError, "__init__", checked)
    yield
    assert flawed == []
