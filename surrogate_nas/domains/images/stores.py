"""Images that are read by their numbers: arrays, in memory or mapped, and images to decode.

Notation: a store has n images (channels, height, width); rows (m,) are numbers of images.
"""

from __future__ import annotations

import abc
import math
from typing import Any, final

import numpy as np
import torch

from surrogate_nas.arrays import Array, IntArray
from surrogate_nas.domains.images.cleaning import PixelType, to_tensor
from surrogate_nas.domains.images.working_copy import WorkingCopy
from surrogate_nas.errors import TaskError
from surrogate_nas.task import BatchDataset, DatasetSplit, Split, SplitLike

IN_MEMORY_BYTES = 2**26
"""Images that take at most this number of bytes together are held in memory."""


class ImageStore(abc.ABC):
    """Images of one shape and type.

    Attributes:
        image_shape: Channels, height, width.
        pixel_type: Type of a pixel.
        is_in_memory: Whether splits hold copies of the images in memory.
    """

    image_shape: tuple[int, int, int]
    pixel_type: PixelType
    is_in_memory: bool = False

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abc.abstractmethod
    def read(self, rows: IntArray) -> torch.Tensor:
        """Return images (m, channels, height, width).

        Raises:
            TaskError: An image cannot be read.
        """

    @abc.abstractmethod
    def has(self, rows: IntArray) -> bool:
        """Return whether all of some images can be read without decoding."""

    def decode(self, rows: IntArray) -> torch.Tensor | None:
        """Return the same as :meth:`read`, or None where it can now be read without decoding.

        Raises:
            TaskError: An image cannot be read.
        """
        return self.read(rows)

    def split(self, rows: IntArray, targets: torch.Tensor) -> SplitLike:
        """Return a split of some images, with their targets (m, ...)."""
        if self.is_in_memory:
            return Split(self.read(rows), targets)
        return DatasetSplit(_StoredImages(self, rows, targets), targets=targets)


@final
class _StoredImages(BatchDataset):
    """Some images of a store, with their targets.

    Args:
        store: All images.
        rows: Numbers (m,) of the images that belong here.
        targets: Their targets, (m, ...).
    """

    def __init__(self, store: ImageStore, rows: IntArray, targets: torch.Tensor) -> None:
        self._store, self._rows, self._targets = store, rows, targets

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def is_at_hand(self) -> bool:
        """Whether the store needs no decoding for them."""
        return self._store.has(self._rows)

    def take(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images and targets of some rows."""
        return self._store.read(self._rows[rows.numpy()]), self._targets[rows]

    def joined_with(self, other: BatchDataset) -> BatchDataset | None:
        """Return these and other images, if they are of the same store."""
        if not isinstance(other, _StoredImages) or other._store is not self._store:
            return None
        rows = np.concatenate([self._rows, other._rows])
        return _StoredImages(self._store, rows, torch.cat([self._targets, other._targets]))

    def decode(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return the same, or None where the store has kept the images for everybody."""
        images = self._store.decode(self._rows[rows.numpy()])
        return None if images is None else (images, self._targets[rows])


@final
class ArrayStore(ImageStore):
    """Images of an array, which is copied in parts, or stays on disk if it is mapped and large.

    Args:
        images: Images (n, channels, height, width).
        pixel_type: Type that they get.
    """

    def __init__(self, images: Array, pixel_type: PixelType) -> None:
        self._images = images
        self.pixel_type = pixel_type
        self.image_shape = images.shape[1:]
        size = images.size * np.dtype(pixel_type).itemsize
        self.is_in_memory = _file_of(images) is None or size <= IN_MEMORY_BYTES

    def __reduce__(self) -> tuple[Any, ...]:
        # NOTE: pickled as it is, a mapped array would be read and sent as a whole.
        file = _file_of(self._images)
        if file is None:
            return ArrayStore, (self._images, self.pixel_type)
        start = file.offset + _address(self._images) - _address(file)
        where = (str(file.filename), start, self._images.shape, self._images.strides)
        return _mapped_again, (*where, self._images.dtype.str, self.pixel_type)

    def __len__(self) -> int:
        return len(self._images)

    def read(self, rows: IntArray) -> torch.Tensor:
        """Return copies of some images."""
        return to_tensor(self._images, rows, self.pixel_type)

    def has(self, rows: IntArray) -> bool:
        """Return True: nothing is to be decoded."""
        del rows
        return True


def _file_of(array: Array) -> np.memmap[Any, Any] | None:
    """Return the map of a file that an array is a view of; None for an array in memory."""
    base: Any = array
    found = None
    while isinstance(base, np.ndarray):
        if isinstance(base, np.memmap) and base.filename is not None:
            found = base
        base = base.base
    return found


def _address(array: Array) -> int:
    """Return where the first element of an array lies."""
    return int(array.__array_interface__["data"][0])


def _mapped_again(
    file: str,
    start: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: str,
    pixel_type: PixelType,
) -> ArrayStore:
    """Return the store of a mapped file in another process.

    Raises:
        TaskError: The file is no longer there, or shorter.
    """
    try:
        whole = np.memmap(file, dtype=np.uint8, mode="r")
        images: Array = np.ndarray(shape, dtype, whole, start, strides)
    except (OSError, ValueError, TypeError) as error:
        raise TaskError(
            expected=f"the mapped file {file}, as it was when the task was made",
            got=f"{error}",
            fix="leave it where it is, on each machine that trains",
        ) from error
    return ArrayStore(images, pixel_type)


class Decoder(abc.ABC):
    """Makes images of files or other objects, the same ones each time.

    Attributes:
        shape: Number of images, height, width, channels.
        pixel_type: Type of a pixel.
    """

    shape: tuple[int, int, int, int]
    pixel_type: PixelType

    @abc.abstractmethod
    def decode(self, row: int) -> Array:
        """Return an image, (height, width, channels).

        Raises:
            TaskError: It cannot be read.
        """


@final
class DecodedStore(ImageStore):
    """Images that are decoded when they are asked for, and kept in a working copy.

    Args:
        decoder: Makes the images.
        copy: Where they are kept; None decodes them each time.
    """

    def __init__(self, decoder: Decoder, copy: WorkingCopy | None) -> None:
        self._decoder, self._copy = decoder, copy
        self.pixel_type = decoder.pixel_type
        _, height, width, channels = decoder.shape
        self.image_shape = (channels, height, width)

    def __len__(self) -> int:
        return self._decoder.shape[0]

    @property
    def n_bytes(self) -> int:
        """Size of all images in bytes."""
        return math.prod(self._decoder.shape) * np.dtype(self.pixel_type).itemsize

    def has(self, rows: IntArray) -> bool:
        """Return whether the working copy has all of some images."""
        return self._copy is not None and bool(self._copy.has(rows).all())

    def read(self, rows: IntArray) -> torch.Tensor:
        """Return images from the working copy, and decode the missing ones."""
        images = np.empty((len(rows), *self._decoder.shape[1:]), dtype=self.pixel_type)
        is_kept = self._copy is not None and self._copy.has(rows).all()
        if not (is_kept and self._copy is not None and self._copy.read(rows, images)):
            self._fill(images, rows)
        # NOTE: a view. Networks take images with channels last in memory, as files have them.
        return torch.from_numpy(images).permute(0, 3, 1, 2)

    def decode(self, rows: IntArray) -> torch.Tensor | None:
        """Decode images that the working copy lacks; return them only if it cannot keep them."""
        if self._copy is None:
            return self.read(rows)
        kept = [
            self._copy.write(row, self._decoder.decode(row))
            for row in rows[~self._copy.has(rows)].tolist()
        ]
        return None if all(kept) else self.read(rows)

    def keep(self, row: int, image: Array) -> None:
        """Add an image (height, width, channels) to the working copy, if there is one."""
        if self._copy is not None:
            self._copy.write(row, image)

    def _fill(self, images: Array, rows: IntArray) -> None:
        """Read the images that the working copy has, and decode and add the others."""
        copy = self._copy
        is_there = np.zeros(len(rows), dtype=bool) if copy is None else copy.has(rows)
        for place, row in enumerate(rows.tolist()):
            at = slice(place, place + 1)
            if copy is not None and is_there[place] and copy.read(rows[at], images[at]):
                continue
            images[place] = self._decoder.decode(row)
            if copy is not None:
                copy.write(row, images[place])
