"""Wait where a signal is to come."""

from __future__ import annotations

import time


def wait_for_a_signal() -> None:
    """Sleep for five minutes, in short steps.

    A signal that comes just before a sleep begins does not cut it short: its handler runs when the
    sleep has ended.
    """
    until = time.monotonic() + 300
    while time.monotonic() < until:
        time.sleep(0.05)
