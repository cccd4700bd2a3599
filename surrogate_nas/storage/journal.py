"""A journal file that holds whole lines only, whatever happens to whoever writes."""

from __future__ import annotations

import contextlib
import json
import os
from typing import IO, Any, final

from optuna.storages.journal import JournalFileBackend

from surrogate_nas.storage.optuna_private import journal_lock, journal_path


@final
class JournalFile(JournalFileBackend):
    """Optuna's journal file, which a full disk or a lost machine leaves readable.

    Optuna's own keeps what was written of a line when the disk is full, and the next line follows
    on it: from then on nobody can read the study. Here half a line is taken away again, by the
    one who wrote it, or by the next one who writes.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write lines, all of them or none.

        Raises:
            OSError: There is no room.
        """
        lines = b"".join(json.dumps(log, separators=(",", ":")).encode() + b"\n" for log in logs)
        with journal_lock(self), open(str(journal_path(self)), "rb+", buffering=0) as file:
            end = _end_of_lines(file)
            file.seek(end)
            with contextlib.ExitStack() as undo:
                undo.callback(file.truncate, end)
                while lines:
                    lines = lines[file.write(lines) :]
                os.fsync(file.fileno())
                undo.pop_all()


def _end_of_lines(file: IO[bytes]) -> int:
    """Return where the last whole line ends; cut off what follows it."""
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
