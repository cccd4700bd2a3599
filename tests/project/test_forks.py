"""Processes that are forked behave as those that are started from nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("quick_processes")


def python(code: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, "one", "two"]
    done: subprocess.CompletedProcess[str] = subprocess.run(  # type: ignore[call-overload]
        command, capture_output=True, text=True, check=False, **options
    )
    return done


def test_pipes_arguments_environment_folder_and_exit_code(tmp_path: Path) -> None:
    code = (
        "import os, sys; print(sys.argv[1:], sys.stdin.read(), os.environ['MINE'], os.getcwd()); "
        "print('wrong', file=sys.stderr); sys.exit(3)"
    )
    done = python(code, input="told", cwd=tmp_path, env={**os.environ, "MINE": "own"})

    assert done.returncode == 3
    assert done.stdout == f"['one', 'two'] told own {tmp_path}\n"
    assert done.stderr == "wrong\n"


@pytest.mark.parametrize(
    ("code", "said"), [("1 / 0", "ZeroDivisionError"), ("raise SystemExit('why')", "why\n")]
)
def test_an_error_is_told_and_is_exit_code_1(code: str, said: str) -> None:
    done = python(code)

    assert done.returncode == 1
    assert said in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_them_as_they_end_python(number: signal.Signals) -> None:
    code = "import time; print('on', flush=True)\nwhile True: time.sleep(0.05)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)

    assert process.returncode == -number
    assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)


def test_torch_is_there_already() -> None:
    code = "import sys; print('torch' in sys.modules); import torch; print(torch.ones(2).sum())"
    assert python(code).stdout == "True\ntensor(2.)\n"


def test_they_can_be_waited_for_and_killed() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.1)

    process.kill()

    assert process.wait(20) == -signal.SIGKILL
    assert process.poll() == -signal.SIGKILL


def test_a_session_of_its_own_and_many_at_once() -> None:
    code = "import os; print(os.getsid(0) == os.getpid())"
    many = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=new
        )
        for new in (True, False) * 4
    ]

    assert [one.communicate()[0].strip() for one in many] == ["True", "False"] * 4


def test_modules_are_run_as_such() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "surrogate_nas.cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("surrogate-nas ")
