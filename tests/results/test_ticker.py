from __future__ import annotations

import gc
import threading

import pytest

from surrogate_nas.results.ticker import _TICK_SECONDS, LONGEST_SILENCE, Ticker


class Teller:
    def __init__(self, n: int) -> None:
        self.left = n
        self.is_over = threading.Event()

    def tell(self) -> bool:
        self.left -= 1
        if self.left <= 0:
            self.is_over.set()
        return self.left > 0


def test_a_line_comes_before_30_seconds_have_passed() -> None:
    assert LONGEST_SILENCE + _TICK_SECONDS < 30


def test_it_calls_until_there_is_nothing_to_say_and_can_start_again() -> None:
    teller = Teller(3)
    ticker = Ticker(teller.tell, seconds=0.001)
    for _ in range(2):
        teller.left = 3
        teller.is_over.clear()
        ticker.start()
        ticker.start()  # one thread is enough
        assert teller.is_over.wait(30)
        while ticker._stop is not None and not ticker._stop.is_set():
            pass
    assert teller.left == 0


@pytest.mark.parametrize("is_stopped", [True, False])
def test_it_ends_when_it_is_stopped_or_its_object_is_gone(is_stopped: bool) -> None:
    teller = Teller(10**9)
    ticker = Ticker(teller.tell, seconds=0.001)
    before = set(threading.enumerate())
    ticker.start()
    (thread,) = set(threading.enumerate()) - before
    if is_stopped:
        ticker.stop()
    del teller
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()
