from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from surrogate_nas.domains.images.photo_augmentation import N_DRAWS, drawn, varied
from surrogate_nas.errors import TaskError
from surrogate_nas.tasks import ImageTask, from_arrays
from surrogate_nas.training.trainer import Trainer
from tests.helpers.images import make


def photos(n: int = 40, side: int = 32, **options: Any) -> ImageTask:
    """Images with three bytes a pixel, whose brightest channel is their class."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 3
    images = rng.integers(0, 100, (n, 3, side, side))
    images[np.arange(n), labels] += 100
    task = from_arrays(images.astype(np.uint8), labels, name="photos", **options)
    assert isinstance(task, ImageTask)
    return task


@pytest.mark.parametrize(
    ("options", "is_photo"),
    [
        ({}, True),
        ({"side": 31}, False),
        ({"augment_as": "shifts"}, False),
        ({"side": 12, "augment_as": "photos"}, True),
    ],
)
def test_photos_are_told_by_their_pixels_unless_they_are_named(
    options: dict[str, Any], is_photo: bool
) -> None:
    task = photos(**options)
    assert task.is_photo is is_photo
    assert task.usual_augmentation == (0.5 if is_photo else 0.0)
    assert task.flip is is_photo
    assert task.merged().usual_augmentation == task.usual_augmentation
    assert photos(flip=False).flip is False


def test_photos_are_varied_as_photos_are() -> None:
    """Prepared pixels become numbers from 0 to 1, are varied, and are prepared again."""
    task = photos()
    inputs = task.prepare(task.train.inputs)
    found = task.augment(inputs, 0.5, torch.Generator().manual_seed(3))
    uniform = torch.rand(N_DRAWS, len(inputs), generator=torch.Generator().manual_seed(3))
    expected = varied(task.train.inputs / 255, drawn(uniform, 0.5, may_mirror=True), 0.5)
    torch.testing.assert_close(found, task.prepare(255 * expected), atol=1e-3, rtol=0)


def test_photos_are_normalized_as_imagenet_is_if_wanted() -> None:
    task = photos(normalization="imagenet")
    prepared = task.prepare(torch.full((1, 3, 32, 32), 255, dtype=torch.uint8))
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(prepared[0, :, 0, 0], expected)
    assert torch.equal(task.merged().prepare(task.train.inputs), task.prepare(task.train.inputs))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"augment_as": "posters"}, "'photos', 'shifts' or None; got 'posters'"),
        ({"normalization": "none"}, "'own' or 'imagenet'; got 'none'"),
    ],
)
def test_unknown_ways_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(TaskError, match=said):
        photos(**options)


def test_ways_of_photos_need_three_bytes_a_pixel() -> None:
    options: list[dict[str, Any]] = [{"augment_as": "photos"}, {"normalization": "imagenet"}]
    for one in options:
        with pytest.raises(
            TaskError, match=r"three bytes a pixel.*got 1 channels as torch\.uint8"
        ):
            from_arrays(np.zeros((20, 40, 40), np.uint8), np.arange(20) % 2, name="grey", **one)


@pytest.mark.parametrize(
    ("side", "share", "expected"), [(8, 0.5, 4), (96, 0.5, 48), (100, 0.1, 8)]
)
def test_images_are_rescaled_with_their_targets_as_they_are(
    side: int, share: float, expected: int
) -> None:
    task = photos(side=max(side, 32))
    inputs, targets = torch.ones(2, 3, side, side), torch.arange(2)
    found, same = task.rescale(inputs, targets, share)
    assert found.shape == (2, 3, expected, expected)
    torch.testing.assert_close(found, torch.ones_like(found))
    assert same is targets


def test_small_images_are_trained_as_before() -> None:
    task = make()
    assert not task.is_photo
    assert Trainer().for_task(task).augmentation == 0.0
    assert Trainer().for_task(photos()).augmentation == 0.5
    assert Trainer(augmentation=0.0).for_task(photos()).augmentation == 0.0
