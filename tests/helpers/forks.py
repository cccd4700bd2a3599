"""Python processes that start at once, forked from one that has imported PyTorch and Optuna.

A fresh interpreter needs seconds of processor time to import them, and tests start hundreds. With
the fixture ``quick_processes`` a test's own ``[sys.executable, "-c" or "-m", ...]`` becomes a real
process all the same, with its pipes, signals and exit code. Only its parent is another: the
nursery, one process for each process of pytest-xdist, which ends with that.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import io
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
import types
from pathlib import Path
from typing import Any, NoReturn, final

import coverage
import pytest

MEASURED = "COVERAGE_PROCESS_CONFIG"
"""Environment variable by which coverage measures new processes."""
_LARGEST = 1 << 17
"""Bytes of a request, in which the environment is the largest part."""
_TOP = Path(__file__).parents[2]
_PAUSE = 0.02
"""Seconds between looks for children that have ended."""


@pytest.fixture
def quick_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Python processes that a test starts be forked instead of started from nothing."""
    monkeypatch.setattr(subprocess, "Popen", _ForkedPopen)


@functools.cache
def _nursery() -> socket.socket:
    """Start the nursery of this process, and return the way to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = _real(
        [sys.executable, "-m", __name__, str(theirs.fileno())],
        cwd=_TOP,  # a test may be in another folder
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    theirs.close()
    atexit.register(process.wait)
    atexit.register(ours.close)  # earlier: then the nursery ends
    return ours


_real = subprocess.Popen


@final
class _ForkedPopen(subprocess.Popen[Any]):
    """A process whose first instructions the nursery runs, told its exit code by it."""

    _link: socket.socket | None = None

    def _execute_child(self, args: Any, executable: Any, *others: Any) -> None:
        (preexec_fn, _, pass_fds, cwd, env, _, _, shell), fds = others[:8], others[8:14]
        words = [args] if isinstance(args, str) else [os.fsdecode(word) for word in args]
        special = executable or preexec_fn or pass_fds or shell or "PYTHONHASHSEED" in (env or {})
        if words[1:2] == ["-u"]:  # lines are written at once anyway
            del words[1]
        if (
            special
            or words[0] != sys.executable
            or not (words[1] in ("-c", "-m") or words[1].endswith(".py"))
        ):
            super()._execute_child(args, executable, *others)  # type: ignore[misc]
            return
        p2cread, _, _, c2pwrite, _, errwrite = fds
        given = [own if fd == -1 else fd for own, fd in enumerate((p2cread, c2pwrite, errwrite))]
        request = {
            "words": words[1:],
            "folder": os.fspath(cwd or os.getcwd()),
            "environment": dict(os.environ if env is None else env),
            "new_session": bool(others[-2]),
        }
        self._link, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            message = json.dumps(request).encode()
            socket.send_fds(_nursery(), [message], [*given, theirs.fileno()])
        self.pid = int(self._link.recv(32))
        self._child_created = True
        self._close_pipe_fds(*fds)  # type: ignore[attr-defined]

    def _try_wait(self, wait_flags: int) -> tuple[int, int]:
        if self._link is None:
            found: tuple[int, int] = super()._try_wait(wait_flags)  # type: ignore[misc]
            return found
        patience = 0.0 if wait_flags & os.WNOHANG else None
        if not select.select([self._link], [], [], patience)[0]:
            return 0, 0
        return self.pid, int(self._link.recv(32) or 0)

    def _internal_poll(self, *args: Any, **kwargs: Any) -> int | None:
        if self._link is None:
            found: int | None = super()._internal_poll(*args, **kwargs)  # type: ignore[misc]
            return found
        if self.returncode is None and self._waitpid_lock.acquire(blocking=False):  # type: ignore[attr-defined]
            try:
                pid, status = self._try_wait(os.WNOHANG)
                if pid and self.returncode is None:
                    self._handle_exitstatus(status)
            finally:
                self._waitpid_lock.release()  # type: ignore[attr-defined]
        return self.returncode

    def _handle_exitstatus(self, status: int) -> None:
        super()._handle_exitstatus(status)  # type: ignore[misc]
        if self._link is not None:
            self._link.close()


def main() -> None:
    """Import what takes long, then fork for each request until pytest is gone."""
    import surrogate_nas.running.optimize
    import surrogate_nas.running.workers.run

    del surrogate_nas
    gc.freeze()
    control = socket.socket(fileno=int(sys.argv[1]))
    links: dict[int, socket.socket] = {}
    while True:
        if select.select([control], [], [], _PAUSE if links else None)[0]:
            message, fds, _, _ = socket.recv_fds(control, _LARGEST, 4)
            if not message:
                return
            child = os.fork()
            if not child:
                for one in (control, *links.values()):
                    one.close()
                _be(json.loads(message), fds)
            for fd in fds[:3]:
                os.close(fd)
            links[child] = socket.socket(fileno=fds[3])
            links[child].send(str(child).encode())
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                with links.pop(ended[0]) as link, contextlib.suppress(OSError):
                    link.send(str(ended[1]).encode())


def _be(request: dict[str, Any], fds: list[int]) -> NoReturn:
    """Be the process that was asked for, to its end."""
    code = 0
    try:
        _become(request, fds)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            sys.stderr.write(f"{stop.code}\n")
    except KeyboardInterrupt:
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:  # whatever ends a program is told as Python does
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    # NOTE: to take all modules apart would copy the memory that is shared with the nursery.
    os._exit(code)


def _become(request: dict[str, Any], fds: list[int]) -> None:
    """Be the process that was asked for, as ``python -c`` or ``python -m`` is one."""
    if request["new_session"]:
        os.setsid()
    for own, fd in enumerate(fds[:3]):
        os.dup2(fd, own)
    for fd in fds:
        os.close(fd)
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)))
    sys.stdout, sys.stderr = (
        io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(own, "w", closefd=False)), line_buffering=True
        )
        for own in (1, 2)
    )
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["environment"])
    if MEASURED not in os.environ and (measuring := coverage.Coverage.current()) is not None:
        measuring.stop()  # NOTE: the nursery itself may be measured
    os.chdir(request["folder"])
    sys.path[0] = ""
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [folder for folder in given if folder and folder not in sys.path]
    if request["words"][0].endswith(".py"):
        sys.argv = request["words"]
        sys.path[0] = os.path.dirname(os.path.abspath(sys.argv[0]))
        runpy.run_path(sys.argv[0], run_name="__main__")
        return
    kind, program, *arguments = request["words"]
    sys.argv = [kind, *arguments]
    if kind == "-m":
        runpy.run_module(program, run_name="__main__", alter_sys=True)
        return
    sys.modules["__main__"] = types.ModuleType("__main__")
    exec(compile(program, "<string>", "exec"), vars(sys.modules["__main__"]))


if __name__ == "__main__":
    main()
