"""A small process that outlives pytest just long enough to take a server of the tests away."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def keeper(module: str, *arguments: str, seconds: float) -> Iterator[None]:
    """Run ``python -m module arguments`` beside the block, and let it go on at the block's end.

    Args:
        module: Reads a line of its standard input, which ends when pytest does, however that is;
            then ends the server.
        arguments: Of the module.
        seconds: How long that may take.

    Raises:
        subprocess.TimeoutExpired: It took longer.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.PIPE,
        text=True,
        start_new_session=True,  # or Ctrl-C would end it, and who then ends the server?
    )
    try:
        yield
    finally:
        # A line: the pipe's end alone would not do, where a child of the tests has its other end.
        process.communicate("stop\n", timeout=seconds)
