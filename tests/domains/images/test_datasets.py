"""Datasets of other libraries, and made-up ones that do what those do."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

from surrogate_nas.errors import TaskError
from surrogate_nas.task import DatasetSplit, Split
from surrogate_nas.tasks import from_dataset
from tests.helpers.photos import photo


class Pairs(Dataset[Any]):
    """Pairs of an image and a label; `change` may spoil an item."""

    def __init__(
        self, n: int = 40, image: Any = None, change: Callable[[int, Any], Any] | None = None
    ) -> None:
        self.n = n
        self.read: list[int] = []
        self._image = image or (lambda k: photo(5 * k, (8, 8), k))
        self._change = change

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, k: int) -> Any:
        self.read.append(k)
        item = self._image(k), k % 2
        return item if self._change is None else self._change(k, item)


class Vision(Pairs):
    """What torchvision's datasets know beside their items."""

    classes = ("cat", "dog")
    target_transform = None

    @property
    def targets(self) -> list[int]:
        return [k % 2 for k in range(self.n)]


class Columns(Dataset[Any]):
    """What a dataset of Hugging Face does: items are dicts, and columns are read by name."""

    column_names = ("picture", "fine_label")

    def __init__(self, n: int = 40) -> None:
        self.n = n
        self.column_names = ["img", "fine_label"]  # type: ignore[assignment]
        self.features = {"img": None, "fine_label": type("Label", (), {"names": ["cat", "dog"]})}
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            return [k % 2 for k in range(self.n)]
        self.read.append(key)
        return {"img": photo(5 * key, (8, 8), key), "fine_label": key % 2}


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any dataset count as larger than memory."""
    monkeypatch.setattr("surrogate_nas.domains.images.datasets.IN_MEMORY_BYTES", 100)


def images(task: Any) -> torch.Tensor:
    splits = (task.train, task.validation, task.test)
    return torch.cat([split.take(torch.arange(len(split)))[0] for split in splits])


def wanted(n: int = 40) -> Any:
    """Images of all items, in the order of their brightness."""
    return np.stack([np.moveaxis(np.asarray(photo(5 * k, (8, 8), k)), 2, 0) for k in range(n)])


def in_order(task: Any) -> torch.Tensor:
    found = images(task)
    return found[found.flatten(1).float().mean(1).argsort()]


@pytest.mark.parametrize("kind", [Pairs, Vision, Columns])
def test_small_datasets_are_read_into_memory(kind: Any) -> None:
    task = from_dataset(kind(), name="pets")
    assert isinstance(task.train, Split)
    assert task.classes == (("0", "1") if kind is Pairs else ("cat", "dog"))
    assert (task.name, task.input_shape) == ("pets", (3, 8, 8))
    assert np.array_equal(in_order(task).numpy(), wanted())
    assert from_dataset(kind()).name == kind.__name__


@pytest.mark.usefixtures("large")
@pytest.mark.parametrize("kind", [Pairs, Vision, Columns])
def test_large_datasets_are_read_once_each_item(kind: Any) -> None:
    dataset = kind()
    task = from_dataset(dataset)
    assert isinstance(task.train, DatasetSplit)
    for split in (task.train, task.validation, task.test):
        split.n_workers = 0  # type: ignore[union-attr]
    first = in_order(task)
    n = len(dataset.read)
    assert torch.equal(in_order(task), first)
    assert np.array_equal(first.numpy(), wanted())
    assert len(dataset.read) == n
    assert task.fingerprint == from_dataset(kind()).fingerprint


@pytest.mark.usefixtures("large")
def test_labels_that_only_items_have_are_read_with_their_images(tmp_path: Path) -> None:
    task = from_dataset(Pairs(), working_copy=tmp_path)
    assert task.train.is_at_hand  # type: ignore[union-attr]
    assert len(list(tmp_path.iterdir())) == 1
    del task
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("large")
def test_without_a_working_copy_items_are_read_each_time() -> None:
    task = from_dataset(Vision(), working_copy=None)
    assert not task.train.is_at_hand  # type: ignore[union-attr]
    assert np.array_equal(in_order(task).numpy(), wanted())


def test_given_splits_are_kept() -> None:
    for task in (
        from_dataset(Pairs(), Pairs(6), Pairs(8)),
        from_dataset({"training": Pairs(), "dev": Pairs(6), "test": Pairs(8)}),
    ):
        assert [len(s) for s in (task.train, task.validation, task.test)] == [40, 6, 8]
    drawn = from_dataset(Pairs(), test=Pairs(8), validation_share=0.3)
    assert [len(s) for s in (drawn.train, drawn.validation, drawn.test)] == [28, 12, 8]


def test_a_subclass_that_gives_other_labels_is_believed() -> None:
    class Shifted(Vision):
        def __getitem__(self, k: int) -> Any:
            return super().__getitem__(k)[0], k // 20

    task = from_dataset(Shifted())
    assert sorted(in_order(task)[:20].flatten(1).float().mean(1).tolist())[-1] < 150
    assert task.train.targets.sum() == 12


FORMS: dict[str, Callable[[int], Any]] = {
    "channels first": lambda k: np.moveaxis(np.asarray(photo(5 * k, (8, 8), k)), 2, 0),
    "channels last": lambda k: np.asarray(photo(5 * k, (8, 8), k)),
    "tensor": lambda k: torch.from_numpy(np.array(photo(5 * k, (8, 8), k))).permute(2, 0, 1),
    "wide whole numbers": lambda k: np.asarray(photo(5 * k, (8, 8), k)).astype(np.int64),
}


@pytest.mark.parametrize("form", FORMS)
def test_images_may_be_arrays_and_tensors(form: str) -> None:
    task = from_dataset(Pairs(image=FORMS[form]))
    assert np.array_equal(in_order(task).numpy(), wanted())


def test_floats_stay_floats_and_grey_stays_grey() -> None:
    task = from_dataset(Pairs(image=lambda k: np.full((5, 4), k / 40)))
    assert task.input_shape == (1, 5, 4)
    assert images(task).dtype == torch.float32
    bools = from_dataset(Pairs(image=lambda k: np.arange(20).reshape(5, 4) > k))
    assert set(images(bools).flatten().tolist()) == {0, 255}


def test_a_grey_image_among_colored_ones_gets_three_channels() -> None:
    task = from_dataset(Pairs(image=lambda k: photo(5 * k).convert("L" if k % 3 else "RGB")))
    assert task.input_shape == (3, 16, 20)


@pytest.mark.parametrize("form", ["PIL", *FORMS])
def test_images_of_several_sizes_are_resized_on_request(form: str) -> None:
    def image(k: int) -> Any:
        made = photo(5 * k, (8 + k % 3, 8 + k % 2), k)
        return made if form == "PIL" else np.asarray(made)

    task = from_dataset(Pairs(image=image), image_size=(6, 5))
    assert task.input_shape == (3, 6, 5)
    with pytest.raises(TaskError, match=r"item \d+: an image .* beside .*Pass image_size"):
        from_dataset(Pairs(image=image))


def test_labels_of_other_kinds_are_taken() -> None:
    numbers = from_dataset(Pairs(change=lambda k, item: (item[0], k / 7)))
    assert numbers.metric.name == "rmse"
    labels = from_dataset(
        Pairs(change=lambda k, item: (item[0], torch.tensor([k % 2, k < 9]))),
        classes=["odd", "dark"],
    )
    assert labels.classes == ("odd", "dark")
    named = from_dataset(Pairs(change=lambda k, item: {"x": item[0], "y": "ab"[k % 2]}))
    assert named.classes == ("a", "b")
    grouped = from_dataset(Pairs(), groups=np.arange(40) // 4)
    assert sum(map(len, (grouped.train, grouped.validation, grouped.test))) == 40


# Refusals


def broken(k: int, item: Any) -> Any:
    if k == 7:
        raise OSError("the file is damaged")
    return item


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (broken, "item 7: OSError: the file is damaged"),
        (lambda _, item: item[0], "item 0: a Image without a label"),
        (lambda _, item: (item[0],), "item 0: a tuple without a label"),
        (lambda _, item: (item[0], None), "item 0: a label that is None"),
        (lambda _, item: {"image": item[0]}, "'image' in place of the label.*label='...'"),
        (lambda _, item: {"photo": item[0], "label": 1}, "in place of the image.*image='...'"),
        (lambda _, item: {"image": None, "label": 1}, "None in place of the image"),
        (lambda k, item: (np.zeros((4, 4 + k % 2)), item[1]), r"item \d+: an image \(4, \d, 1\)"),
        (lambda k, item: (np.zeros((2, 4, 4, 3)), item[1]), r"an array \(2, 4, 4, 3\)"),
        (lambda k, item: (np.zeros((5, 5, 7)), item[1]), r"an array \(5, 5, 7\)"),
        (lambda k, item: (np.full((4, 4), np.nan), item[1]), "NaN or infinite"),
        (lambda k, item: ("a.png", item[1]), r"an array \(\) of <U5"),
        (lambda k, item: (np.zeros((4, 4)), 3), "only class '3'"),
    ],
)
@pytest.mark.parametrize("size", ["small", "large"])
def test_unusable_items_are_named(
    change: Any, message: str, size: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if size == "large":
        monkeypatch.setattr("surrogate_nas.domains.images.datasets.IN_MEMORY_BYTES", 100)
        # The test of processes is another one.
        monkeypatch.setattr("surrogate_nas.task.decoding._MOST_WORKERS", 0)
    with pytest.raises(TaskError, match=message):
        from_dataset(Pairs(change=change))


def test_pixels_of_another_type_are_named() -> None:
    odd = Pairs(200, image=lambda k: np.full((4, 4), 0.5 if k == 100 else 7))
    with pytest.raises(TaskError, match="item 100: pixels of float32 beside bytes of others"):
        from_dataset(odd)


def test_floats_cannot_be_resized() -> None:
    with pytest.raises(TaskError, match=r"1 channels of float32 with \(4, 4\) pixels"):
        from_dataset(Pairs(image=lambda k: np.full((4, 4), k / 40)), image_size=3)


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(())

    def __getitem__(self, k: int) -> Any:
        return k


class Lengthless:
    def __getitem__(self, k: int) -> Any:
        return k


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (Endless(), "a Endless, which only gives items one after the other"),
        (Lengthless(), "a dataset with a length .* as train; got a Lengthless"),
        (DataLoader(Pairs()), "a DataLoader. Pass its dataset: loader.dataset"),
        (Pairs(0), "an empty Pairs"),
        (5, "got a int"),
        ({"test": Pairs()}, "got test, none of them train"),
        ({"train": Pairs(), "unlabeled": Pairs(0)}, "^(?!.*unlabeled)"),
    ],
)
def test_what_is_no_dataset_is_named(given: Any, message: str) -> None:
    if message.startswith("^"):
        assert len(from_dataset(given).train) == 24
    else:
        with pytest.raises(TaskError, match=message):
            from_dataset(given)


def test_splits_are_given_once() -> None:
    with pytest.raises(TaskError, match="Pass the datasets one by one"):
        from_dataset({"train": Pairs()}, Pairs(4))


def test_other_ways_to_a_size_are_refused() -> None:
    with pytest.raises(TaskError, match="fit of 'crop', 'pad' or 'stretch'"):
        from_dataset(Pairs(), image_size=4, fit="squash")  # type: ignore[arg-type]
