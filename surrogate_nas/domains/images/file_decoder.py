"""Image files as a decoder: they must stay what they were when they were listed."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import final

import numpy as np

from surrogate_nas.arrays import Array, IntArray
from surrogate_nas.domains.images.image_files import (
    MOST_PIXELS,
    FitName,
    Pixels,
    Size,
    by_span,
    pixels_of,
    span_of,
)
from surrogate_nas.domains.images.stores import Decoder
from surrogate_nas.errors import TaskError

_READ_AT_ONCE = 2**26
"""Largest size in bytes of a file that is read as a whole before it is decoded."""
VERSION = 1
"""Number of the way from files to pixels. Working copies of another number are not read."""


def stamps_of(root: Path, names: Sequence[str]) -> IntArray:
    """Return the size in bytes and the time of the last change of files, (n, 2); -1 if missing."""
    return np.array([_stamp(root, name) for name in names], dtype=np.int64).reshape(-1, 2)


def _stamp(root: Path | str, name: str) -> tuple[int, int]:
    try:
        found = os.stat(os.path.join(root, name))
    except (OSError, ValueError):
        return -1, -1
    return found.st_size, found.st_mtime_ns


@final
class FileDecoder(Decoder):
    """Image files at one size, grey or in color.

    Args:
        root: Folder of the files.
        names: Their paths below it.
        stamps: Size and time of each, see :func:`stamps_of`.
        size: Height and width of the images.
        fit: How they get this size.
        is_colored: Whether they have three channels; else one.
        span: Smallest and largest pixel of all files, if these have 32 bits a pixel.
    """

    pixel_type = "uint8"

    def __init__(
        self,
        root: Path,
        names: Sequence[str],
        stamps: IntArray,
        size: Size,
        fit: FitName,
        *,
        is_colored: bool,
        span: tuple[float, float] | None = None,
    ) -> None:
        self._root, self._names, self._stamps = str(root), names, stamps
        self._size, self._fit, self._span = size, fit, span
        self.shape = (len(names), *size, 3 if is_colored else 1)

    @property
    def origin(self) -> str:
        """What tells working copies of this folder at this size from others."""
        return self._digest(f"{self._root} {self._fit} {self.shape[1:]}".encode())

    @property
    def key(self) -> str:
        """What tells a working copy of these very files from others."""
        said = f"{self.origin} {self._span}\n" + "\n".join(self._names)
        # NOTE: names of files need not be text that has an encoding.
        return self._digest(said.encode(errors="surrogateescape") + self._stamps.tobytes())

    @staticmethod
    def _digest(data: bytes) -> str:
        return hashlib.sha256(b"%d " % VERSION + data).hexdigest()[:32]

    def decode(self, row: int) -> Array:
        """Return the image of a file."""
        name = self._names[row]
        pixels = self._pixels(row)
        if (pixels.dtype != np.uint8) != (self._span is not None):
            raise self._changed(name, "another kind of pixels")
        image = pixels if self._span is None else by_span(pixels, self._span)
        if image.ndim == 2:
            image = image[:, :, None]
        elif self.shape[3] == 1:
            raise self._changed(name, "colors")
        # A grey image among coloured ones gets three equal channels.
        return image if image.shape == self.shape[1:] else np.broadcast_to(image, self.shape[1:])

    def span_of(self, row: int) -> tuple[float, float]:
        """Return the smallest and the largest pixel of a file.

        Raises:
            TaskError: It cannot be read, or has pixels that are not finite.
        """
        return span_of(self._pixels(row), self._names[row])

    def _pixels(self, row: int) -> Pixels:
        """Return the pixels of a file that is still what was listed."""
        name = self._names[row]
        try:
            with open(os.path.join(self._root, name), "rb", buffering=0) as file:
                found = os.fstat(file.fileno())
                stamp = [found.st_size, found.st_mtime_ns]
                if stamp != self._stamps[row].tolist():
                    raise self._changed(name, "another file")
                # NOTE: read at once, as Pillow reads a small file in forty steps.
                is_small = found.st_size <= _READ_AT_ONCE
                source = io.BytesIO(file.read()) if is_small else file
                pixels = pixels_of(source, self._size, self._fit)
        except FileNotFoundError as error:
            raise self._changed(name, "nothing") from error
        except OSError:
            pixels = None
        if pixels is None:
            raise unreadable(name)
        return pixels

    def _changed(self, name: str, found: str) -> TaskError:
        return TaskError(
            expected=f"the files of {self._root} as they were when the task was made",
            got=f"{found} at {name}",
            fix="make the task again, and let the folder be while it is read",
        )


def unreadable(name: str) -> TaskError:
    """Return the error for a file that cannot be read."""
    return TaskError(
        expected=f"images that Pillow can read, of at most {MOST_PIXELS:,} pixels",
        got=f"1 unreadable: {name}",
        fix="repair or remove it, or pass on_unreadable='skip'",
    )
