"""Image files -> stores of images: decoded at once into memory, or when they are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import torch

from surrogate_nas.arrays import BoolArray, IntArray
from surrogate_nas.domains.given import enumerated
from surrogate_nas.domains.images.cleaning import as_images
from surrogate_nas.domains.images.file_decoder import FileDecoder, stamps_of
from surrogate_nas.domains.images.image_files import (
    MOST_PIXELS,
    FitName,
    Header,
    Pixels,
    Size,
    header_of,
    in_bytes,
    mixed_pixels,
    pixels_of,
    require_one_size,
    stacked,
)
from surrogate_nas.domains.images.listing import ImageRow, LeftOut
from surrogate_nas.domains.images.stores import ArrayStore, DecodedStore, ImageStore
from surrogate_nas.domains.images.working_copy import CopySpec, open_copy
from surrogate_nas.errors import TaskError
from surrogate_nas.task import DatasetSplit
from surrogate_nas.task.decoding import decoded

_CHECKED_IMAGES = 64
"""Images that a process tries to read at once."""
_MOVING = (".gif", ".webp", ".apng", ".tif", ".tiff")
"""Endings of files that may hold several images."""


Stores = dict[str, tuple[ImageStore, IntArray]]
"""Part -> store of its images, and their numbers there."""


def unreadable_words(names: Sequence[str]) -> str:
    """Return how many files cannot be read, and which."""
    return f"{len(names)} unreadable: {enumerated(names)}"


def refuse_unreadable(names: Sequence[str]) -> None:
    """Refuse files that cannot be read, if there are any.

    Raises:
        TaskError: There are some.
    """
    if names:
        raise TaskError(
            expected=f"images that Pillow can read, of at most {MOST_PIXELS:,} pixels",
            got=unreadable_words(names),
            fix="repair or remove them, or pass on_unreadable='skip'",
        )


@final
@dataclass
class ImageFiles:
    """Image files of a data set. Their headers are read only where that is needed.

    Args:
        root: Folder of the files.
        rows: The images.
        size: Height and width that they get; None if they keep theirs.
        fit: How they get it.
    """

    root: Path
    rows: list[ImageRow]
    size: Size | None
    fit: FitName
    _headers: dict[str, Header | None] | None = None

    def headers(self) -> dict[str, Header | None]:
        """Return what each file says of its image, by its name."""
        if self._headers is None:
            self._headers = {row.name: header_of(self.root / row.name) for row in self.rows}
        return self._headers

    def sizes(self) -> Mapping[str, Size]:
        """Return the size of each image in memory, by its name.

        Raises:
            TaskError: They keep their sizes, and these differ.
        """
        if self.size is not None:
            return dict.fromkeys((row.name for row in self.rows), self.size)
        # NOTE: sizes come from the files' headers. So images of different sizes, or too many of
        # them, are refused before the pixels of any are decoded.
        found = {name: header.size for name, header in self.headers().items() if header}
        require_one_size(found)
        return found

    def leave_out(self, left_out: LeftOut) -> None:
        """Count the files whose first image others follow."""
        for row in self.rows:
            if row.name.lower().endswith(_MOVING):
                path = self.root / row.name
                header = header_of(path)
                if header is not None and header.is_animated:
                    left_out.add("animated or of several pages, beyond their first image", path)


def in_memory(files: ImageFiles, *, is_skipping: bool) -> tuple[list[ImageRow], Stores, list[str]]:
    """Decode all images now.

    Returns:
        The images that can be read, a store for each part, and the files that cannot be read.

    Raises:
        TaskError: A file cannot be read, and none is to be skipped.
    """
    images = {row: pixels_of(files.root / row.name, files.size, files.fit) for row in files.rows}
    bad = [row.name for row, pixels in images.items() if pixels is None]
    if not is_skipping:
        refuse_unreadable(bad)
    read = {row: pixels for row, pixels in images.items() if pixels is not None}
    return list(read), _stacked_parts(read), bad


def _stacked_parts(read: Mapping[ImageRow, Pixels]) -> Stores:
    """Return a store of arrays for each part."""
    # All splits at once, so that equal pixels stay equal across them.
    images = in_bytes(list(read.values()), [row.name for row in read])
    is_colored = any(image.ndim == 3 for image in images)
    stores: Stores = {}
    for part in dict.fromkeys(row.part for row in read):
        own = [image for image, row in zip(images, read, strict=True) if row.part == part]
        array = as_images(stacked(own, is_colored=is_colored), "x")
        stores[part] = ArrayStore(array, "uint8"), np.arange(len(own))
    return stores


def on_demand(
    files: ImageFiles, place: str | None, *, is_skipping: bool
) -> tuple[list[ImageRow], Stores, list[str]]:
    """Return the same as :func:`in_memory`, with one store that decodes when it is asked.

    Args:
        files: The files.
        place: Folder of working copies; None keeps none.
        is_skipping: Whether all files are tried now, and unreadable ones are skipped.
    """
    root, rows = files.root, files.rows
    names = [row.name for row in rows]
    decoder, copy = _decoder(files, names), None
    if place is not None:
        origin, words = decoder.origin, root.name
        copy = open_copy(CopySpec(place, decoder.key, decoder.shape, "uint8", origin, words))
    store = DecodedStore(decoder, copy)
    readable = _readable(store) if is_skipping else np.ones(len(rows), dtype=bool)
    numbers = np.flatnonzero(readable)
    kept = [rows[number] for number in numbers]
    stores: Stores = {
        part: (store, numbers[[row.part == part for row in kept]])
        for part in dict.fromkeys(row.part for row in kept)
    }
    return kept, stores, [names[number] for number in np.flatnonzero(~readable)]


def _decoder(files: ImageFiles, names: Sequence[str]) -> FileDecoder:
    """Return what decodes files, in color if one of them is, and by the range of all if needed."""
    root, size = files.root, files.size or next(iter(files.sizes().values()))
    is_colored, kinds = False, dict[bool, str]()
    for name in names:
        header = header_of(root / name)
        if header is not None:
            kinds.setdefault(header.is_wide, name)
            is_colored = is_colored or not header.is_grey
        # NOTE: of photos the first one says it, and no other header has to be read.
        if is_colored:
            break
    if len(kinds) > 1:
        raise mixed_pixels(kinds[True], kinds[False])
    stamps = stamps_of(root, names)
    decoder = FileDecoder(root, names, stamps, size, files.fit, is_colored=is_colored)
    if True not in kinds:
        return decoder
    spans = [decoder.span_of(row) for row in range(len(names))]
    span = (min(low for low, _ in spans), max(high for _, high in spans))
    return FileDecoder(root, names, stamps, size, files.fit, is_colored=is_colored, span=span)


def _readable(store: DecodedStore) -> BoolArray:
    """Decode all images into the working copy, and return whether each can be read, (n,)."""
    split = DatasetSplit(_Tried(store))
    batches = torch.split(torch.arange(len(store)), _CHECKED_IMAGES)
    return torch.cat([readable for readable, _ in decoded(split, batches)]).numpy()


@final
class _Tried:
    """A map-style dataset of whether each image of a store can be read."""

    def __init__(self, store: DecodedStore) -> None:
        self._store = store

    def __len__(self) -> int:
        return len(self._store)

    def __getitem__(self, row: int, /) -> tuple[bool, int]:
        try:
            self._store.decode(np.array([row]))
        except TaskError:
            return False, 0
        return True, 0
