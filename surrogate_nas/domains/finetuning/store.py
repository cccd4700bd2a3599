"""Arrays that are computed once: in memory up to a bound, and in a folder that processes share."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import shutil
import tempfile
import weakref
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, final

import numpy as np

from surrogate_nas.arrays import Array
from surrogate_nas.files.atomic import write_whole

_MEMORY_BYTES = 2**28
"""Bytes of arrays that are kept in memory."""
_DISK_BYTES = 2**31
"""Bytes of arrays that are kept in the folder."""

_logger = logging.getLogger(__name__)


@final
class ArrayStore:
    """Keeps arrays by key.

    Args:
        folder: Folder of the arrays. It is made if it does not exist, and its arrays outlive the
            program. None takes a temporary folder, which is deleted at the end of the program.
        memory_bytes: Bytes that are kept in memory, too.
        disk_bytes: Bytes that are kept in the folder. The oldest arrays are deleted beyond them.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        memory_bytes: int = _MEMORY_BYTES,
        disk_bytes: int = _DISK_BYTES,
    ) -> None:
        self._folder = None if folder is None else Path(folder)
        self._memory_bytes, self._disk_bytes = memory_bytes, disk_bytes
        self._kept: OrderedDict[str, Array] = OrderedDict()
        self._is_told = False

    def __getstate__(self) -> dict[str, Any]:
        # A worker finds the arrays in the folder.
        return {**vars(self), "_folder": self._place(), "_kept": OrderedDict()}

    def get(self, key: str, make: Callable[[], Array]) -> Array:
        """Return the array of a key, made now if there is none.

        Args:
            key: Text that tells it from all others.
            make: Computes the array.
        """
        name = hashlib.sha256(key.encode()).hexdigest()
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        found = self._read(name)
        if found is None:
            found = make()
            self._write(name, found)
        self._keep(name, found)
        return found

    def _keep(self, name: str, array: Array) -> None:
        """Keep an array in memory, in place of the ones that were used longest ago."""
        if array.nbytes > self._memory_bytes:
            return
        self._kept[name] = array
        while sum(one.nbytes for one in self._kept.values()) > self._memory_bytes:
            self._kept.popitem(last=False)

    def _place(self) -> Path:
        """Return the folder, a temporary one if none was given."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="surrogate-nas-features-"))
            weakref.finalize(self, _remove, self._folder, os.getpid())
        return self._folder

    def _read(self, name: str) -> Array | None:
        """Return an array from the folder; None if it is not there or damaged."""
        try:
            array: Array = np.load(self._place() / f"{name}.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return array

    def _write(self, name: str, array: Array) -> None:
        """Write an array to the folder, if there is room."""
        if array.nbytes > self._disk_bytes:
            return
        try:
            place = self._place()
            place.mkdir(parents=True, exist_ok=True)
            data = io.BytesIO()
            np.save(data, array, allow_pickle=False)
            self._make_room(place, data.tell())
            write_whole(place / f"{name}.npy", data.getvalue(), durable=False)
        except OSError as error:
            if not self._is_told:
                self._is_told = True
                _logger.warning(
                    "Frozen features are not kept on disk, and may be computed again: %s", error
                )

    def _make_room(self, place: Path, n_bytes: int) -> None:
        """Delete the oldest arrays until there is room for a number of bytes."""
        files = sorted(place.glob("*.npy"), key=lambda file: file.stat().st_mtime)
        total = sum(file.stat().st_size for file in files) + n_bytes
        for file in files:
            if total <= self._disk_bytes:
                return
            total -= file.stat().st_size
            file.unlink(missing_ok=True)


def _remove(folder: Path, owner: int) -> None:
    """Delete a temporary folder, in the process that made it alone."""
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)
