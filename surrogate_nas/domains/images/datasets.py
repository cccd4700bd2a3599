"""Tasks from datasets of other libraries, told by what they can do: none of these is imported."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, Unpack, final

import numpy as np
import torch

from surrogate_nas.domains.given import enumerated
from surrogate_nas.domains.images.folder import checked_size, require_fit_name
from surrogate_nas.domains.images.image_files import FitName
from surrogate_nas.domains.images.item_decoder import (
    LABEL_NAMES,
    ItemDecoder,
    ItemForm,
    is_equal,
    name_in,
    sampled_form,
)
from surrogate_nas.domains.images.listing import part_named
from surrogate_nas.domains.images.making import Making, Options, Part, make_task
from surrogate_nas.domains.images.stores import (
    IN_MEMORY_BYTES,
    ArrayStore,
    DecodedStore,
    ImageStore,
)
from surrogate_nas.domains.images.working_copy import open_copy, place_of, temporary_spec
from surrogate_nas.errors import TaskError
from surrogate_nas.task import BatchDataset, DatasetSplit, Task
from surrogate_nas.task.decoding import decoded

_SAMPLED_ITEMS = 16
"""Items that say which shape, type and channels the images have."""
_ITEMS_AT_ONCE = 64


def from_dataset(
    train: Any,
    validation: Any = None,
    test: Any = None,
    *,
    name: str | None = None,
    image: str | None = None,
    label: str | None = None,
    image_size: int | tuple[int, int] | None = None,
    fit: FitName = "crop",
    classes: Sequence[str] | None = None,
    groups: Any = None,
    times: Any = None,
    working_copy: str | os.PathLike[str] | None = "auto",
    **options: Unpack[Options],
) -> Task:
    """Make a task from a dataset of PyTorch, torchvision or Hugging Face, or one like these.

    A dataset has a length, and gives items by their numbers: pairs of an image and a label, or
    dicts with both. An image is one of Pillow, or an array or tensor (height, width), with
    channels first or last. Labels are those of :func:`from_arrays`.

    Each item is read once, so random variation in the dataset is frozen: leave it to augmentation.
    Images that take at most 64 MiB are held in memory. Others are kept in a working copy on disk,
    which is deleted when the task is no longer used.

    Args:
        train: Dataset that networks are trained on; or all splits by their usual names, as a dict.
        validation: Dataset of the validation split; by default a part of `train`.
        test: Dataset of the test split; by default a part of `train`.
        name: How past tasks and reports call the task; by default the dataset's class.
        image: Name of the image in items that are dicts; by default a usual one.
        label: Name of the label in items that are dicts; by default a usual one.
        image_size: Height and width that images get, or one number for both. Images of Pillow and
            bytes can be resized.
        fit: How they get it, see :func:`from_folder`.
        classes: Names of the classes if labels are indices; by default those of the dataset.
        groups: Groups (n,) of `train`, see :func:`from_arrays`.
        times: Times (n,) of `train`, see :func:`from_arrays`.
        working_copy: Folder of working copies, see :func:`from_folder`.
        **options: See :func:`from_arrays`.

    Raises:
        TaskError: The datasets are unusable: one raises an error, has no labels, or images of
            several shapes.
        MetricError: The metric is unknown or does not fit the data.
    """
    require_fit_name(fit)
    given = _by_part(train, validation, test)
    size = checked_size(image_size)
    parts, read = {}, {}
    for part, dataset in given.items():
        _require_map_style(dataset, part)
        read[part] = ItemForm(image, label, size, fit, part)
    shape, pixel_type = sampled_form(given["train"], read["train"], _SAMPLED_ITEMS)
    n_bytes = sum(map(len, given.values())) * int(np.prod(shape)) * np.dtype(pixel_type).itemsize
    place = None if n_bytes <= IN_MEMORY_BYTES else place_of(working_copy)
    for part, dataset in given.items():
        decoder = ItemDecoder(dataset, read[part], shape, pixel_type)
        known = _known_labels(dataset, read[part])
        if n_bytes <= IN_MEMORY_BYTES:
            store, labels = _in_memory(decoder)
        else:
            store, labels = _on_demand(decoder, place, part, known)
        what = "y" if part == "train" else f"y_{part}"
        parts[part] = Part(store, np.arange(len(dataset)), known or labels, what)
    making = Making(
        name=name or type(given["train"]).__name__,
        classes=_class_names(given["train"], label) if classes is None else classes,
        groups=groups,
        times=times,
        fit=fit,
    )
    return make_task(parts, making, options)


def _by_part(train: Any, validation: Any, test: Any) -> dict[str, Any]:
    """Return the datasets of the splits; a dict of datasets has them by their usual names.

    Raises:
        TaskError: It has none for training, or one that is given, too.
    """
    if not isinstance(train, Mapping):
        given = {"train": train, "val": validation, "test": test}
        return {part: dataset for part, dataset in given.items() if dataset is not None}
    found = {part_named(str(name)) or str(name): dataset for name, dataset in train.items()}
    if "train" not in found or validation is not None or test is not None:
        raise TaskError(
            expected="a dict of datasets by the names train, validation and test, and no others",
            got=f"{enumerated([str(name) for name in train])}"
            + ("" if "train" in found else ", none of them train"),
            fix="pass the datasets one by one, as from_dataset(train, validation, test)",
        )
    return {part: found[part] for part in ("train", "val", "test") if part in found}


def _require_map_style(dataset: Any, part: str) -> None:
    """Refuse what cannot give items by their numbers.

    Raises:
        TaskError: It cannot, or it is empty.
    """
    kinds = {cls.__name__ for cls in type(dataset).__mro__}
    got, fix = "", "wrap it into a torch.utils.data.Dataset with __len__ and __getitem__"
    if "IterableDataset" in kinds:
        got = f"a {type(dataset).__name__}, which only gives items one after the other"
    elif "DataLoader" in kinds:
        got, fix = f"a {type(dataset).__name__}", "pass its dataset: loader.dataset"
    else:
        try:
            if len(dataset) and dataset.__getitem__ is not None:
                return
            got = f"an empty {type(dataset).__name__}"
        except (TypeError, AttributeError, NotImplementedError):
            got = f"a {type(dataset).__name__}"
    raise TaskError(
        expected=f"a dataset with a length and items by their numbers as {part}", got=got, fix=fix
    )


def _known_labels(dataset: Any, form: ItemForm) -> list[Any] | None:
    """Return the labels that a dataset knows without its images; None if it has to be read."""
    names = getattr(dataset, "column_names", None)
    if isinstance(names, list):
        key = name_in(names, form.label, LABEL_NAMES)
        return None if key is None else list(dataset[key])
    if getattr(dataset, "target_transform", None) is not None:
        return None
    for attribute in ("targets", "labels"):
        found = getattr(dataset, attribute, None)
        try:
            labels = None if found is None else list(found)
        except TypeError:
            continue
        if labels is not None and len(labels) == len(dataset):
            # NOTE: a subclass may give other labels than those it has inherited.
            some = {0, len(labels) // 2, len(labels) - 1}
            if all(is_equal(labels[row], form.read(dataset, row)[1]) for row in some):
                return labels
    return None


def _class_names(dataset: Any, label: str | None) -> list[str] | None:
    """Return the names of classes that a dataset knows; None if it has none."""
    features = getattr(dataset, "features", None)
    if isinstance(features, Mapping):
        key = name_in(list(features), label, LABEL_NAMES)
        found = getattr(features.get(key), "names", None)
    else:
        found = getattr(dataset, "classes", None)
    return [str(name) for name in found] if isinstance(found, list | tuple) and found else None


def _in_memory(decoder: ItemDecoder) -> tuple[ImageStore, list[Any]]:
    """Read all items; return a store of the images, and the labels."""
    n, height, width, channels = decoder.shape
    images = np.empty((n, channels, height, width), dtype=decoder.pixel_type)
    labels = []
    for row in range(n):
        image, label = decoder.item(row)
        images[row] = np.moveaxis(image, 2, 0)
        labels.append(label)
    return ArrayStore(images, decoder.pixel_type), labels


def _on_demand(
    decoder: ItemDecoder, place: str | None, words: str, known: list[Any] | None
) -> tuple[ImageStore, list[Any]]:
    """Return a store that reads items when they are needed, and the labels."""
    copy = None
    if place is not None:
        copy = open_copy(temporary_spec(place, decoder.shape, decoder.pixel_type, words))
    store = DecodedStore(decoder, copy)
    if known is not None:
        return store, known
    items = _Labels(decoder, store)
    batches = torch.split(torch.arange(len(store)), _ITEMS_AT_ONCE)
    return store, [label for some, _ in decoded(DatasetSplit(items), batches) for label in some]


@final
class _Labels(BatchDataset):
    """Labels of all items; their images go into the working copy on the way.

    Args:
        decoder: Reads the items.
        store: Keeps the images.
    """

    def __init__(self, decoder: ItemDecoder, store: DecodedStore) -> None:
        self._decoder, self._store = decoder, store

    def __len__(self) -> int:
        return len(self._store)

    @property
    def is_at_hand(self) -> bool:
        """Return False: a label comes with its image."""
        return False

    def take(self, rows: torch.Tensor) -> tuple[list[Any], None]:
        """Return the labels of some items."""
        labels = []
        for row in rows.tolist():
            image, label = self._decoder.item(row)
            self._store.keep(row, image)
            labels.append(label)
        return labels, None
