from __future__ import annotations

import contextlib
import gc
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from surrogate_nas.attributes import LOCK, QUEUE_LOCK
from surrogate_nas.storage.process_locks import (
    RunningLock,
    clear_locks,
    lock_paths,
    lock_state,
    taken_from_dead,
    wait_for,
)
from tests.helpers.untried_locks import UNTRIED

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


@contextlib.contextmanager
def forked() -> Iterator[None]:
    """A child of this process, which lives until the block has ended."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the test's process has threads
        child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    try:
        yield
    finally:
        os.close(writing)
        os.waitpid(child, 0)


def state(path: Path) -> str:
    with lock_state(path) as found:
        return found


def test_a_forked_child_does_not_hold_the_lock(tmp_path: Path) -> None:
    """It may live on after its parent was killed: one that decodes batches, for example."""
    lock, waited_for = RunningLock(tmp_path), wait_for(tmp_path / "worker.lock")
    trial = with_locks(lock.path)
    with forked():
        assert not is_dead(trial)
        assert state(tmp_path / "worker.lock") == "held"
        del lock
        gc.collect()
        waited_for.close()
        until = time.monotonic() + 60
        while state(tmp_path / "worker.lock") == "held" and time.monotonic() < until:
            time.sleep(0.01)  # the child has just begun
        assert is_dead(trial)
        assert state(tmp_path / "worker.lock") == "free"


@pytest.mark.parametrize("kind", UNTRIED)
def test_a_lock_that_cannot_be_tried_says_nothing(kind: str, tmp_path: Path) -> None:
    """Nothing is taken away, neither a free lock beside it."""
    free = tmp_path / "running-a.lock"
    free.touch()
    with UNTRIED[kind]():
        assert not is_dead(with_locks(free))
        assert state(free) == "unknown"
    assert free.exists()
    assert is_dead(with_locks(free))


def test_one_lock_that_cannot_be_tried_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds it may be training."""
    free, odd = tmp_path / "running-a.lock", tmp_path / "running-b.lock"
    free.touch()
    odd.touch()
    usual = os.open

    def opened(path: Path, flags: int) -> int:
        if path == odd:
            raise PermissionError(13, "Permission denied", str(path))
        return usual(path, flags)

    monkeypatch.setattr(os, "open", opened)
    assert not is_dead(with_locks(free, odd))
    assert free.exists()


def test_a_folder_without_rights_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may look whether the file is there."""

    def refuse(path: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(path))

    free = tmp_path / "running-a.lock"
    free.touch()
    monkeypatch.setattr(Path, "stat", refuse)
    assert lock_paths(with_locks(free)) == [free]
    monkeypatch.setattr(os, "open", lambda path, flags: refuse(path))
    assert not is_dead(with_locks(free))


@pytest.mark.parametrize("name", ["x" * 5000, "\x00", "\ud800", "a/" * 5000])
def test_a_name_that_no_file_can_have_is_no_lock(name: str, tmp_path: Path) -> None:
    """Anybody may write into a storage."""
    lock = RunningLock(tmp_path)
    trial = with_locks(lock.path.parent / f"{lock.path.stem}{name}{lock.path.suffix}")
    assert lock_paths(trial) == []
    assert not is_dead(trial)
