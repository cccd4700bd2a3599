"""What processes that tests start must be told of signals."""

from __future__ import annotations

import signal


def hear_ctrl_c() -> None:
    """A shell's background jobs ignore it, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
