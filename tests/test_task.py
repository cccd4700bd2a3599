import dataclasses

import pytest
import torch

from surrogate_nas.errors import TaskError
from surrogate_nas.metric import named
from surrogate_nas.task import Split
from surrogate_nas.tasks import ImageTask


def split(n: int, seed: int) -> Split:
    pixels = (torch.arange(n * 9) * 37 + seed * 11) % 256
    return Split(pixels.to(torch.uint8).view(n, 1, 3, 3), torch.arange(n) % 2)


def task(metric: str = "accuracy", name: str = "toy", seed: int = 0, n: int = 200) -> ImageTask:
    return ImageTask(
        name,
        split(n, seed),
        split(20, seed + 1),
        split(10, seed + 2),
        metric=named(metric),
        classes=("no", "yes"),
    )


def test_a_split_has_a_length() -> None:
    assert len(split(7, 0)) == 7


@pytest.mark.parametrize(("n_inputs", "n_targets"), [(0, 0), (3, 2)])
def test_a_split_that_is_empty_or_uneven_is_refused(n_inputs: int, n_targets: int) -> None:
    with pytest.raises(TaskError, match=f"{n_inputs} inputs and {n_targets} targets"):
        Split(torch.zeros(n_inputs, 1, 2, 2), torch.zeros(n_targets, dtype=torch.int64))


def test_a_split_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        split(3, 0).inputs = torch.zeros(3)  # type: ignore[misc]


def test_repr_says_name_sizes_classes_and_metric() -> None:
    assert repr(task(n=1200)) == (
        "<ImageTask 'toy': 1,200 + 20 + 10 rows (train + validation + test), "
        "inputs (1, 3, 3), 2 classes, accuracy>"
    )


def test_repr_of_a_task_without_classes_counts_outputs() -> None:
    without = task()
    without.classes = ()
    assert "2 outputs" in repr(without)


@pytest.mark.parametrize(("metric", "direction"), [("f1", "maximize"), ("log_loss", "minimize")])
def test_the_direction_is_the_metrics(metric: str, direction: str) -> None:
    assert task(metric).direction == direction


def test_fingerprint_is_equal_for_equal_data() -> None:
    assert task().fingerprint == task(name="another name").fingerprint
    assert len(task().fingerprint) == 16


def test_fingerprint_is_the_same_in_another_process() -> None:
    assert task().fingerprint == "d06064e5502268f1"


@pytest.mark.parametrize(
    "other", [task("f1"), task(seed=1), task(n=201), task().merged()], ids=["f1", "seed", "n", "m"]
)
def test_fingerprint_differs_for_another_task(other: ImageTask) -> None:
    assert other.fingerprint != task().fingerprint


def test_fingerprint_sees_one_changed_label_in_any_split() -> None:
    changed = task()
    changed.test.targets[3] = 1 - changed.test.targets[3]
    assert changed.fingerprint != task().fingerprint
