"""Tasks from folders of images, one sub-folder a class, read by Pillow."""

from __future__ import annotations

import importlib.util
import os
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Unpack

import numpy as np
import numpy.typing as npt

from surrogate_nas.domains.images.arrays import Options, from_arrays
from surrogate_nas.domains.images.cleaning import enumerated
from surrogate_nas.errors import MissingExtraError, TaskError
from surrogate_nas.task import Task

if TYPE_CHECKING:
    from PIL import Image

Bytes: TypeAlias = npt.NDArray[np.uint8]
"""An image (height, width) if grey, else (height, width, 3)."""

_ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_UNREADABLE = (OSError, EOFError, SyntaxError, ValueError, struct.error)
"""What Pillow raises on damaged files."""
_SPLIT_FOLDERS = {"train", "test", "val"}
_MOST_PIXELS = 2**25
"""Of an image; a file of some kilobytes may claim, and unfold to, any number of them."""


def from_folder(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    on_unreadable: Literal["refuse", "skip"] = "refuse",
    image_size: tuple[int, int] | None = None,
    **options: Unpack[Options],
) -> Task:
    """Make a task from a folder with one sub-folder of images a class.

    The folder may instead hold ``train`` and, if you like, ``test`` and ``val``, each with one
    sub-folder a class. Images become grey if all of them are, else
    red, green and blue; 16 bits a pixel become 8, transparency is dropped, and photos are turned
    upright. Of more than 33 million pixels only a JPEG photo is read, if `image_size` says how
    much of it is wanted. Ignored are hidden files, files that do not end like images, and links
    that leave the folder.

    Args:
        path: The folder.
        name: How past tasks and reports call the task; by default the folder's name.
        on_unreadable: "refuse" raises if an image cannot be read; "skip" warns and goes on.
        image_size: (height, width) that all images are resized to; by default they must have one
            size already.
        **options: See :func:`from_arrays`.

    Raises:
        TaskError: The folder is missing or holds something else, or the data are unusable.
        MetricError: The metric is unknown or does not fit the data.
        MissingExtraError: Pillow is not installed.
    """
    root = Path(path).resolve()
    if not root.is_dir():
        raise TaskError(
            expected="a folder with one sub-folder of images a class",
            got=f"no folder at {path}",
            fix="check the path",
        )
    _check_options(on_unreadable, image_size)
    _require_pillow()
    read = {
        part: [(file, _pixels(file, image_size), label) for file, label in _listed(folder, root)]
        for part, folder in _part_folders(root).items()
    }
    everything = [row for rows in read.values() for row in rows]
    unreadable = [str(file.relative_to(root)) for file, pixels, _ in everything if pixels is None]
    if unreadable:
        _report(unreadable, on_unreadable)
    _require_one_size([pixels for _, pixels, _ in everything if pixels is not None])
    is_colored = any(pixels is not None and pixels.ndim == 3 for _, pixels, _ in everything)
    arrays: dict[str, Any] = {}
    for part, rows in read.items():
        kept = [(pixels, label) for _, pixels, label in rows if pixels is not None]
        _require_classes({label for _, _, label in rows} - {label for _, label in kept})
        suffix = "" if part == "train" else f"_{part}"
        arrays[f"x{suffix}"] = _stacked([pixels for pixels, _ in kept], is_colored)
        arrays[f"y{suffix}"] = [label for _, label in kept]
    return from_arrays(name=name or root.name, **arrays, **options)


def _check_options(on_unreadable: str, image_size: tuple[int, int] | None) -> None:
    if on_unreadable not in ("refuse", "skip"):
        raise TaskError(
            expected="on_unreadable of 'refuse' or 'skip'",
            got=repr(on_unreadable),
            fix="choose one of the two",
        )
    if image_size is not None and (len(image_size) != 2 or min(image_size) < 1):
        raise TaskError(
            expected="image_size as (height, width), each at least 1",
            got=repr(image_size),
            fix="write for example image_size=(32, 32)",
        )


def _sub_folders(folder: Path, root: Path) -> list[Path]:
    inside = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    return [path for path in inside if path.is_dir() and path.resolve().is_relative_to(root)]


def _images(folder: Path, root: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in _ENDINGS
        and not path.name.startswith(".")
        and path.resolve().is_relative_to(root)
        and path.is_file()
    ]


def _part_folders(root: Path) -> dict[str, Path]:
    """Return the folders of the splits; all of it is "train" unless sub-folders say otherwise."""
    found = {path.name: path for path in _sub_folders(root, root)}
    is_split = "train" in found and found.keys() <= _SPLIT_FOLDERS
    # Classes may be called so, too: of vehicles, say.
    if not is_split or not _sub_folders(found["train"], root):
        return {"train": root}
    return found


def _listed(folder: Path, root: Path) -> list[tuple[Path, str]]:
    """Return the images of all classes, each with the class it belongs to."""
    classes = {path.name: _images(path, root) for path in _sub_folders(folder, root)}
    empty = [name for name, images in classes.items() if not images]
    if not classes or empty:
        raise TaskError(
            expected=f"sub-folders of {folder} with images ({', '.join(sorted(_ENDINGS))})",
            got=f"none in {enumerated(empty)}" if classes else "no sub-folder",
            fix="put the images of each class into a sub-folder of its own",
        )
    return [(image, name) for name, images in classes.items() for image in images]


def _require_pillow() -> None:
    if importlib.util.find_spec("PIL") is None:
        raise MissingExtraError(
            expected="Pillow, which reads images",
            got="an environment without it",
            fix="run pip install 'surrogate-nas[images]'",
        )


def _pixels(file: Path, image_size: tuple[int, int] | None) -> Bytes | None:
    """Read an image; None if that is impossible."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
            with Image.open(file) as opened:
                if image_size is not None and _n_pixels(opened) > _MOST_PIXELS:
                    opened.draft(None, (max(image_size), max(image_size)))
                if _n_pixels(opened) > _MOST_PIXELS:
                    return None
                image = _in_bytes(ImageOps.exif_transpose(opened))
    except (*_UNREADABLE, Image.DecompressionBombError):
        return None
    if image_size is not None:
        height, width = image_size
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.array(image)


def _n_pixels(image: Image.Image) -> int:
    return image.width * image.height


def _in_bytes(image: Image.Image) -> Image.Image:
    """Convert an image of any mode to grey or to red, green and blue, a byte each."""
    from PIL import Image

    if image.mode.startswith("I"):
        # Pillow would cut 16 bits off at 255.
        wide = np.asarray(image, dtype=np.int32).clip(0, 65535)
        wide += 128  # to the nearest; there are no ties, as 257 is odd
        wide //= 257
        return Image.fromarray(wide.astype(np.uint8))
    if image.mode in ("1", "L", "LA"):
        return image.convert("L")
    if image.mode == "P":
        # Straight to RGB, Pillow warns of transparency.
        return image.convert("RGBA").convert("RGB")
    return image.convert("RGB")


def _report(unreadable: list[str], on_unreadable: str) -> None:
    """Raise for unreadable files, or warn of them."""
    found = f"{len(unreadable)} unreadable: {enumerated(unreadable)}"
    if on_unreadable == "refuse":
        raise TaskError(
            expected=f"images that Pillow can read, of at most {_MOST_PIXELS:,} pixels",
            got=found,
            fix="repair or remove them, or pass on_unreadable='skip'",
        )
    warnings.warn(f"Images left out, {found}.", UserWarning, stacklevel=3)


def _require_one_size(images: list[Bytes]) -> None:
    sizes = sorted({image.shape[:2] for image in images})
    if len(sizes) > 1:
        raise TaskError(
            expected="images of one size",
            got=f"{len(sizes)} sizes (height, width): {enumerated([str(size) for size in sizes])}",
            fix="pass image_size=(height, width) to resize them",
        )


def _require_classes(lost: set[str]) -> None:
    if lost:
        raise TaskError(
            expected="at least one readable image in each class",
            got=f"none in {enumerated(sorted(lost))}",
            fix="repair the images, or remove the sub-folder",
        )


def _stacked(images: list[Bytes], is_colored: bool) -> Bytes:
    """Stack images, (n, height, width) or with channels first, (n, 3, height, width)."""
    if not is_colored:
        return np.stack(images)
    colored = [np.stack([i] * 3) if i.ndim == 2 else np.moveaxis(i, 2, 0) for i in images]
    return np.stack(colored)
