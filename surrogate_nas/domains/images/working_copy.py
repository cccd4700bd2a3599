"""The working copy: decoded images at their working size in a file, so that none is decoded twice.

A copy is a folder of three files. ``pixels.npy`` has all images in NumPy's own form, (n, height,
width, channels), so that ``numpy.load`` can map it. ``state`` has a byte for each image: 1 where
it has been written. ``about.json`` says what the copy is of. Any number of processes may read and
fill one copy. All of them decode an image to the same bytes, and write its byte of state after it.

NOTE: files are read and written at positions, and not through a mapping. A mapped file that
another program cuts off would end the process, and its pages would count as memory of the process.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import os
import shutil
import tempfile
import time
import uuid
import weakref
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from surrogate_nas.arrays import Array, BoolArray, IntArray
from surrogate_nas.files.bounded import read_bounded
from surrogate_nas.files.cache import cache_folder

SHARE_OF_FREE = 0.25
"""Largest share of a disk's free space that a working copy may take."""
_KEPT_SECONDS = 30 * 86_400
"""Time after which a copy that nobody has opened is deleted."""
_PIXELS, _STATE, _ABOUT, _SEAL = "pixels.npy", "state", "about.json", "complete"
_FORMAT = "surrogate_nas.working_copy"
_MOST_ABOUT = 2**16

_logger = logging.getLogger(__name__)


@final
@dataclass(frozen=True)
class CopySpec:
    """What a working copy is of.

    Args:
        place: Folder that has a folder for each copy.
        key: Name of the copy, which differs where the images differ.
        shape: Number of images, height, width, channels.
        dtype: Type of a pixel, "uint8" or "float32".
        origin: What the images are made from. A new copy replaces others of the same origin.
        words: Name of the data set, for messages.
        owner: Number of the process that deletes the copy at its end; None keeps it.
    """

    place: str
    key: str
    shape: tuple[int, int, int, int]
    dtype: str
    origin: str
    words: str
    owner: int | None = None

    @property
    def row_bytes(self) -> int:
        """Size of an image in bytes."""
        return math.prod(self.shape[1:]) * np.dtype(self.dtype).itemsize

    @property
    def folder(self) -> Path:
        """Folder of the copy."""
        return Path(self.place) / self.key


def open_copy(spec: CopySpec) -> WorkingCopy | None:
    """Open a working copy, or begin an empty one; None where that is impossible.

    The log says why there is none: the disk is too small, or cannot be written to.
    """
    if "preadv" not in dir(os):
        _say_none(spec, "this system cannot read files at positions")
        return None
    try:
        Path(spec.place).mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _is_usable(spec):
            shutil.rmtree(spec.folder, ignore_errors=True)
            needed, free = spec.shape[0] * spec.row_bytes, shutil.disk_usage(spec.place).free
            if needed > SHARE_OF_FREE * free:
                _say_none(
                    spec, f"it would take {needed:,} of {free:,} free bytes, above a quarter"
                )
                return None
            _begin(spec)
            _clean(spec)
        os.utime(spec.folder / _ABOUT)  # which says when the copy was last used
        return WorkingCopy(spec)
    except OSError as error:
        _say_none(spec, f"{error}")
        return None


def place_of(working_copy: str | os.PathLike[str] | None) -> str | None:
    """Return the folder of working copies; None where none are wanted.

    Args:
        working_copy: "auto" for the user's folder of caches, None or "none" for no copy, or a
            folder.
    """
    if working_copy is None or working_copy == "none":
        return None
    if working_copy == "auto":
        return str(cache_folder("images"))
    return os.path.abspath(os.fsdecode(working_copy))


@final
class WorkingCopy:
    """Images that have been decoded, on disk.

    Args:
        spec: What the copy is of. Its files exist.

    Raises:
        OSError: A file cannot be opened.
    """

    def __init__(self, spec: CopySpec) -> None:
        self.spec = spec
        flags = os.O_RDWR | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOFOLLOW", 0)
        self._pixels = os.open(spec.folder / _PIXELS, flags)
        self._state = os.open(spec.folder / _STATE, flags)
        self._start = os.fstat(self._pixels).st_size - spec.shape[0] * spec.row_bytes
        self._known: Array = np.zeros(spec.shape[0], dtype=np.uint8)
        self._can_write = True
        self._row_bytes = spec.row_bytes
        weakref.finalize(self, _close, (self._pixels, self._state), os.getpid(), spec)

    def __reduce__(self) -> tuple[Any, ...]:
        # NOTE: another process opens the files by their names, or begins a copy of its own.
        return open_copy, (self.spec,)

    def has(self, rows: IntArray) -> BoolArray:
        """Return whether each of some images is in the copy, (m,)."""
        if not self._known[rows].all():
            # Other processes may have written some in the meantime.
            found = np.frombuffer(_read(self._state, self.spec.shape[0], 0), dtype=np.uint8)
            if len(found) == len(self._known):
                self._known = found
        return np.asarray(self._known[rows] == 1)

    def read(self, rows: IntArray, images: Array) -> bool:
        """Read images that the copy has.

        Args:
            rows: Numbers (m,) of the images.
            images: Contiguous array (m, height, width, channels) that they are written to.

        Returns:
            False if the file is damaged.
        """
        flat = memoryview(images.reshape(-1).view(np.uint8).data)
        size, numbers = self._row_bytes, rows.tolist()
        if numbers == list(range(numbers[0], numbers[0] + len(numbers))):
            # Images that follow each other, as in an evaluation, are read at once.
            return _read_into(self._pixels, flat, self._start + numbers[0] * size)
        return all(
            _read_into(self._pixels, flat[at * size : (at + 1) * size], self._start + row * size)
            for at, row in enumerate(numbers)
        )

    def write(self, row: int, image: Array) -> bool:
        """Add an image; return False where that is impossible, which the log says once."""
        if not self._can_write:
            return False
        try:
            data = memoryview(np.ascontiguousarray(image).reshape(-1).view(np.uint8).data)
            _write(self._pixels, data, self._start + row * self._row_bytes)
            # NOTE: only now, so that no process reads an image that is half written.
            _write(self._state, memoryview(b"\x01"), row)
        except OSError as error:
            self._can_write = False
            _say_none(self.spec, f"{error}; what it has stays in use")
        return self._can_write


def temporary_spec(
    place: str, shape: tuple[int, int, int, int], dtype: str, words: str
) -> CopySpec:
    """Return a copy that its process deletes at the end, of images that nobody can recognise."""
    name = f"temporary-{os.getpid()}-{uuid.uuid4().hex[:12]}"
    return CopySpec(place, name, shape, dtype, name, words, os.getpid())


def _begin(spec: CopySpec) -> None:
    """Make the files of an empty copy, and put them in place in one step."""
    beside = Path(tempfile.mkdtemp(prefix=".new-", dir=spec.place))  # for the user alone
    try:
        with (beside / _PIXELS).open("wb") as file:
            header = {"descr": np.dtype(spec.dtype).str, "fortran_order": False}
            np.lib.format.write_array_header_1_0(file, {**header, "shape": spec.shape})
            # Blocks are taken as they are written. Until then they are no part of the disk's use.
            file.truncate(file.tell() + spec.shape[0] * spec.row_bytes)
        (beside / _STATE).write_bytes(bytes(spec.shape[0]))
        about = {"format": _FORMAT, "boot": _boot(), **asdict(spec)}
        (beside / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
        try:
            beside.rename(spec.folder)
        except OSError:
            if not _is_usable(spec):  # else another process was faster
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _is_usable(spec: CopySpec) -> bool:
    """Whether the files of a copy are there and fit it."""
    folder = spec.folder
    try:
        about = _about(folder)
        with (folder / _PIXELS).open("rb") as file:
            version = np.lib.format.read_magic(file)
            header = np.lib.format.read_array_header_1_0(file) if version == (1, 0) else None
            start = file.tell()
        size, n = (folder / _PIXELS).stat().st_size, spec.shape[0]
        fits = header == (spec.shape, False, np.dtype(spec.dtype))
        if not fits or size != start + n * spec.row_bytes or about.get("key") != spec.key:
            return False
        if (folder / _STATE).stat().st_size != n:
            return False
        return _is_written(folder, about.get("boot"), n)
    except (OSError, ValueError, EOFError):
        return False


def _is_written(folder: Path, boot: Any, n: int) -> bool:
    """Whether what a copy says it has has reached the disk."""
    if (folder / _SEAL).exists():
        return True
    if boot != _boot():
        # NOTE: after a power failure the state may have reached the disk, and the pixels not.
        return False
    if (folder / _STATE).read_bytes() == b"\x01" * n:
        with (folder / _PIXELS).open("rb+") as file:
            os.fsync(file.fileno())
        (folder / _SEAL).touch()
    return True


def _about(folder: Path) -> dict[str, Any]:
    """Return what a copy says of itself.

    Raises:
        OSError: It says nothing.
    """
    text = read_bounded(folder / _ABOUT, _MOST_ABOUT, follow_links=False)
    try:
        found = json.loads(text.decode())
    except ValueError as error:
        raise OSError(f"{folder}: {error}") from error
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise OSError(f"{folder}: another file")
    return found


def _clean(spec: CopySpec) -> None:
    """Delete copies that are of no more use: replaced, forgotten, or of a process that is gone."""
    for folder in set(Path(spec.place).iterdir()) - {spec.folder}:
        with contextlib.suppress(OSError):
            about = _about(folder)
            owner = about.get("owner")
            is_replaced = about.get("origin") == spec.origin
            is_old = time.time() - (folder / _ABOUT).stat().st_mtime > _KEPT_SECONDS
            is_left = isinstance(owner, int) and not (
                about.get("boot") == _boot() and _is_alive(owner)
            )
            if is_replaced or is_old or is_left:
                shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    """Whether a process is running."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # it belongs to somebody else
    return True


def _boot() -> str:
    """Return a text that changes when the machine starts; empty where there is none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _close(files: tuple[int, ...], process: int, spec: CopySpec) -> None:
    """Close the files of a copy that nobody reads any more, and delete a temporary one."""
    if os.getpid() != process:
        return  # a forked process ends, and the files stay those of its parent
    for file in files:
        with contextlib.suppress(OSError):
            os.close(file)
    if spec.owner == process:
        shutil.rmtree(spec.folder, ignore_errors=True)


def _say_none(spec: CopySpec, why: str) -> None:
    _logger.warning(
        "No working copy of %r in %s: %s. Images are decoded again in each epoch.",
        spec.words,
        spec.place,
        why,
    )


def _read(file: int, size: int, start: int) -> bytes:
    """Return bytes of a file at a position, fewer at its end."""
    buffer = bytearray(size)
    return bytes(buffer) if _read_into(file, memoryview(buffer), start) else b""


def _read_into(file: int, buffer: memoryview, start: int) -> bool:
    """Fill a buffer from a position of a file; False if the file ends before."""
    done = 0
    while done < len(buffer):
        # NOTE: with the position in the call, threads and forked processes share a file.
        n = os.preadv(file, [buffer[done:]], start + done)
        if n == 0:
            return False
        done += n
    return True


def _write(file: int, data: memoryview, start: int) -> None:
    """Write bytes to a position of a file."""
    done = 0
    while done < len(data):
        done += os.pwrite(file, data[done:], start + done)
