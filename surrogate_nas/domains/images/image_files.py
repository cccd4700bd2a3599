"""Image files -> arrays of bytes, read by Pillow within a bound on memory.

Notation: an image is (height, width) if it is grey, else (height, width, 3).
"""

from __future__ import annotations

import functools
import importlib.util
import struct
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeAlias, final

import numpy as np

from surrogate_nas.arrays import ByteArray, FloatArray
from surrogate_nas.domains.given import enumerated
from surrogate_nas.errors import MissingExtraError, TaskError

if TYPE_CHECKING:
    from PIL import Image

Pixels: TypeAlias = ByteArray | FloatArray
"""An image; float64 where the file holds fractions or whole numbers of 32 bits."""
Size: TypeAlias = tuple[int, int]
"""Height and width."""
FitName = Literal["crop", "pad", "stretch"]
"""How an image gets another shape: its center is cut out, black edges are added, or neither."""

# NOTE: Pillow reads further formats. EPS would start Ghostscript, and a program must never be
# started by a file that a stranger wrote; WMF, BUFR, GRIB, HDF5 and MPEG need other readers.
_FORMATS = (
    # The commonest come first, as Pillow tries them in this order.
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "DIB", "ICO", "JPEG2000"),
    *("PCX", "PPM", "QOI", "SGI", "TGA"),
)
_UNREADABLE = (OSError, EOFError, SyntaxError, ValueError, struct.error)
"""What Pillow raises on damaged files."""
_ORIENTATION = 0x0112
"""The EXIF tag that says how a camera was held."""
_WIDE_MODES = ("I", "F")
"""Pillow's modes with 32 bits a pixel."""
_GREY_MODES = ("1", "L", "LA", "La")
"""Pillow's modes with a byte or a bit a pixel, and maybe transparency."""
_EXIF_KEYS = frozenset({"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"})
"""What Pillow finds in files that may say how the camera was held."""
_EXIF_FORMATS = ("TIFF", "MPO")
"""Formats that may say it elsewhere."""
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
    readable = set(_FORMATS) & Image.OPEN.keys()
    return frozenset(e for e, name in Image.registered_extensions().items() if name in readable)


@final
@dataclass(frozen=True)
class Header:
    """What a file says of its image before the pixels are decoded.

    Args:
        size: Height and width, upright.
        is_grey: Whether it has a single channel, transparency apart.
        is_wide: Whether a pixel has 32 bits.
        is_animated: Whether further images follow the first one.
    """

    size: Size
    is_grey: bool
    is_wide: bool
    is_animated: bool


def header_of(file: Path) -> Header | None:
    """Return what the header of an image file says; None if it cannot be read."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
            with Image.open(file, formats=_FORMATS) as opened:
                # NOTE: asked for EXIF that a PNG lacks, Pillow unfolds its pixels to look there.
                has_exif = opened.format != "PNG" or "exif" in opened.info
                orientation = opened.getexif().get(_ORIENTATION, 1) if has_exif else 1
                width, height = opened.size
                mode = opened.mode
                # A phone's photo may carry a depth map, which is no animation.
                moves = opened.format != "MPO" and bool(getattr(opened, "is_animated", False))
    except (*_UNREADABLE, TypeError, Image.DecompressionBombError):
        return None
    size = (width, height) if orientation >= _TURNED else (height, width)
    is_wide = mode in _WIDE_MODES
    return Header(size, is_wide or mode.startswith("I;16") or mode in _GREY_MODES, is_wide, moves)


def pixels_of(
    file: str | Path | IO[bytes], image_size: Size | None, fit: FitName = "crop"
) -> Pixels | None:
    """Read the first image of a file; None if that is impossible.

    Args:
        file: The file, by its path or open.
        image_size: Height and width that the image gets; None keeps its own.
        fit: How it gets them, see :func:`fitted`.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
            with Image.open(file, formats=_FORMATS) as opened:
                side = 0 if image_size is None else 2 * max(image_size)
                if side and min(opened.size) >= 2 * side:
                    # NOTE: a JPEG can be decoded at a fraction of its size, in a fraction of the
                    # time. Other formats ignore the request. Twice the wanted size leaves the
                    # details that the resizing averages.
                    opened.draft(None, (side, side))
                if opened.width * opened.height > MOST_PIXELS:
                    return None
                opened.load()
                image = as_plain(opened)
                if image_size is not None:
                    image = fitted(image, image_size, fit)
                if image.mode in _WIDE_MODES:
                    return np.asarray(image, dtype=np.float64)
                return np.asarray(image, dtype=np.uint8)
    except (*_UNREADABLE, Image.DecompressionBombError):
        return None


def fitted(image: Image.Image, size: Size, fit: FitName) -> Image.Image:
    """Return an image at a size (height, width).

    With "crop" the shorter side is scaled to fit, and the center is cut out. With "pad" the longer
    side is scaled to fit, and black edges are added. With "stretch" each side is scaled on its
    own.
    """
    from PIL import Image, ImageOps

    wanted = (size[1], size[0])
    if image.size == wanted:
        return image
    if fit == "crop":
        return ImageOps.fit(image, wanted, Image.Resampling.BILINEAR)
    if fit == "pad":
        return ImageOps.pad(image, wanted, Image.Resampling.BILINEAR)
    return image.resize(wanted, Image.Resampling.BILINEAR)


def as_plain(image: Image.Image) -> Image.Image:
    """Return an image of any mode upright: as L or RGB, a byte a channel, or still as I or F."""
    from PIL import Image, ImageOps

    # NOTE: to read the EXIF takes as long as a small image, and most files have none.
    has_exif = image.format in _EXIF_FORMATS or not _EXIF_KEYS.isdisjoint(image.info)
    if has_exif and image.getexif().get(_ORIENTATION, 1) > 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        # NOTE: Pillow's own conversion would cut 16 bits off at 255.
        wide = np.asarray(image).astype(np.int32)
        wide += 128  # to the nearest; there are no ties, as 257 is odd
        wide //= 257
        return Image.fromarray(wide.astype(np.uint8))
    if image.mode in (*_WIDE_MODES, "L", "RGB"):
        return image
    if image.mode in _GREY_MODES:
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
        raise mixed_pixels(wide, narrow)
    spans = [span_of(image, name) for image, name in zip(images, names, strict=True)]
    span = (min(low for low, _ in spans), max(high for _, high in spans))
    return [by_span(image, span) for image in images]


def by_span(image: Pixels, span: tuple[float, float]) -> ByteArray:
    """Bring an image of 32 bits a pixel to bytes, from the smallest and the largest pixel."""
    low, high = span
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.rint((image - low) * scale).astype(np.uint8)


def span_of(image: Pixels, name: str) -> tuple[float, float]:
    """Return the smallest and the largest pixel of an image.

    Raises:
        TaskError: A pixel is not finite.
    """
    least, most = float(image.min()), float(image.max())
    if not np.isfinite([least, most]).all():
        raise TaskError(
            expected="finite pixels in all images",
            got=f"pixels that are NaN or infinite in {name}",
            fix="repair or remove this image",
        )
    return least, most


def mixed_pixels(wide: str, narrow: str) -> TaskError:
    """Return the error for files of both kinds of pixels, with one of each."""
    return TaskError(
        expected="pixels of one kind in all images",
        got=f"32 bits a pixel in {wide}, a byte a channel in {narrow}",
        fix="save all images in one kind, for example as PNG with 8 or 16 bits",
    )


def require_one_size(sizes: Mapping[str, Size]) -> None:
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


def require_memory(sizes: Mapping[str, Size], max_bytes: int, n_held: int | None = None) -> None:
    """Refuse images that would take too much memory together, before any of them is read.

    Args:
        sizes: Size in memory of each image, by its name.
        max_bytes: Largest number of bytes that they may take, at 3 bytes a pixel.
        n_held: Number of images that are in memory at once; None for all.

    Raises:
        TaskError: They would take more.
    """
    n_bytes = sorted((3 * h * w for h, w in sizes.values()), reverse=True)
    needed = sum(n_bytes[:n_held])
    if needed > max_bytes:
        largest = max(sizes, key=lambda name: sizes[name][0] * sizes[name][1])
        height, width = sizes[largest]
        raise TaskError(
            expected=f"images that take at most {max_bytes:,} bytes of memory together",
            got=f"{len(n_bytes[:n_held]):,} images that unfold to {needed:,} bytes, "
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
