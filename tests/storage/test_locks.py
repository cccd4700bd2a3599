from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from surrogate_nas.attributes import LOCK, QUEUE_LOCK
from surrogate_nas.storage.locks import RunningLock, clear_locks, lock_paths, taken_from_dead

pytest.importorskip("fcntl", reason="files are locked where there is fcntl")


def with_locks(*paths: Path) -> FrozenTrial:
    """A running trial with these locks."""
    names = [LOCK, f"{QUEUE_LOCK}a", f"{QUEUE_LOCK}b"]
    attrs = {name: str(path) for name, path in zip(names, paths, strict=False)}
    return create_trial(state=TrialState.RUNNING, system_attrs=attrs)


def is_dead(trial: FrozenTrial) -> bool:
    with taken_from_dead(trial) as found:
        return found


def test_a_held_lock_says_alive_and_a_free_one_dead(tmp_path: Path) -> None:
    lock = RunningLock(tmp_path)
    trial = with_locks(lock.path)
    assert not is_dead(trial)
    assert lock.path.exists()
    del lock
    gc.collect()
    assert is_dead(trial)
    assert not is_dead(trial)  # its file is gone, and a missing file says nothing


def test_one_held_lock_is_enough(tmp_path: Path) -> None:
    """Another process has wanted the trial from the queue, too, and has not got it."""
    lock = RunningLock(tmp_path)
    free = tmp_path / "running-a.lock"
    free.touch()
    assert not is_dead(with_locks(free, lock.path))
    assert free.exists()
    lock.release()
    lock.release()  # again is no error
    assert is_dead(with_locks(free, lock.path))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["notes.txt", "running-a.txt", "a.lock", "running-/a.lock"])
def test_other_files_are_never_touched(name: str, tmp_path: Path) -> None:
    """A path in a storage is somebody else's text."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert lock_paths(with_locks(path)) == []
    clear_locks(with_locks(path))
    assert path.exists()


def test_a_pipe_is_no_lock(tmp_path: Path) -> None:
    """To open it would wait for ever."""
    os.mkfifo(tmp_path / "running-a.lock")
    assert not is_dead(with_locks(tmp_path / "running-a.lock"))


def test_a_folder_for_locks_alone_goes_with_the_last_one(tmp_path: Path) -> None:
    first, second = (RunningLock(tmp_path / "nas-running") for _ in range(2))
    first.release()
    assert (tmp_path / "nas-running").exists()
    second.release()
    assert not (tmp_path / "nas-running").exists()
    RunningLock(tmp_path / "checkpoints").release()
    assert (tmp_path / "checkpoints").exists()


def test_a_forked_child_does_not_hold_the_lock(tmp_path: Path) -> None:
    """It may live on after its parent was killed."""
    code = f"""
import os, sys
from pathlib import Path
from surrogate_nas.storage.locks import RunningLock
lock = RunningLock(Path({str(tmp_path)!r}))
if os.fork() == 0:
    sys.stdin.read()  # until the test has looked
    os._exit(0)
print(lock.path, flush=True)
os.kill(os.getpid(), 9)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        path = Path(process.stdout.readline().strip())
        process.wait(60)
        assert is_dead(with_locks(path))


@pytest.mark.parametrize("name", ["x" * 5000, "\x00", "\ud800", "a/" * 5000])
def test_a_name_that_no_file_can_have_is_no_lock(name: str, tmp_path: Path) -> None:
    """Anybody may write into a storage."""
    lock = RunningLock(tmp_path)
    trial = with_locks(lock.path.parent / f"{lock.path.stem}{name}{lock.path.suffix}")
    assert lock_paths(trial) == []
    assert not is_dead(trial)
