from __future__ import annotations

import hashlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from surrogate_nas.training import interruption
from surrogate_nas.training.interruption import StepHangs, Terminated, Watchdog, terminable
from surrogate_nas.training.trainer import Outcome, StopReason, Trainer
from tests.helpers.toys import ToyTask, network

TASK = ToyTask()
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")


HANGING = threading.Event()


class Hangs(nn.Module):
    """Does something instead of its eighth training pass: the second of the third epoch."""

    def __init__(self, instead: Callable[[], None]) -> None:
        super().__init__()
        self.inner, self.n_passes, self.instead = network(), 0, instead

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.n_passes += self.training
        if self.n_passes == 8:
            HANGING.set()
            try:
                self.instead()
            except Exception:  # as careless networks do
                self.instead()
        outputs: torch.Tensor = self.inner(inputs)
        return outputs


class PatientTimer(threading.Timer):
    """Counts from when the network hangs, and a thousand times as fast: no test waits for load."""

    def run(self) -> None:
        while not HANGING.wait(timeout=0.01):
            if self.finished.is_set():
                return
        self.finished.wait(self.interval / 1000 - 0.9)
        if not self.finished.is_set():
            self.function(*self.args, **self.kwargs)


def loop() -> None:
    while True:
        pass


def sleep() -> None:
    time.sleep(60)


def lock() -> None:
    held = threading.Lock()
    held.acquire()
    held.acquire()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a limit of a thousand seconds one of a tenth of a second, from when a step hangs."""
    HANGING.clear()
    monkeypatch.setattr(threading, "Timer", PatientTimer)


def train(instead: Callable[[], None], seconds: float = 1000.0) -> Outcome:
    trainer = Trainer(epochs=5, batch_size=50, time_limit_seconds=seconds)
    return trainer.train(Hangs(instead), TASK)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("instead", [loop, sleep, lock])
def test_a_step_that_hangs_ends_at_the_time_limit(instead: Callable[[], None]) -> None:
    """An endless loop, a sleep and a lock, in the main thread; whole epochs count."""
    outcome = train(instead)
    assert outcome.stop_reason is StopReason.TIME_LIMIT
    assert outcome.epochs == 2
    assert outcome.n_steps == 7
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_the_limit_is_one_of_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a real clock: a little over the limit, far below what the step would take."""
    monkeypatch.setattr(interruption, "_LEAST_GRACE", 0.1)
    began = time.monotonic()
    assert train(sleep, seconds=0.5).stop_reason is StopReason.TIME_LIMIT
    assert 0.5 < time.monotonic() - began < 50


def in_thread(run: Callable[[], Any]) -> Any:
    """Run something in a thread of its own and return what it returned."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(run()))
    thread.start()
    thread.join(timeout=300)
    assert not thread.is_alive()
    return results[0]


@pytest.mark.usefixtures("quick")
def test_a_loop_in_another_thread_is_ended_too() -> None:
    """Without signals, which only the main thread gets."""
    outcome = in_thread(lambda: train(loop))
    assert outcome.stop_reason is StopReason.TIME_LIMIT
    assert outcome.epochs == 2


def compute() -> None:
    """Stay in native code for a second or more."""
    hashlib.pbkdf2_hmac("sha256", b"", b"", 4_000_000)


@pytest.mark.usefixtures("quick")
def test_what_cannot_be_ended_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """A call that does not come back to Python is waited for, and the log says what to do."""
    outcome = train(compute)
    assert outcome.stop_reason is StopReason.TIME_LIMIT
    assert outcome.epochs == 2
    assert "hangs in native code" in caplog.text
    assert "same lines then continue the study" in caplog.text


def test_in_time_there_is_nothing_to_see(caplog: pytest.LogCaptureFixture) -> None:
    """No thread, no handler and no line are left behind."""
    with caplog.at_level(logging.DEBUG, logger="surrogate_nas"):
        outcome = train(lambda: None)
    assert outcome.stop_reason is StopReason.FINISHED
    assert not caplog.records
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.join(timeout=5)  # cancelled ones need a moment to end
            assert not thread.is_alive()
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


@pytest.mark.usefixtures("quick")
def test_a_handler_of_the_users_is_left_alone() -> None:
    """SIGALRM may belong to somebody else; loops are ended all the same."""
    heard: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, frame: heard.append(number))
    try:
        assert train(loop).stop_reason is StopReason.TIME_LIMIT
        os.kill(os.getpid(), signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert heard == [signal.SIGALRM]


def test_a_watchdog_that_comes_too_late_does_nothing() -> None:
    """What it wanted to raise does not arrive after the end."""
    watchdog = Watchdog(1000.0, 1000.0)
    with watchdog:
        pass
    watchdog._interrupt()
    watchdog._complain()
    watchdog._on_signal(signal.SIGALRM, None)
    time.sleep(0.01)


@pytest.mark.usefixtures("quick")
def test_what_arrives_late_is_caught() -> None:
    """In another thread: it is raised just as the last step comes back by itself."""
    reached: list[bool] = []

    def just_in_time() -> bool:
        watchdog = Watchdog(1000.0, 1000.0)
        with watchdog:
            watchdog._has_raised = True
        watchdog = Watchdog(1000.0, 1000.0)
        with watchdog:
            try:
                watchdog._interrupt()
                time.sleep(5)
            except StepHangs:
                reached.append(True)  # swallowed, as a network might do
        return True

    assert in_thread(just_in_time)
    assert reached == [True]


def test_sigterm_is_an_interruption_of_training() -> None:
    """And means what it meant before once training has ended."""
    with pytest.raises(Terminated), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_another_handler_of_sigterm_is_kept() -> None:
    """Whoever has one knows what to do."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with terminable():
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]


def test_other_threads_change_no_handler() -> None:
    """Python would refuse it."""

    def handler_in_between() -> Any:
        with terminable():
            return signal.getsignal(signal.SIGTERM)

    assert in_thread(handler_in_between) is signal.SIG_DFL


IN_STORAGE = """
def operate(number, finished):
    os.kill(os.getpid(), number)
    time.sleep(0.1)
    finished.append(True)
"""
WAITING = """
def wait_out(number, finished):
    os.kill(os.getpid(), number)
    time.sleep(0.1)
    finished.append(True)
"""


def _of_module(name: str, source: str, function: str) -> Callable[[int, list[bool]], None]:
    """A function as if it stood in a module."""
    names: dict[str, Any] = {"__name__": name, "os": os, "time": time}
    exec(source, names)
    found: Callable[[int, list[bool]], None] = names[function]
    return found


@pytest.mark.parametrize(
    ("number", "raised"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)],
)
def test_a_storage_finishes_what_it_does(
    number: signal.Signals, raised: type[BaseException]
) -> None:
    """A database that is left in the middle of writing stays locked."""
    operate = _of_module("optuna.storages._rdb.storage", IN_STORAGE, "operate")
    finished: list[bool] = []

    def operate_and_go_on() -> None:
        operate(number, finished)
        time.sleep(5)

    with pytest.raises(raised), terminable():
        operate_and_go_on()
    assert finished == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_waiting_for_a_server_ends_at_once() -> None:
    """It may take minutes."""
    wait_out = _of_module("surrogate_nas.storage.server", WAITING, "wait_out")
    finished: list[bool] = []
    with pytest.raises(KeyboardInterrupt), terminable():
        wait_out(signal.SIGINT, finished)
    assert finished == []
