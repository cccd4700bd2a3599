"""A journal file that holds whole lines only, whatever happens to its writers."""

from __future__ import annotations

import contextlib
import json
import os
from typing import IO, Any, final

from optuna.storages.journal import JournalFileBackend

from surrogate_nas.storage.optuna_private import journal_lock, journal_path


@final
class JournalFile(JournalFileBackend):
    """Optuna's journal file, which stays readable after a full disk or a lost machine.

    Optuna's own file keeps half a line when the disk becomes full, and the next line is appended
    to that half. Nobody can read the study from then on. This file removes half a line, either
    at once or before the next line is written.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write all lines, or none of them.

        Raises:
            OSError: The disk has no room for them.
        """
        lines = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        with journal_lock(self), open(str(journal_path(self)), "rb+", buffering=0) as file:
            end = _end_of_lines(file)
            file.seek(end)
            with contextlib.ExitStack() as undo:
                undo.callback(file.truncate, end)
                # A write without a buffer may take a part of the bytes only.
                while lines:
                    lines = lines[file.write(lines) :]
                os.fsync(file.fileno())
                undo.pop_all()


def _end_of_lines(file: IO[bytes]) -> int:
    """Return the place at which the last whole line ends, and remove anything behind it."""
    # NOTE: read from the end, as the file may be large and its last line is short.
    end = size = file.seek(0, os.SEEK_END)
    while end:
        start = max(end - (1 << 16), 0)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        end = start + found + 1
        if found >= 0:
            break
    if end < size:
        file.truncate(end)
    return end
