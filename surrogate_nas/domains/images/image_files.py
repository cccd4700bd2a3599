"""Image files -> arrays of bytes, read by Pillow within a bound on memory.

Notation: an image is (height, width) if it is grey, else (height, width, 3).
"""

from __future__ import annotations

import functools
import importlib.util
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from surrogate_nas.arrays import ByteArray, FloatArray
from surrogate_nas.domains.images.other_forms import enumerated
from surrogate_nas.errors import MissingExtraError, TaskError

if TYPE_CHECKING:
    from PIL import Image

Pixels: TypeAlias = ByteArray | FloatArray
"""An image; float64 where the file holds fractions or whole numbers of 32 bits."""
Size: TypeAlias = tuple[int, int]
"""Height and width."""

# NOTE: Pillow reads further formats. EPS would start Ghostscript, and a program must never be
# started by a file that a stranger wrote; WMF, BUFR, GRIB, HDF5 and MPEG need other readers.
_FORMATS = frozenset(
    (
        *("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG"),
        *("PPM", "QOI", "SGI", "TGA", "TIFF", "WEBP"),
    )
)
_UNREADABLE = (OSError, EOFError, SyntaxError, ValueError, struct.error)
"""What Pillow raises on damaged files."""
_ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""
_TURNED = 5
"""The first of the orientations, 5 to 8, that turn an image by a quarter."""
MOST_PIXELS = 2**25
"""Largest number of pixels of one image. A small file may unfold to any number of them."""


def require_pillow() -> None:
    """Refuse to go on without Pillow.

    Raises:
        MissingExtraError: It is not installed.
    """
    if importlib.util.find_spec("PIL") is None:
        raise MissingExtraError(
            expected="Pillow, which reads images",
            got="an environment without it",
            fix="run pip install 'surrogate-nas[images]'",
        )


@functools.cache
def endings() -> frozenset[str]:
    """Return the file endings of all formats that are read, in lower case with their dot."""
    from PIL import Image

    Image.init()
    readable = _FORMATS & Image.OPEN.keys()
    return frozenset(e for e, name in Image.registered_extensions().items() if name in readable)


def size_of(file: Path) -> Size | None:
    """Return an image's size as its header claims it, upright; None if it cannot be read."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
            with Image.open(file, formats=list(_FORMATS)) as opened:
                # NOTE: asked for EXIF that a PNG lacks, Pillow unfolds its pixels to look there.
                has_exif = opened.format != "PNG" or "exif" in opened.info
                orientation = opened.getexif().get(_ORIENTATION, 1) if has_exif else 1
                width, height = opened.size
    except (*_UNREADABLE, TypeError, Image.DecompressionBombError):
        return None
    return (width, height) if orientation >= _TURNED else (height, width)


def pixels_of(file: Path, image_size: Size | None) -> Pixels | None:
    """Read an image, resized if a size is given; None if that is impossible."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
            with Image.open(file, formats=list(_FORMATS)) as opened:
                if image_size is not None and _n_pixels(opened) > MOST_PIXELS:
                    # NOTE: a JPEG can be decoded at a fraction of its size. Other formats ignore
                    # the request, and are refused below.
                    opened.draft(None, (max(image_size), max(image_size)))
                if _n_pixels(opened) > MOST_PIXELS:
                    return None
                image = _plain(ImageOps.exif_transpose(opened))
    except (*_UNREADABLE, Image.DecompressionBombError):
        return None
    if image_size is not None:
        height, width = image_size
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    if image.mode in ("I", "F"):
        return np.array(image, dtype=np.float64)
    return np.array(image, dtype=np.uint8)


def _n_pixels(image: Image.Image) -> int:
    return image.width * image.height


def _plain(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to L or RGB (a byte a channel), or leave it as I or F."""
    from PIL import Image

    if image.mode.startswith("I;16"):
        # NOTE: Pillow's own conversion would cut 16 bits off at 255.
        wide = np.asarray(image).astype(np.int32)
        wide += 128  # to the nearest; there are no ties, as 257 is odd
        wide //= 257
        return Image.fromarray(wide.astype(np.uint8))
    if image.mode in ("I", "F"):
        return image
    if image.mode in ("1", "L", "LA", "La"):
        return image.convert("L")
    if image.mode == "P":
        # NOTE: converted straight to RGB, Pillow warns of transparency.
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def in_bytes(images: Sequence[Pixels], names: Sequence[str]) -> list[ByteArray]:
    """Bring images of 32 bits a pixel to bytes, by the range of all of them together.

    Args:
        images: All images of a data set.
        names: Their names, for messages.

    Raises:
        TaskError: Only some images are of this kind, or one has pixels that are not finite.
    """
    is_wide = [image.dtype != np.uint8 for image in images]
    if not any(is_wide):
        return [image.astype(np.uint8, copy=False) for image in images]
    if not all(is_wide):
        wide, narrow = (names[is_wide.index(kind)] for kind in (True, False))
        raise TaskError(
            expected="pixels of one kind in all images",
            got=f"32 bits a pixel in {wide}, a byte a channel in {narrow}",
            fix="save all images in one kind, for example as PNG with 8 or 16 bits",
        )
    low, high = _range(images, names)
    scale = 255.0 / (high - low) if high > low else 0.0
    return [np.rint((image - low) * scale).astype(np.uint8) for image in images]


def _range(images: Sequence[Pixels], names: Sequence[str]) -> tuple[float, float]:
    """Return the smallest and the largest pixel of all images."""
    low, high = np.inf, -np.inf
    for image, name in zip(images, names, strict=True):
        least, most = float(image.min()), float(image.max())
        if not np.isfinite([least, most]).all():
            raise TaskError(
                expected="finite pixels in all images",
                got=f"pixels that are NaN or infinite in {name}",
                fix="repair or remove this image",
            )
        low, high = min(low, least), max(high, most)
    return low, high


def require_one_size(sizes: dict[str, Size]) -> None:
    """Refuse images that differ in size; those of too many pixels are not read in any case.

    Args:
        sizes: The size of each image, by its name.

    Raises:
        TaskError: There is more than one.
    """
    found = sorted({(h, w) for h, w in sizes.values() if h * w <= MOST_PIXELS})
    if len(found) > 1:
        raise TaskError(
            expected="images of one size",
            got=f"{len(found)} sizes (height, width): {enumerated([str(size) for size in found])}",
            fix="pass image_size=(height, width) to resize them",
        )


def require_memory(sizes: dict[str, Size], image_size: Size | None, max_bytes: int) -> None:
    """Refuse images that would take too much memory together, before any of them is read.

    Args:
        sizes: The size of each image that can be read, by its name.
        image_size: The size that all images get; None keeps their own.
        max_bytes: Largest number of bytes that they may take, at 3 bytes a pixel.

    Raises:
        TaskError: They would take more.
    """
    needed = sum(3 * h * w for h, w in (image_size or size for size in sizes.values()))
    if needed > max_bytes:
        largest = max(sizes, key=lambda name: sizes[name][0] * sizes[name][1])
        height, width = sizes[largest]
        raise TaskError(
            expected=f"images that take at most {max_bytes:,} bytes of memory together",
            got=f"{len(sizes):,} images that unfold to {needed:,} bytes, "
            f"the largest {largest} with {height} × {width} pixels",
            fix="pass a smaller image_size, or a larger max_bytes",
        )


def stacked(images: Sequence[ByteArray], *, is_colored: bool) -> ByteArray:
    """Stack images, (n, height, width) or with channels first, (n, 3, height, width)."""
    if not is_colored:
        return np.stack(images)
    # A grey image among coloured ones gets three equal channels.
    colored: list[Any] = [
        np.stack([i] * 3) if i.ndim == 2 else np.moveaxis(i, 2, 0) for i in images
    ]
    return np.stack(colored)
