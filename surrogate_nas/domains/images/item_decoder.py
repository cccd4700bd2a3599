"""Items of a dataset -> images and labels; the dataset is the user's, and may do anything.

Items are pairs of an image and a label, or dicts with both under names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch

from surrogate_nas.arrays import Array
from surrogate_nas.domains.given import as_array, enumerated
from surrogate_nas.domains.images.cleaning import PixelType
from surrogate_nas.domains.images.image_files import FitName, Size, as_plain, fitted
from surrogate_nas.domains.images.stores import Decoder
from surrogate_nas.errors import TaskError
from surrogate_nas.task.splits import Unreadable, read_item

IMAGE_NAMES = ("image", "img", "images", "picture", "pixel_values", "x")
LABEL_NAMES = ("label", "labels", "fine_label", "target", "targets", "class", "y")
_CHANNELS = (1, 3, 4)
_MODES = {1: "L", 3: "RGB"}
"""Number of channels -> Pillow's mode with a byte for each."""


@final
@dataclass(frozen=True)
class ItemForm:
    """How the items of a dataset are read.

    Args:
        image: Name of the image in an item that is a dict.
        label: Name of the label there.
        size: Height and width that images get; None if they keep theirs.
        fit: How they get it.
        what: Name of the dataset in error messages.
    """

    image: str | None = None
    label: str | None = None
    size: Size | None = None
    fit: FitName = "crop"
    what: str = "train"

    def read(self, dataset: Any, row: int) -> tuple[Any, Any]:
        """Return an item's image and its label, as the dataset gives them.

        Raises:
            TaskError: The dataset raises an error, or the item has no image or no label.
        """
        item = read_item(dataset, row)
        if isinstance(item, Unreadable):
            raise self.refused(row, item.why)
        if isinstance(item, Mapping):
            image = self._named(item, row, self.image, IMAGE_NAMES, "image")
            return image, self._named(item, row, self.label, LABEL_NAMES, "label")
        if not isinstance(item, tuple | list) or len(item) < 2:
            raise self.refused(row, f"a {type(item).__name__} without a label")
        if item[1] is None:
            raise self.refused(row, "a label that is None")
        return item[0], item[1]

    def _named(
        self,
        item: Mapping[str, Any],
        row: int,
        name: str | None,
        usual: Sequence[str],
        argument: str,
    ) -> Any:
        """Return a value of an item that is a dict."""
        key = name_in(list(item), name, usual)
        if key is None or item[key] is None:
            found = "None" if key is not None else enumerated([repr(one) for one in item])
            raise self.refused(
                row,
                f"a dict with {found} in place of the {argument}",
                f"name it, as in {argument}='...'",
            )
        return item[key]

    def refused(self, row: int, got: str, fix: str | None = None) -> TaskError:
        """Return the error for an item."""
        return TaskError(
            expected=f"an image and its label in each item of {self.what}",
            got=f"item {row}: {got}",
            fix=fix or "repair or leave out this item, or return both from the dataset",
        )

    def pixels(self, image: Any, row: int) -> Array:
        """Return an item's image as (height, width, channels) in uint8 or float32.

        Raises:
            TaskError: It is no image, or cannot get the wanted size.
        """
        if type(image).__module__.partition(".")[0] == "PIL":
            plain = as_plain(image)
            plain = plain if self.size is None else fitted(plain, self.size, self.fit)
            array: Array = np.asarray(plain)
        else:
            array = self._channels_last(as_array(image, f"the image of item {row}"), row)
        array = array[:, :, None] if array.ndim == 2 else array
        array = _typed(array)
        if array.dtype == np.float32 and not bool(np.isfinite(array).all()):
            raise self.refused(row, "pixels that are NaN or infinite")
        if self.size is not None and array.shape[:2] != self.size:
            array = self._resized(array, row)
        return array

    def _channels_last(self, array: Array, row: int) -> Array:
        """Return an array with its channels at the end."""
        if array.ndim == 3 and array.shape[0] in _CHANNELS:
            array = np.moveaxis(array, 0, 2)
        is_image = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in _CHANNELS)
        if not is_image or array.dtype.kind not in "biuf" or 0 in array.shape:
            raise self.refused(
                row,
                f"an array {array.shape} of {array.dtype}",
                "return images (height, width), or with 1, 3 or 4 channels first or last",
            )
        return array

    def _resized(self, array: Array, row: int) -> Array:
        """Return bytes at the wanted size."""
        from PIL import Image

        mode = _MODES.get(array.shape[2])
        if array.dtype != np.uint8 or mode is None or self.size is None:
            raise self.refused(
                row,
                f"{array.shape[2]} channels of {array.dtype} with {array.shape[:2]} pixels",
                "resize these images in the dataset, or return bytes",
            )
        image = Image.fromarray(array[:, :, 0] if mode == "L" else array, mode)
        resized = np.asarray(fitted(image, self.size, self.fit))
        return resized[:, :, None] if mode == "L" else resized


def name_in(names: Sequence[str], given: str | None, usual: Sequence[str]) -> str | None:
    """Return the name that is given if it is there, else the first usual one; None if none is."""
    if given is not None:
        return given if given in names else None
    return next((name for name in usual if name in names), None)


def _typed(array: Array) -> Array:
    """Return pixels as uint8 if they are bools or bytes, else as float32."""
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind in "iu" and 0 <= array.min() <= array.max() <= 255:
        return array.astype(np.uint8, copy=False)
    return array.astype(np.float32, copy=False)


@final
class ItemDecoder(Decoder):
    """Images of a dataset's items.

    Args:
        dataset: The dataset.
        form: How its items are read.
        shape: Height, width and channels of all images.
        pixel_type: Type of all pixels.
    """

    def __init__(
        self, dataset: Any, form: ItemForm, shape: tuple[int, ...], pixel_type: PixelType
    ) -> None:
        height, width, channels = shape
        self.shape = (len(dataset), height, width, channels)
        self.pixel_type = pixel_type
        self._dataset, self._form = dataset, form

    def decode(self, row: int) -> Array:
        """Return the image of an item."""
        return self.item(row)[0]

    def item(self, row: int) -> tuple[Array, Any]:
        """Return the image (height, width, channels) of an item, and its label.

        Raises:
            TaskError: The item cannot be read, or differs from the others in shape or type.
        """
        image, label = self._form.read(self._dataset, row)
        array = self._form.pixels(image, row)
        wanted = self.shape[1:]
        if array.shape[2] == 1 and wanted[2] == 3:
            array = np.broadcast_to(array, (*array.shape[:2], 3))
        if array.shape != wanted:
            raise self._form.refused(
                row,
                f"an image {array.shape} beside {wanted} of others",
                "pass image_size=(height, width), or bring all images to one shape in the dataset",
            )
        if self.pixel_type == "uint8" and array.dtype != np.uint8:
            raise self._form.refused(
                row,
                f"pixels of {array.dtype} beside bytes of others",
                "return pixels of one type from the dataset",
            )
        return array.astype(self.pixel_type, copy=False), label


def sampled_form(dataset: Any, form: ItemForm, n: int) -> tuple[tuple[int, ...], PixelType]:
    """Return the shape and the type that images of a dataset get, by a few of them.

    Args:
        dataset: The dataset.
        form: How its items are read.
        n: Number of evenly spaced items that are looked at.
    """
    rows = np.unique(np.linspace(0, len(dataset) - 1, n).astype(int)).tolist()
    arrays = [form.pixels(form.read(dataset, row)[0], row) for row in rows]
    channels = max(array.shape[2] for array in arrays)
    is_wide = any(array.dtype != np.uint8 for array in arrays)
    return (*arrays[0].shape[:2], channels), "float32" if is_wide else "uint8"


def is_equal(one: Any, two: Any) -> bool:
    """Whether two labels are equal; what cannot be compared is not."""
    if isinstance(one, torch.Tensor) or isinstance(two, torch.Tensor):
        one, two = np.asarray(one), np.asarray(two)
    try:
        return bool(np.array_equal(one, two))
    except (TypeError, ValueError):
        return False
